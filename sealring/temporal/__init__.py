"""The engine's side of Temporal: how to connect, what is encrypted, how errors travel, how long things may take.

Workflows use `attributes`, `policies` and `failures` of this room and nothing else: these three load inside Temporal's
sandbox and import only `sealring.models` and `sealring.errors`. The rest is for processes.

Start reading in `plugin.py`: it is the one definition of converter, encryption, error translation and sandbox that the
client, every worker, replay and the tests share. `connect.py` applies it to a client; workers inherit it from there.
"""
