"""What a host tells about things that may spoil a rotation: who else writes its files, whether a restart would work.

One script, together with the facts (`sealring.hosts.facts`). It changes nothing and judges nothing: that is done by
`sealring.cassandra.fitness`. What a host does not tell is None or empty.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sealring.hosts.shell import Become, Shell, run_script

_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_BEGAN, _SERVES = "Configuration location:", "Starting listening for CQL clients"  # of system.log


@dataclass(frozen=True)
class StoreLink:
    """Where a store really is."""

    path: str  # as cassandra.yaml means it
    real: str  # links resolved
    inode: str  # device:inode; empty when there is no file
    names: int  # hard links to it
    mounted: bool  # the file itself is a mount point: a rename cannot replace it


@dataclass(frozen=True)
class Room:
    """A folder of the service."""

    path: str
    free_bytes: int
    size_bytes: int


@dataclass(frozen=True)
class Condition:
    """One host, once.

    Args:
        links: of the stores.
        banner: the line at the top of cassandra.yaml that says who manages it; empty when there is none.
        agents: configuration management that runs here.
        enabled: what systemd says of the unit: `enabled`, `disabled`; empty when it does not say.
        memory_bytes: of the machine.
        available_bytes: that can be had without swapping.
        resident_bytes: of the running process, which a restart gives back.
        rooms: of data and commit log.
        commitlog_bytes: what a start after a hard stop would replay.
        start_took: the last start that the log tells from beginning to end.
        java: the program of the running process.
        disabled: what its java.security disables, by property: `jdk.tls.disabledAlgorithms`.
    """

    links: tuple[StoreLink, ...] = ()
    banner: str = ""
    agents: tuple[str, ...] = ()
    enabled: str = ""
    memory_bytes: int | None = None
    available_bytes: int | None = None
    resident_bytes: int = 0
    rooms: tuple[Room, ...] = ()
    commitlog_bytes: int | None = None
    start_took: timedelta | None = None
    java: str = ""
    disabled: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Asked:
    """What the script must know: the service, and where its things are."""

    stores: Sequence[str]
    config: str
    pid: int
    unit: str
    data: Sequence[str]
    commitlog: str
    log_dir: str


async def read_condition(shell: Shell, asked: Asked, *, become: Become = "") -> Condition:
    """Ask the host, in one script.

    Raises:
        SealringError: all of `run_script`.
    """
    variables = {
        "config": asked.config,
        "pid": str(asked.pid),
        "unit": asked.unit,
        "data": "\n".join(asked.data),
        "commitlog": asked.commitlog,
        "log": f"{asked.log_dir}/system.log",
    }
    pairs = await run_script(shell, "condition", variables=variables, arguments=asked.stores, become=become, timeout=60)
    return parse_condition(pairs, asked.stores)


def parse_condition(pairs: Sequence[tuple[str, str]], stores: Sequence[str]) -> Condition:
    """The script's answer. Pure."""

    def all_of(key: str) -> list[str]:
        return [value for name, value in pairs if name == key]

    def first(key: str) -> str:
        return next(iter(all_of(key)), "")

    mounted, reals = set(all_of("mounted")), all_of("real")
    inodes = {words[2]: words[:2] for line in all_of("inode") if len(words := line.split(" ", 2)) == 3}
    told = zip(stores, reals, strict=True) if len(reals) == len(stores) else ()
    settings = (line.partition("=") for line in all_of("disabled"))
    return Condition(
        links=tuple(_link(path, real, inodes.get(real, ["", ""]), mounted) for path, real in told),
        banner=first("banner").strip()[:200],
        agents=tuple(dict.fromkeys(all_of("agent"))),
        enabled=first("unit"),
        memory_bytes=_kib(first("memory")),
        available_bytes=_kib(first("available")),
        resident_bytes=_kib(first("resident")) or 0,
        rooms=tuple(room for line in all_of("room") if (room := _room(line))),
        commitlog_bytes=_kib(first("commitlog")),
        start_took=last_start(all_of("start")),
        java=first("java"),
        disabled=tuple((name.strip(), value.strip()) for name, _, value in settings),
    )


def last_start(lines: Sequence[str]) -> timedelta | None:
    """How long the last start took that these lines of system.log tell whole: until it served clients."""
    began: datetime | None = None
    took: timedelta | None = None
    for line in lines:
        stamp = _STAMP.search(line)
        if stamp is None:
            continue
        try:
            at = datetime.strptime(stamp[0], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)  # only differences are taken
        except ValueError:
            continue
        if _BEGAN in line:
            began = at
        elif _SERVES in line and began is not None:
            took, began = at - began, None
    return took


def _link(path: str, real: str, inode: Sequence[str], mounted: set[str]) -> StoreLink:
    place, names = inode
    return StoreLink(path, real, place, _count(names) or 0, real in mounted)


def _room(line: str) -> Room | None:
    words = line.split(None, 2)
    if len(words) != 3 or (free := _kib(words[0])) is None or (size := _kib(words[1])) is None:
        return None
    return Room(words[2], free, size)


def _kib(text: str) -> int | None:
    count = _count(text)
    return None if count is None else count * 1024


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else None
