"""The story of a rollout, as Temporal workflows: `rollout` (one ring), `preparation` and `activation` (one node).

Read `rollout.CertificateRollout` from top to bottom first. Workflow code decides and waits; whatever touches the world
is an activity, called through `calls`. May import `sealring.models`, `sealring.planning` and constants of
`sealring.temporal`; never an adapter: the sandbox reloads these modules for every run.
"""
