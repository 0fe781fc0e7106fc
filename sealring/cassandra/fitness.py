"""Would the node come back after a restart, and who else has a hand on its files? Pure: observations in, findings out.

Rows 14, 16, 18 and 19 of the handbook, section 5. Where a number is a judgement it has a name here.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from sealring.cassandra.judging import Judge
from sealring.errors import Actor
from sealring.hosts.condition import Condition, StoreLink
from sealring.models.evidence import Finding
from sealring.models.node import NodeInventory

LONG_UP = timedelta(days=182)  # since then packages, kernels and settings have changed, and no start has tried them
LEAST_FREE_BYTES = 256 * 1024 * 1024
LEAST_FREE_SHARE = 0.05
REPLAY_BYTES_PER_SECOND = 10 * 1024 * 1024  # careful: a slow disk, small mutations
HEAP_MARGIN = 1.25  # what a JVM needs beside its heap: metaspace, threads, network buffers

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_HEAP = re.compile(r"-Xmx(\d{1,9})([kmgt]?)", re.IGNORECASE)


def fitness_findings(
    condition: Condition,
    arguments: Sequence[str],
    judge: Judge,
    *,
    started: datetime | None,
    now: datetime,
    start_timeout: timedelta,
) -> tuple[Finding, ...]:
    """`node.autostart`, `node.memory`, `node.data-space`, `node.uptime`, `node.long-start`.

    What is not known has no finding.

    Args:
        condition: of the host.
        arguments: the command line of the running process.
        judge: of the node.
        started: when the process started; None when none runs.
        now: by the node's clock.
        start_timeout: how long a start may take.
    """
    found = (
        _autostart(condition, judge),
        _memory(condition, heap_bytes(arguments), judge),
        _data_space(condition, judge),
        _uptime(started, now, judge),
        _long_start(condition, start_timeout, judge),
    )
    return tuple(finding for finding in found if finding)


def file_findings(condition: Condition, inventory: NodeInventory, judge: Judge) -> tuple[Finding, ...]:
    """`node.managed`, `node.store-link`, `node.store-mount`, `node.shared-store`."""
    return (
        _managed(condition, inventory, judge),
        _links(condition.links, inventory, judge),
        _mounts(condition.links, judge),
        _shared(condition.links, inventory, judge),
    )


def heap_bytes(arguments: Sequence[str]) -> int | None:
    """-Xmx of a command line; the last one counts. None when there is none: the JVM takes a quarter of the memory."""
    matches = [match for argument in arguments if (match := _HEAP.fullmatch(argument))]
    return int(matches[-1][1]) * _UNITS[matches[-1][2].lower()] if matches else None


def _autostart(condition: Condition, judge: Judge) -> Finding | None:
    if not condition.enabled:
        return None
    # static, generated, linked, alias: not to be enabled by hand; only these say that nothing would start it.
    if condition.enabled in ("disabled", "masked", "masked-runtime"):
        remedy = "systemctl enable it, or be there when the machine restarts"
        return judge.warned("node.autostart", f"the unit is {condition.enabled}", remedy, Actor.NODE_ADMIN)
    return judge.passed("node.autostart", f"the unit is {condition.enabled}")


def _memory(condition: Condition, heap: int | None, judge: Judge) -> Finding | None:
    if heap is None or condition.available_bytes is None:
        return None
    # A restart gives the old process's memory back first.
    room, needed = condition.available_bytes + condition.resident_bytes, int(heap * HEAP_MARGIN)
    message = f"the heap may take {_size(heap)}, {_size(room)} can be had without the running process"
    if room < needed:
        return judge.before_restart("node.memory", message, "free memory, or lower -Xmx", Actor.NODE_ADMIN)
    return judge.passed("node.memory", message)


def _data_space(condition: Condition, judge: Judge) -> Finding | None:
    if not condition.rooms:
        return None
    least = min(condition.rooms, key=lambda room: room.free_bytes)
    message = f"{least.path} has {_size(least.free_bytes)} of {_size(least.size_bytes)} free"
    if least.free_bytes < LEAST_FREE_BYTES:
        return judge.before_restart("node.data-space", message, f"free space (df -h {least.path})", Actor.NODE_ADMIN)
    if least.free_bytes < LEAST_FREE_SHARE * least.size_bytes:
        return judge.warned("node.data-space", message, f"free space (df -h {least.path})", Actor.NODE_ADMIN)
    return judge.passed("node.data-space", message)


def _uptime(started: datetime | None, now: datetime, judge: Judge) -> Finding | None:
    if started is None:
        return None
    days = (now - started).days
    message = f"it was started {days} days ago ({started:%Y-%m-%d})"
    if now - started > LONG_UP:
        return judge.warned("node.uptime", message, "restart one such node on purpose first, to see that it comes back")
    return judge.passed("node.uptime", message)


def _long_start(condition: Condition, timeout: timedelta, judge: Judge) -> Finding | None:
    took, log = condition.start_took, condition.commitlog_bytes
    if took is None and log is None:
        return None
    replay = timedelta(seconds=(log or 0) / REPLAY_BYTES_PER_SECOND)
    parts = [f"the last start took {took.total_seconds():.0f} s"] if took is not None else []
    parts += [f"{_size(log)} of commit log, {replay.total_seconds():.0f} s to replay after a hard stop"] if log else []
    limit = f"service.start_timeout is {timeout.total_seconds():.0f} s"
    message = "; ".join([*parts, limit])
    expected = (took or timedelta(0)) + replay
    remedy = f"set service.start_timeout to {2 * expected.total_seconds():.0f} s or more"
    if took is not None and took >= timeout:
        return judge.before_restart("node.long-start", message, remedy)
    if expected > timeout / 2:
        return judge.warned("node.long-start", message, remedy)
    return judge.passed("node.long-start", message)


def _managed(condition: Condition, inventory: NodeInventory, judge: Judge) -> Finding:
    signs = [f"{inventory.config_path} says: {condition.banner}"] if condition.banner else []
    signs += condition.agents
    if not signs:
        return judge.passed("node.managed", "no sign of configuration management")
    remedy = "let it leave the stores alone, or give it the new ones, before its next run writes the old ones back"
    return judge.warned("node.managed", "; ".join(signs), remedy, Actor.NODE_ADMIN)


def _links(links: Sequence[StoreLink], inventory: NodeInventory, judge: Judge) -> Finding:
    strange = [link for link in links if link.real != link.path and not _ours(link, inventory)]
    if not strange:
        return judge.passed(
            "node.store-link", "the stores are files where cassandra.yaml says, or behind links of ours"
        )
    told = "; ".join(f"{link.path} is {link.real}" for link in strange)
    remedy = "the file behind the link is replaced, the link stays: be sure that nobody else uses that file"
    return judge.warned("node.store-link", told, remedy, Actor.NODE_ADMIN)


def _ours(link: StoreLink, inventory: NodeInventory) -> bool:
    """Slots: through `current` of the TLS folder, whatever links lie above that folder."""
    return inventory.layout == "slots" and link.path.startswith(f"{inventory.tls_dir}/current/")


def _mounts(links: Sequence[StoreLink], judge: Judge) -> Finding:
    mounted = [link.real for link in links if link.mounted]
    if not mounted:
        return judge.passed("node.store-mount", "no store is a mount point of its own")
    return judge.failed(
        "node.store-mount",
        f"mounted as single files: {', '.join(mounted)}; a rename cannot replace a mount point",
        "mount the folder instead of the file",
        Actor.NODE_ADMIN,
    )


def _shared(links: Sequence[StoreLink], inventory: NodeInventory, judge: Judge) -> Finding:
    places: dict[str, list[StoreLink]] = {}
    for link in links:
        if link.inode:
            places.setdefault(link.inode, []).append(link)
    joined = [group for group in places.values() if len({link.real for link in group}) > 1]
    if joined:
        told = "; ".join(" and ".join(link.path for link in group) for group in joined)
        remedy = "name one path in both blocks of cassandra.yaml, or make them files of their own"
        return judge.warned("node.shared-store", f"one file by hard links: {told}", remedy, Actor.CASSANDRA_ADMIN)
    shared = [f"{store.path} ({' and '.join(store.blocks)})" for store in inventory.stores if len(store.blocks) > 1]
    message = f"used by more than one block, replaced for all of them: {', '.join(shared)}" if shared else ""
    return judge.passed("node.shared-store", message or "each block has stores of its own")


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
