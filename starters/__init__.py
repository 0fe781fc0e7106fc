"""Everything that starts or steers a rollout: the `sealring` command line so far.

`rollouts` speaks to Temporal and is what any other starter would use; `cli` assembles the commands, `show` draws,
`watch` follows. May import everything below: workers, activities, workflows and the engine.
"""
