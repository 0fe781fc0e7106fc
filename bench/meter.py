"""Run a command, end everything it left behind, write down what it cost: `python -m bench.meter OUT COMMAND…`.

A tool may leave processes behind (ssh's ControlPersist masters): they become children of this process, the subreaper,
are ended when the command has ended, and count. Standard library only, so that it costs little itself.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.processes import below

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def main(out: Path, command: list[str]) -> int:
    """Write {"seconds", "cpu", "rss"} (wall s, CPU s of all processes, bytes of the largest) to `out`."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    begun = time.monotonic()
    status = subprocess.run(command, check=False).returncode
    seconds = time.monotonic() - begun
    while left := below(os.getpid()):
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        _reap()
    _reap()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    out.write_text(json.dumps({"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "rss": 1024 * used.ru_maxrss}))
    return status


def _reap() -> None:
    """Take in every child that there is; returns when none is left."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
