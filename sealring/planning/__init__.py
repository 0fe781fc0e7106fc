"""Decisions as pure functions: facts in, plan or answer out. No clock, no I/O, no randomness.

Imports models only, so workflows may call it. Start with `plan.make_plan`. Waves: `replicas` places replicas as
Cassandra does, `slack` says what each set can lose, `packing` finds few waves that no set forbids, `strategies` and
`schedule` make a schedule of it, `proofs` say why, `difference` compares two plans. `steering` judges what people ask
of a running rollout, `budget` says when failures are enough, `trust_states` which generations of two nodes can meet
(whether they understand each other is for `sealring.pki.simulation`).
"""
