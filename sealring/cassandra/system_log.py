"""Cassandra's system.log: what it says about TLS, and reading only what was written since a mark."""

import re
from dataclasses import dataclass
from typing import Literal

from sealring.errors import SealringError
from sealring.hosts.shell import Become, Shell, number

# SSLFactory.checkCertFilesForHotReloading, and before 4.1.4 forceCheckCertFiles.
UPDATED = "SSL certificates have been updated"
NOT_RELOADED = "Failed to hot reload the SSL Certificates"
# DatabaseDescriptor.applySslContext; the others are CassandraDaemon's, for whatever ends a start.
TLS_START_FAILURE = "Failed to initialize SSL"
START_FAILURES = (
    "Exception encountered during startup",
    "Fatal configuration error",
    "Fatal error during configuration",
)
STARTED = "Configuration location:"  # YamlConfigurationLoader: the first line of every start

_ENTRY = re.compile(r"^(TRACE|DEBUG|INFO|WARN|ERROR)\b")  # logback's default pattern begins with the level
READ_BYTES = 256 * 1024
SCRIPT_SECONDS = 30.0

MARK = r"""stat -L -c '%i %s' "$log" 2>/dev/null || echo '0 0'"""
# A log that was rolled over since is another file: all of it is new.
READ = r"""
[ -e "$log" ] || exit 0
[ "$(stat -L -c %i "$log")" = "$inode" ] || offset=0
tail -c "+$((offset + 1))" "$log" | tail -c "$limit"
"""


@dataclass(frozen=True)
class LogMark:
    """A place in the log: all that comes after it is news. The default means: the whole file."""

    inode: int = 0
    offset: int = 0


@dataclass(frozen=True)
class StartFailure:
    """Why a start failed, in Cassandra's words."""

    tls: bool
    message: str


def reload_outcome(text: str) -> Literal["updated", "failed", "silent"]:
    """What the log says about a reload. "silent" is possible either way: no context was in use yet (measured, 5.0)."""
    if NOT_RELOADED in text:
        return "failed"
    return "updated" if UPDATED in text else "silent"


def start_failure(text: str) -> StartFailure | None:
    """Why a start that wrote this piece of the log failed; None when none did, or not yet."""
    lines = text.splitlines()
    at = next((i for i, line in enumerate(lines) if any(mark in line for mark in START_FAILURES)), None)
    if at is None or at + 1 == len(lines):
        return None  # none failed, or its trace is still to come
    # The exception follows, with its causes; the last of them is the root. Another start may follow that.
    end = next((i for i in range(at + 1, len(lines)) if _ENTRY.match(lines[i])), len(lines))
    trace = lines[at + 1 : end]
    named = next((line.strip() for line in trace if line.strip()), lines[at])
    causes = [line.removeprefix("Caused by: ") for line in trace if line.startswith("Caused by: ")]
    return StartFailure(any(TLS_START_FAILURE in line for line in trace), " <- ".join((named, *causes)))


def of_last_start(text: str) -> str:
    """What the last start in this piece of the log wrote; empty when none began in it."""
    _, began, rest = text.rpartition(STARTED)
    return rest if began else ""


async def mark_log(shell: Shell, log_dir: str, *, become: Become = "") -> LogMark:
    """Where the log ends now."""
    done = await shell.run(MARK, variables={"log": f"{log_dir}/system.log"}, timeout=SCRIPT_SECONDS, become=become)
    inode, _, offset = done.stdout.strip().partition(" ")
    return LogMark(number(inode or "0", "inode of the log", shell), number(offset or "0", "size of the log", shell))


async def read_log(shell: Shell, log_dir: str, since: LogMark, *, become: Become = "") -> str:
    """What was written since the mark, its last 256 KiB; empty when it may not be read: it is evidence, not proof."""
    variables = {
        "log": f"{log_dir}/system.log",
        "inode": str(since.inode),
        "offset": str(since.offset),
        "limit": str(READ_BYTES),
    }
    try:
        done = await shell.run(READ, variables=variables, timeout=SCRIPT_SECONDS, become=become)
    except SealringError as error:
        if error.retryable:
            raise
        return ""
    return done.stdout
