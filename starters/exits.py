"""Exit codes of the command line, and how an error is told. Documented in docs/cli.md."""

import json
import sys
from enum import IntEnum

from sealring.errors import ErrorClass, SealringError
from sealring.models.rollout import Phase


class Exit(IntEnum):
    """What a script can rely on."""

    DONE = 0
    ERROR = 1  # something unexpected
    MISTAKE = 2  # the command line, a file or a field is wrong; nothing was changed
    REFUSED = 3  # plan or preflight refused; no node was touched
    FAILED = 4  # nodes were touched; the report says which were rolled back
    ABORTED = 5  # stopped by request
    UNREACHABLE = 6  # no Temporal server, no worker, or no node answers


def exit_for(phase: Phase) -> Exit:
    """The exit code for a rollout's end."""
    return {
        Phase.DONE: Exit.DONE,
        Phase.REFUSED: Exit.REFUSED,
        Phase.FAILED: Exit.FAILED,
        Phase.ABORTED: Exit.ABORTED,
    }.get(phase, Exit.ERROR)


def tell(error: SealringError, *, as_json: bool) -> Exit:
    """Say what went wrong on stderr and return the exit code."""
    if as_json:
        told = {"code": error.code, "message": error.message, "actor": error.actor, "remedy": error.remedy}
        print(json.dumps({"error": told | {"class": error.error_class, "node": error.node}}), file=sys.stderr)
    else:
        print(f"error {error}", file=sys.stderr)
    return Exit.UNREACHABLE if error.error_class is ErrorClass.RETRY else Exit.MISTAKE
