"""Certificates, keys, chains, policies and stores: everything about material that needs no network.

May import `sealring.planning`, `sealring.models` and `sealring.errors` only. Pure: bytes in, objects or bytes out; no
file is opened here (`sealring.sources` reads deliveries, `sealring.hosts` reads nodes).

Start with `material` (what a delivery is and how it is named), then `policy` (what is wrong with it) and `stores` (what
Cassandra reads). `trust` answers the one question behind both: who would accept this leaf? `simulation` asks it for all
nodes in every state of a plan.
"""
