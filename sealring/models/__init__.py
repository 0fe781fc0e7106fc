"""The vocabulary: frozen pydantic models that every other room speaks in. Imports nothing of ours but `errors`.

Read in this order: `cluster` (the cluster file and what a node is), `material` (what is delivered), `node` (what is
found on a host), `plan` (what will be done), `evidence` (what was seen), `rollout` (requests, orders, outcomes),
`steering` (what people say to a running rollout and what it shows them).
"""
