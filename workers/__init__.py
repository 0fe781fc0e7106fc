"""Processes that run things: `control` (workflows), `deploy` (activities that reach nodes), `all_in_one` (all of it).

Each worker is a few lines; what they share is in `runtime`. May import everything below: activities, workflows and
the engine.
"""
