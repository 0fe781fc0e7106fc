"""A stand-in for a ring of Cassandra: one process that behaves, on the wire and on disk, like 3 to 1,000 nodes.

It is a fake, for what cannot be had here: a thousand Cassandras, or three that start in a second. Nothing is stored
and no query but those on the system tables is answered. What the engine relies on is as measured on Cassandra 5.0.9:
stores are read at the start, a reload keeps the old ones when the new ones cannot be loaded, established connections
outlive a reload, peers that do not trust each other's certificates see each other down, a node that cannot load its
stores crash-loops. The engine meets it over real OpenSSH, real TLS and the real native protocol, and is not told.

Start reading at `serve`. docs/lab.md says what it does not show.
"""
