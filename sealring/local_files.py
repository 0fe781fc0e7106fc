"""Reading the files that an operator names: never waiting for one, never more of it than it may have."""

import os
import stat
from pathlib import Path

SMALL = 1 << 20
"""Bytes; beyond any honest key, certificate, password or configuration file."""


def read_small(path: Path, limit: int = SMALL) -> bytes:
    """The content of a regular file.

    A named pipe is not waited for, a device is not read, and what grows meanwhile is not followed.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than `limit` bytes; `strerror` says which.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(0, "it is not a regular file", str(path))
            content = file.read(limit + 1)
    except ValueError:  # a NUL, or a character that has no place in a file name
        raise OSError(0, "not a possible file name", repr(path)[:200]) from None
    if len(content) > limit:
        raise OSError(0, f"it has more than {limit} bytes", str(path))
    return content


def version_of(path: Path) -> tuple[int, ...]:
    """What differs when the file was changed or replaced, so that it is read once for each version.

    Raises:
        OSError, ValueError: there is no such file, or the name is none.
    """
    found = path.stat()
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def at_home(path: Path) -> Path:
    """The path with a leading `~` or `~user` replaced.

    Raises:
        OSError: there is no such user.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise OSError(0, f"{path.parts[0]} has no home directory", str(path)) from None
