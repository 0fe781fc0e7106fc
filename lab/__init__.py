"""A real Cassandra ring on this computer, for the demo, the tests and the benchmarks.

What it is: N Cassandra nodes with mutual TLS on loopback addresses, each with its own service manager and its own
OpenSSH server, a CA of their own, a Temporal server, and a client load. Nothing is simulated but the machines.

Where to start reading: `spec` (what a lab consists of), then `ring` (its life), then `cli` (`python -m lab up`).
`tools` finds or fetches the programs (`jars`, `debian`), `node_config` writes a node's files, `supervisor` is its
service manager, `authority` the CA, `hosts` the SSH servers, `load` the clients, `proxy` the broken network.

It may import anything of the project; nothing in `sealring` knows it. It needs no root.
"""
