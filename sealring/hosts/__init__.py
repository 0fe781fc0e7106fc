"""Hosts: reach one host over SSH and change its disk or its service, so that any step may be repeated.

May import `sealring.models`, `sealring.errors` and the rooms below (`settings`, `planning`, `pki`); knows nothing of
Cassandra's protocols and nothing of workflows.

Start reading at `shell` (what a host can do for us: run one /bin/sh script), then `ssh` (the pool of connections that
does it; `routes`, `identity`, `trust` and `login` make a connection, `links` keeps it, `breakers` and `throttle` stand
before it), then `generations` (a node's disk, design section 5) beside its scripts in `scripts/`.
"""
