"""CPU and memory of process trees, from /proc (proc(5)). Standard library only."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """CPU seconds of one process and of the children it has waited for; 0 when it is gone."""
    fields = _stat(pid)
    return sum(int(ticks) for ticks in fields[11:15]) / TICKS if fields else 0.0


def tree_cpu(pid: int) -> float:
    """CPU seconds of a process, of everything alive below it, and of all that these have waited for."""
    return sum(cpu(each) for each in (pid, *below(pid)))


def machine_cpu() -> float:
    """CPU seconds that all cores have spent on processes since the start of the machine: not idle, not waiting."""
    user, nice, system, _, _, hard, soft, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + hard + soft) / TICKS


def below(pid: int) -> list[int]:
    """Every live descendant of a process."""
    parents = {
        int(e.name): int(f[1]) for e in Path("/proc").glob("[0-9]*") if (f := _stat(int(e.name))) and f[0] != "Z"
    }
    found: list[int] = []
    level = {pid}
    while level:
        level = {child for child, parent in parents.items() if parent in level}
        found += level
    return found


def peak_rss(pid: int) -> int:
    """Bytes of a process's greatest resident set (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def rss(pid: int) -> int:
    """Bytes of a process's resident set now; 0 when it is gone."""
    fields = _stat(pid)
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat behind the command's name: state, parent, …, utime (11), stime, cutime, cstime."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
