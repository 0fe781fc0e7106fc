"""Where material comes from: a directory of files today, behind an interface that a vault will fit.

May import `sealring.pki`, `sealring.models`, `sealring.errors`. Called inside activities only: what is loaded here
holds private keys and must not travel further than the node it is for.

Start with `base` (the interface and the list of providers), then `files`.
"""
