"""Where material comes from: a directory of files, or a vault, behind one interface.

May import `sealring.pki`, `sealring.models`, `sealring.errors`. Called inside activities only: what is loaded here
holds private keys and must not travel further than the node it is for.

Start with `base` (the interface and the list of providers), then `files`; `kv` on top of `vault`.
"""
