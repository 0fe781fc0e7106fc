"""The failure twin: the real workflow code against simulated nodes, clocks, links, workers and people, from one seed.

Start with `play` (one rollout from a seed), then `world` (virtual time), `server` (what Temporal does), `ring` (what
Cassandra and its hosts do), `activities` (what our activities promise) and `invariants` (what must hold at any time).
"""
