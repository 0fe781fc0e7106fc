"""One input thrown at one parser, within a time and a memory bound."""

import resource
from collections.abc import Callable
from typing import Any

from tests.badinput.catalogue import in_time
from tests.fuzz.parsers import REFUSALS, TARGETS

SECONDS = 60  # for one input, on a very busy computer
KIBIBYTES = 200 * 1024  # that one input may add to what the process ever held


def thrown(name: str) -> Callable[[Any], None]:
    """The property of a parser: a value or a refusal, in time, without taking the memory."""
    _, read = TARGETS[name]

    def holds(content: Any) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with in_time(SECONDS):
            try:
                read(content)
            except REFUSALS:
                pass
            except ValueError:
                if name != "codec server":
                    raise  # there it is the word for "not payloads", answered with 400
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < KIBIBYTES, f"{grown} KiB for one input"

    return holds
