"""sealring: new TLS certificates for Apache Cassandra rings, proven on the wire and taken back when wrong.

The engine's parts live here; none of them knows Temporal's workflows. Start with `sealring.models` (the
vocabulary), then `sealring.planning` (decisions), then the adapters `pki`, `hosts`, `cassandra` and `sources`.
The story that ties them together is in the top-level package `workflows`.
"""
