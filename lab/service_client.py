"""Speak to a node's service manager (`lab.supervisor`); run as a script, this is the node's `systemctl`.

Standard library only, and little of it: as a script it must start in a few milliseconds.
"""

import json
import os
import socket
import sys
from typing import NamedTuple

SOCKET = "service.sock"


class Answer(NamedTuple):
    """What a systemctl command printed and how it ended."""

    code: int
    out: str
    err: str


def address(descriptor: int) -> str:
    """The socket in the folder that is open as `descriptor`: a socket's path may have 107 bytes only."""
    return f"/proc/self/fd/{descriptor}/{SOCKET}"


def systemctl(home: str, *arguments: str) -> Answer:
    """Run `systemctl <arguments>` on the node that lives in `home`; waits for the answer."""
    try:
        folder = os.open(home, os.O_PATH)
    except OSError as e:
        return Answer(1, "", f"Failed to connect to bus: {e.strerror}\n")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(address(folder))
            connection.sendall(json.dumps(arguments).encode() + b"\n")
            with connection.makefile() as reader:
                return Answer(*json.loads(reader.readline()))
    except (OSError, ValueError) as e:  # nobody listens, or it went away in the middle: systemd's words for it
        return Answer(
            1, "", f"Failed to connect to bus: {getattr(e, 'strerror', None) or 'Connection reset by peer'}\n"
        )
    finally:
        os.close(folder)


if __name__ == "__main__":
    answer = systemctl(*sys.argv[1:])
    sys.stderr.write(answer.err)
    sys.stdout.write(answer.out)
    sys.exit(answer.code)
