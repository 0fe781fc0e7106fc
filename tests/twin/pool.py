"""What the processes of `python -m tests.twin` do."""

import logging

from tests.twin.play import Result, play


def played(seed: int) -> Result:
    """Play one."""
    try:
        return play(seed)
    except Exception as error:  # of the twin itself: the seed is what is needed to find it
        raise RuntimeError(f"python -m tests.twin --seed {seed} breaks: {type(error).__name__}: {error}") from error


def quiet() -> None:
    """The SDK logs what workflows do; the trace says it all."""
    logging.disable(logging.CRITICAL)
