"""Activities: thin, one class per domain, dependencies in the constructor, one model in, one model out.

They glue the engine's rooms together and know Temporal only by its decorator, so they can be called directly too. Each
may be repeated at any time: it looks first, acts only where something is missing, and looks again. Start with
`rings` (how a node is opened), then follow a rollout: `cluster`, `planning`, `prepare`, `activate`, `verify`.
"""
