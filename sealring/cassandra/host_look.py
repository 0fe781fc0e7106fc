"""What a host says about its Cassandra: the process, cassandra.yaml as written, and the stores on its disk.

The first look takes four short scripts, since where cassandra.yaml is follows from the process. What it learns is
`Known`, and a later look at the same host is one script: it sees whether process and file are still the same, and
reads the disk anew. Nothing is changed.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from posixpath import dirname, isabs, join, normpath

from sealring.cassandra.configuration import Configuration, parse_configuration
from sealring.cassandra.inventory_scripts import CONFIG, DISK, MARK, PROCESS, UNIT
from sealring.errors import Actor, SealringError, refuse
from sealring.hosts.service import ServiceStatus, service_status, status
from sealring.hosts.shell import Become, Shell, answer, load_script, number
from sealring.models.cluster import ClusterFile, ServiceSettings
from sealring.models.node import StoreFormat

SCRIPT_SECONDS = 60.0
MOST_CONFIG_BYTES = 1 << 20  # the file that 5.0 ships has a tenth of it
PATIENCE = 8  # seconds that a service may be about to start
# Where packages put it: RPM, Debian, RPM again, tarballs.
CONFIG_FOLDERS = ("/etc/cassandra/conf", "/etc/cassandra", "/etc/cassandra/default.conf", "/opt/cassandra/conf")
LIVE_LINK = "current"  # design.md section 5
_MAGIC: Mapping[str, StoreFormat] = {"feedfeed": "JKS", "2d2d2d2d": "PEM"}  # a PKCS#12 file is a DER sequence: 30...


@dataclass(frozen=True)
class Process:
    """The service and the command line of its process."""

    service: ServiceStatus
    started: float  # seconds since 1970; 0 when nothing runs
    arguments: tuple[str, ...]

    def property(self, name: str) -> str:
        """A Java system property from the command line; the last one counts."""
        prefix = f"-D{name}="
        return next((arg.removeprefix(prefix) for arg in reversed(self.arguments) if arg.startswith(prefix)), "")


@dataclass(frozen=True)
class Known:
    """What holds as long as the process and the mark of its cassandra.yaml are the same.

    Args:
        asked: the settings that it was read with.
        process: the process.
        path: cassandra.yaml.
        mark: time of its last change, size, inode number, time of the inode's last change: `stat -L -c '%Y %s %i %z'`.
        written: its content, with store paths as written.
        become: the user that may read it.
    """

    asked: ServiceSettings
    process: Process
    path: str
    mark: str
    written: Configuration
    become: Become

    @property
    def changed_at(self) -> int:
        """When the content of cassandra.yaml was changed, seconds since 1970."""
        return int(self.mark.split()[0])


@dataclass(frozen=True)
class Disk:
    """The stores that cassandra.yaml names, as they are now."""

    paths: Mapping[str, str]  # absolute, by path as written
    formats: Mapping[str, StoreFormat]  # seen in the content, by path as written
    missing: tuple[str, ...]
    live: tuple[str, ...]  # for each store, the folder of the `current` link that its path goes through
    owner: tuple[str, str]


async def look(shell: Shell, cluster: ClusterFile, known: Known | None) -> tuple[Known, Disk]:
    """Look at a host; `known` is what an earlier look at it returned.

    Raises:
        SealringError: config.not-found, config.unreadable, those of `parse_configuration` (all stop), those of
            `sealring.hosts.service.status`, and those of the host.
    """
    if known is not None and known.asked == cluster.service:
        disk = await _again(shell, known)
        if disk is not None:
            return known, disk
    process = await _process(shell, cluster)
    path, mark, text, become = await _config(shell, cluster, process)
    known = Known(cluster.service, process, path, mark, parse_configuration(text, path), become)
    variables, arguments = _asked_of_disk(known)
    done = await shell.run(DISK, variables=variables, arguments=arguments, timeout=SCRIPT_SECONDS, become=become)
    return known, _disk(known, _pairs(done.stdout))


async def _again(shell: Shell, known: Known) -> Disk | None:
    """The disk, if process and configuration are what we know; None when a first look is needed."""
    service = known.process.service
    if not service.pid:
        return None
    variables, arguments = _asked_of_disk(known)
    variables |= {"unit": known.asked.name, "config": known.path}
    done = await shell.run(
        "\n".join([load_script("status"), MARK, DISK]),
        variables=variables,
        arguments=arguments,
        timeout=SCRIPT_SECONDS,
        become=known.become,
    )
    pairs = answer("status", done, shell.address)
    now = service_status(pairs, shell)
    if (now.pid, now.started_ticks) != (service.pid, service.started_ticks) or ("mark", known.mark) not in pairs:
        return None
    return _disk(known, pairs)


async def _process(shell: Shell, cluster: ClusterFile) -> Process:
    unit = cluster.service.name
    service = await status(shell, unit)
    for _ in range(PATIENCE):
        if not service.state.startswith("activating"):
            break
        await asyncio.sleep(1)  # it crash-loops, or is just being started: it has a process now and then
        service = await status(shell, unit)
    variables = {"pid": str(service.pid), "unit": unit}
    done = await shell.run(PROCESS if service.pid else UNIT, variables=variables, timeout=SCRIPT_SECONDS)
    pairs = _pairs(done.stdout)
    arguments = tuple(value for key, value in pairs if key == "arg")
    if not service.pid:
        return Process(service, 0.0, arguments)
    facts = dict(pairs)
    boot, hertz = (number(facts.get(name, ""), name, shell) for name in ("boot", "hertz"))
    started = boot + number(service.started_ticks, "start of the process", shell) / max(hertz, 1)
    return Process(service, started, arguments)


def config_candidates(arguments: Sequence[str], configured: str | None) -> tuple[str, ...]:
    """Where cassandra.yaml may be, the likeliest first.

    Source: `YamlConfigurationLoader.getStorageConfigURL`: a URL or the name of a resource on the class path.

    Args:
        arguments: the command line of the running process; empty when none runs.
        configured: service.config of the cluster file.
    """
    if configured:
        return (configured,)
    named = next((a.partition("=")[2] for a in reversed(arguments) if a.startswith("-Dcassandra.config=")), "")
    if named.startswith(("file:", "/")):
        return (re.sub(r"^file:/*", "/", named),)
    resource = named or "cassandra.yaml"
    class_paths = [value for flag, value in pairwise(arguments) if flag in ("-cp", "-classpath", "--class-path")]
    entries = [entry for class_path in class_paths for entry in class_path.split(":")]
    folders = [entry for entry in entries if isabs(entry) and not entry.endswith((".jar", "*"))]
    return tuple(join(folder, resource) for folder in (*folders, *CONFIG_FOLDERS))


async def _config(shell: Shell, cluster: ClusterFile, process: Process) -> tuple[str, str, str, Become]:
    """Path, mark, content, and the user that could read it."""
    candidates = config_candidates(process.arguments, cluster.service.config)
    for become in ("", process.service.user or "root") if cluster.service.sudo == "auto" else ("",):
        limit = {"limit": str(MOST_CONFIG_BYTES)}
        done = await shell.run(CONFIG, variables=limit, arguments=candidates, timeout=SCRIPT_SECONDS, become=become)
        if done.status == 0:
            path, mark, text = (done.stdout + "\n" * 2).split("\n", 2)
            changed, size, *_ = [*mark.split(), "", ""]
            number(changed, "time of change", shell)
            if number(size, "size", shell) > MOST_CONFIG_BYTES:
                raise _unreadable(shell, f"{path} has {size} bytes, expected at most {MOST_CONFIG_BYTES}")
            return path, mark, text, become
        if done.status == 5:
            raise _unreadable(shell, f"{done.stdout.strip()} is no regular file")
        if done.status == 4:
            raise refuse(
                "config.not-found",
                f"no cassandra.yaml in {', '.join(candidates)}",
                "set service.config in the cluster file to its path on the nodes",
                node=shell.address,
            )
    raise refuse(
        "config.unreadable",
        f"{done.stdout.strip() or 'cassandra.yaml'} may not be read",
        "let the deploy user read it, or allow sudo to the service's user",
        actor=Actor.NODE_ADMIN,
        node=shell.address,
    )


def _unreadable(shell: Shell, found: str) -> SealringError:
    remedy = "point service.config at the cassandra.yaml that the node reads"
    return refuse("config.unreadable", found, remedy, actor=Actor.CASSANDRA_ADMIN, node=shell.address)


def _asked_of_disk(known: Known) -> tuple[dict[str, str], list[str]]:
    """Variables and arguments of DISK. Without a process: CASSANDRA_HOME as in a tarball, the parent of conf/."""
    service, home = known.process.service, dirname(dirname(known.path))
    variables = {"process": str(service.pid), "home": home, "link": LIVE_LINK}
    return variables, _written(known)


def _written(known: Known) -> list[str]:
    """The stores' paths as cassandra.yaml has them: two listeners may share a file, which is looked at once."""
    return list(dict.fromkeys(store.path for store in known.written.stores))


def _disk(known: Known, pairs: Sequence[tuple[str, str]]) -> Disk:
    written = _written(known)
    formats: dict[str, StoreFormat] = {}
    for path, head in zip(written, _values(pairs, "head"), strict=True):
        if head in _MAGIC:
            formats[path] = _MAGIC[head]
        elif head.startswith("30"):
            formats[path] = "PKCS12"  # also where JKS is declared: the JDK loads either (measured)
    owner = next((value for value in _values(pairs, "owner") if value), " ").partition(" ")
    return Disk(
        paths={path: normpath(full) for path, full in zip(written, _values(pairs, "path"), strict=True)},
        formats=formats,
        missing=_values(pairs, "missing"),
        live=_values(pairs, "live"),
        owner=(owner[0], owner[2]),
    )


def _pairs(output: str) -> list[tuple[str, str]]:
    return [(key, value) for key, sep, value in (line.partition("=") for line in output.splitlines()) if sep]


def _values(pairs: Sequence[tuple[str, str]], key: str) -> tuple[str, ...]:
    return tuple(value for name, value in pairs if name == key)
