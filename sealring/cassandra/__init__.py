"""One ring: what its files say, what it shows, and how a node is made to use new material.

May import models, errors, pki and hosts; workflows never import it, activities do.
Start with `configuration` (cassandra.yaml as data, pure), then `inventory` (one node's host), `observe` (the ring as at
least two of its nodes see it), `probe` (what a listener serves, in a new handshake) and `operate` (reload, drain,
restart, and whether the node is really back). `versions` holds what differs between Cassandra lines.
"""
