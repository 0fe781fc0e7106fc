"""Decisions as pure functions: facts in, plan or answer out. No clock, no I/O, no randomness.

Imports models only, so workflows may call it. Start with `plan.make_plan`; `waves` groups nodes, `steering` judges
what people ask of a running rollout, `budget` says when failures are enough.
"""
