"""Run on a node in place of a command that SSH asks for: `gate.py FOLDER COMMAND`; holds it where a test wants it held.

Only while FOLDER/want.json is there (`tests.chaos.gates`). The script that is about to be fed to the command is peeked
at, not consumed. When it matches, FOLDER/reached appears and nothing goes on until FOLDER/release appears: before the
command, or after it with its answer still unsent. In the middle of it, the node's `mv` holds it (`MV` below).
Standard library only, and little of it.
"""

import ctypes
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.02
LONGEST_SECONDS = 900.0  # a test that died must not hold a node for ever
SCRIPT_ENDS = b"exit 0\n}\n"  # sealring.hosts.shell.assemble
MOST = 64 * 1024  # what a pipe holds
SPLICE_F_NONBLOCK = 2  # fcntl.h

_libc = ctypes.CDLL(None, use_errno=True)

MV = """#!/bin/sh
# The node's mv: holds the one move that a test wants held (tests/chaos/gate.py).
if [ -n "${SEALRING_GATE:-}" ] && printf %s "$*" | grep -qE -e "$SEALRING_GATE_AT"; then
    if mkdir "$SEALRING_GATE/reached" 2>/dev/null; then
        while [ ! -e "$SEALRING_GATE/release" ] && [ -d "$SEALRING_GATE" ]; do sleep 0.02; done
    fi
fi
exec /bin/mv "$@"
"""


def hold(folder: Path) -> None:
    """Say that the place is reached and wait; whoever comes second passes."""
    try:
        (folder / "reached").mkdir()
    except OSError:
        return
    end = time.monotonic() + LONGEST_SECONDS
    while folder.is_dir() and not (folder / "release").exists() and time.monotonic() < end:
        time.sleep(POLL_SECONDS)


def peek() -> str:
    """The script on stdin, all of it, still unread: sshd gives its commands a pipe, and tee(2) copies one."""
    end = time.monotonic() + 60.0
    seen = b""
    while time.monotonic() < end and not seen.endswith(SCRIPT_ENDS):
        reader, writer = os.pipe()
        copied = _libc.tee(0, writer, MOST, SPLICE_F_NONBLOCK)
        seen = os.read(reader, copied) if copied > 0 else b""
        os.close(reader)
        os.close(writer)
        if copied == 0:  # closed, with nothing in it
            break
        time.sleep(0.005)
    return seen.decode(errors="replace")


def main() -> None:
    """See the module."""
    folder, command = Path(sys.argv[1]), sys.argv[2]
    try:
        want = json.loads((folder / "want.json").read_text())
    except (OSError, ValueError):
        os.execv("/bin/sh", ["/bin/sh", "-c", f"exec {command}"])
    environment = dict(os.environ)
    matched = "-s" in shlex.split(command) and re.search(want["pattern"], peek()) is not None
    if matched and want["moment"] == "before":
        hold(folder)
    if matched and want["moment"].startswith("mv:"):
        environment |= {"SEALRING_GATE": str(folder), "SEALRING_GATE_AT": want["moment"][3:]}
    if not matched or want["moment"] != "after":
        os.execve("/bin/sh", ["/bin/sh", "-c", f"exec {command}"], environment)
    status = subprocess.run(["/bin/sh", "-c", f"exec {command}"], check=False).returncode
    hold(folder)
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
