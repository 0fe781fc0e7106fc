"""What a host tells about itself before anything is written: its clock, room on its disks, the tools it has."""

import posixpath
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sealring.errors import Actor
from sealring.hosts.manifest import Place
from sealring.hosts.shell import Become, Shell, number, one, run_script
from sealring.models.evidence import Finding, Verdict

REQUIRED_TOOLS = ("sha256sum", "base64", "flock", "readlink", "sync")
"""coreutils and util-linux; all else (getfacl, getfattr, chcon, sudo) is used where it is present."""

SPARE_BYTES = 16 * 1024 * 1024
"""Room that must be left beside what is written: logs and hints of a node share the disk."""

SPARE_INODES = 64


@dataclass(frozen=True)
class Folder:
    """Room in one folder, or in the nearest one above when it does not exist yet."""

    path: str
    free_bytes: int  # for an ordinary user
    inodes: int  # 0: the file system does not count them
    free_inodes: int
    read_only: bool


@dataclass(frozen=True)
class HostFacts:
    """One host, once.

    Args:
        clock_offset: the host's clock minus ours, seconds.
        clock_error: the offset is wrong by at most this, seconds: half of the round trip.
        folders: room, one for each folder that was asked about.
        tools: names of the tools that are there.
    """

    clock_offset: float
    clock_error: float
    folders: tuple[Folder, ...]
    tools: frozenset[str]

    @property
    def now(self) -> datetime:
        """The host's clock now, UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_offset)


async def read_facts(shell: Shell, place: Place, *, become: Become = "") -> HostFacts:
    """Ask the host, in one script.

    Raises:
        SealringError: all of `run_script`.
    """
    await shell.run("exit 0", timeout=60)  # the connection, so that a login does not blur the clock
    folders = {place.tls_dir, place.state_dir}
    if place.layout == "in-place":
        folders.update(posixpath.dirname(store.path) for store in place.stores)
    before = time.time()
    pairs = await run_script(shell, "facts", arguments=sorted(folders), become=become, timeout=60)
    after = time.time()
    return HostFacts(
        clock_offset=number(one(pairs, "clock"), "date +%s%N", shell) / 1e9 - (before + after) / 2,
        clock_error=(after - before) / 2,
        folders=tuple(_folder(value, shell) for key, value in pairs if key == "folder"),
        tools=frozenset(value for key, value in pairs if key == "tool"),
    )


def _folder(line: str, shell: Shell) -> Folder:
    free, inodes, free_inodes, mode, path = (line.split(" ", 4) + [""] * 5)[:5]
    # Some file systems do not count inodes: "-".
    room, most, left = (number(text.replace("-", "0"), "df of a folder", shell) for text in (free, inodes, free_inodes))
    return Folder(path, room, most, left, mode == "ro")


def room_findings(facts: HostFacts, *, address: str, needed_bytes: int, needed_files: int) -> tuple[Finding, ...]:
    """Whether a generation can be written: `node.read-only`, `node.disk-space`, `node.inodes`, `node.tools`. Pure.

    Args:
        facts: what the host told.
        address: the node's address.
        needed_bytes: of one generation; three times that may be on the disk at once (backup, new one, drafts).
        needed_files: of one generation.
    """
    findings: list[Finding] = []

    def judge(check: str, good: bool, message: str, remedy: str) -> None:
        findings.append(
            Finding(
                check=check,
                verdict=Verdict.PASS if good else Verdict.FAIL,
                message=message,
                remedy="" if good else remedy,
                actor=Actor.NOBODY if good else Actor.NODE_ADMIN,
                node=address,
            )
        )

    space, files = 3 * needed_bytes + SPARE_BYTES, 3 * (needed_files + 3) + SPARE_INODES
    for folder in facts.folders:
        path = folder.path
        judge(
            "node.read-only",
            not folder.read_only,
            f"{path} is on a file system mounted {'read-only' if folder.read_only else 'read-write'}",
            f"mount it read-write (findmnt -T {path})",
        )
        judge(
            "node.disk-space",
            folder.free_bytes >= space,
            f"{path} has {folder.free_bytes} bytes free, {space} are needed",
            f"free space (df -h {path})",
        )
        if folder.inodes:
            judge(
                "node.inodes",
                folder.free_inodes >= files,
                f"{path} has {folder.free_inodes} inodes free, {files} are needed",
                f"remove files (df -i {path})",
            )
    missing = [tool for tool in REQUIRED_TOOLS if tool not in facts.tools]
    judge(
        "node.tools",
        not missing,
        f"not installed: {', '.join(missing)}" if missing else "coreutils and flock are there",
        "install coreutils and util-linux",
    )
    return tuple(findings)
