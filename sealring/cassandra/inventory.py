"""What one host tells about its Cassandra: the process, its configuration, where its stores are and their layout.

Four short scripts: what runs, with which arguments, what it is configured with, what is on disk. Nothing is changed.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from posixpath import dirname, isabs, join, normpath

from sealring.cassandra.configuration import (
    Configuration,
    address_drift,
    listeners,
    parse_configuration,
    settings_drift,
)
from sealring.cassandra.cql import conversation
from sealring.cassandra.inventory_scripts import CONFIG, DISK, PROCESS, UNIT
from sealring.cassandra.store_blocks import StorePasswords, refused
from sealring.cassandra.versions import reload_support
from sealring.errors import Actor, SealringError, refuse
from sealring.hosts.service import ServiceStatus, status
from sealring.hosts.shell import Become, Shell, number
from sealring.models.cluster import ClusterFile, NodeRef
from sealring.models.node import NodeInventory, StoreFormat

SCRIPT_SECONDS = 60.0
MOST_CONFIG_BYTES = 1 << 20  # the file that 5.0 ships has a tenth of it
PATIENCE = 8  # seconds that a service may be about to start
# Where packages put it: RPM, Debian, RPM again, tarballs.
CONFIG_FOLDERS = ("/etc/cassandra/conf", "/etc/cassandra", "/etc/cassandra/default.conf", "/opt/cassandra/conf")
LIVE_LINK = "current"  # design.md section 5
STATE_FOLDER = ".sealring"
CONFIG_SLACK_SECONDS = 2  # a start time counted from the boot is not exact
_MAGIC: Mapping[str, StoreFormat] = {"feedfeed": "JKS", "2d2d2d2d": "PEM"}  # a PKCS#12 file is a DER sequence: 30...


@dataclass(frozen=True)
class Inspection:
    """An inventory, and what goes with it but stays in this process or serves the plan only."""

    inventory: NodeInventory
    passwords: StorePasswords
    missing: tuple[str, ...] = ()  # stores that do not exist
    legacy_port: bool = False
    jmx_stores: tuple[str, ...] = ()  # stores that the JVM's own properties name, as JMX over TLS does


async def inventory(shell: Shell, cluster: ClusterFile, node: NodeRef, *, running: bool = False) -> Inspection:
    """Look at one host.

    Args:
        shell: the host.
        cluster: the cluster file.
        node: the node on it.
        running: ask the node over CQL too, for settings that differ between disk and process.

    Reads as the login user, and as the service's user (`sudo -n`) what that user alone may read.

    Raises:
        SealringError: config.not-found, config.mixed-layout, those of `parse_configuration` (all stop), and those of
            the host.
    """
    process = await _process(shell, cluster)
    service = process.service
    config_path, changed_at, text, become = await _config(shell, cluster, process)
    configuration = parse_configuration(text, config_path)
    configuration, disk = await _disk(shell, configuration, config_path, process, become)
    keystore = next(store for store in configuration.stores if store.role == "keystore")
    live = _live_folder(disk.live)
    tls_dir = live or dirname(keystore.path)
    user, group = (service.user, service.group) if service.pid else disk.owner
    drift = (
        *_changed_since_start(config_path, changed_at, process),
        *address_drift(configuration, node),
        *(settings_drift(configuration, await _running_settings(cluster, node)) if service.pid else ()),
    )
    found = NodeInventory(
        config_path=config_path,
        service_user=user,
        service_group=group,
        pid=service.pid,
        started_at=service.started_ticks,
        log_dir=process.property("cassandra.logdir") or "/var/log/cassandra",
        stores=configuration.stores,
        listeners=listeners(configuration, node),
        layout="slots" if live else "in-place",
        tls_dir=tls_dir,
        state_dir=join(tls_dir, STATE_FOLDER),
        client_auth=configuration.client_auth,
        endpoint_verification=configuration.endpoint_verification,
        drift=drift,
    )
    named = {process.property("javax.net.ssl.keyStore"), process.property("javax.net.ssl.trustStore")}
    jmx = tuple(store.path for store in configuration.stores if store.path in named)
    return Inspection(found, configuration.passwords, disk.missing, configuration.legacy_port, jmx)


def restart_because(version: str, inspection: Inspection) -> tuple[str, ...]:
    """Why a reload cannot be enough on this node; empty when it can (handbook cassandra.md, 1.3 and 1.4).

    Args:
        version: release_version of the node.
        inspection: its host.
    """
    support = reload_support(version)
    reasons = []
    if not inspection.inventory.pid:
        reasons.append("Cassandra does not run")
    if support == "none":
        reasons.append(f"Cassandra {version} cannot reload certificates; 4.0 is the first that can")
    if support == "by-mtime" and inspection.legacy_port:
        reasons.append(f"Cassandra {version} does not reload the legacy TLS port (CASSANDRA-18681, fixed in 4.1.4)")
    reasons += [f"{path} did not exist when the node started, so it is not watched" for path in inspection.missing]
    reasons += [f"JMX uses {path} too, and its TLS is set up once, at the start" for path in inspection.jmx_stores]
    return tuple(reasons)


@dataclass(frozen=True)
class _Process:
    service: ServiceStatus
    started: float  # seconds since 1970; 0 when nothing runs
    arguments: tuple[str, ...]

    def property(self, name: str) -> str:
        """A Java system property from the command line; the last one counts."""
        prefix = f"-D{name}="
        return next((arg.removeprefix(prefix) for arg in reversed(self.arguments) if arg.startswith(prefix)), "")


@dataclass(frozen=True)
class _Disk:
    missing: tuple[str, ...]
    live: tuple[str, ...]  # for each store, the folder of the `current` link that its path goes through
    owner: tuple[str, str]


async def _process(shell: Shell, cluster: ClusterFile) -> _Process:
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
        return _Process(service, 0.0, arguments)
    facts = dict(pairs)
    boot, hertz = (number(facts.get(name, ""), name, shell) for name in ("boot", "hertz"))
    started = boot + number(service.started_ticks, "start of the process", shell) / max(hertz, 1)
    return _Process(service, started, arguments)


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


async def _config(shell: Shell, cluster: ClusterFile, process: _Process) -> tuple[str, int, str, Become]:
    """Path, time of the last change, content, and the user that could read it."""
    candidates = config_candidates(process.arguments, cluster.service.config)
    for become in ("", process.service.user or "root") if cluster.service.sudo == "auto" else ("",):
        limit = {"limit": str(MOST_CONFIG_BYTES)}
        done = await shell.run(CONFIG, variables=limit, arguments=candidates, timeout=SCRIPT_SECONDS, become=become)
        if done.status == 0:
            path, changed, size, text = (done.stdout + "\n" * 3).split("\n", 3)
            if number(size, "size", shell) > MOST_CONFIG_BYTES:
                raise _unreadable(shell, f"{path} has {size} bytes, expected at most {MOST_CONFIG_BYTES}")
            return path, number(changed, "time of change", shell), text, become
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


async def _disk(
    shell: Shell, configuration: Configuration, config_path: str, process: _Process, become: Become
) -> tuple[Configuration, _Disk]:
    written = [store.path for store in configuration.stores]
    done = await shell.run(
        DISK,
        # Without a process: CASSANDRA_HOME as in a tarball, the parent of conf/.
        variables={"pid": str(process.service.pid), "home": dirname(dirname(config_path)), "link": LIVE_LINK},
        arguments=written,
        timeout=SCRIPT_SECONDS,
        become=become,
    )
    pairs = _pairs(done.stdout)
    paths = {path: normpath(full) for path, full in zip(written, _values(pairs, "path"), strict=True)}
    formats: dict[str, StoreFormat] = {}
    for path, head in zip(written, _values(pairs, "head"), strict=True):
        if head in _MAGIC:
            formats[path] = _MAGIC[head]
        elif head.startswith("30"):
            formats[path] = "PKCS12"  # also where JKS is declared: the JDK loads either (measured)
    owner = next((value for value in _values(pairs, "owner") if value), " ").partition(" ")
    disk = _Disk(_values(pairs, "missing"), _values(pairs, "live"), (owner[0], owner[2]))
    return configuration.with_paths(paths, formats), disk


def _live_folder(live: Sequence[str]) -> str:
    """The folder whose `current` link all stores go through; empty when none does."""
    folders = set(live)
    if len(folders) > 1:
        raise refused(
            "mixed-layout",
            f"some stores go through a link `{LIVE_LINK}` and others do not, or not through the same: "
            f"{', '.join(sorted(filter(None, folders)))}",
            "let all stores of cassandra.yaml go through one such link, or none",
        )
    return folders.pop()


def _changed_since_start(path: str, changed_at: int, process: _Process) -> tuple[str, ...]:
    if not process.service.pid or changed_at <= process.started + CONFIG_SLACK_SECONDS:
        return ()
    return (f"{path} was changed after the process started: a restart brings all of its changes into force",)


async def _running_settings(cluster: ClusterFile, node: NodeRef) -> Mapping[str, str]:
    """What the node runs with; empty where CQL does not tell."""
    try:
        async with conversation(cluster.cql, node.address) as asked:
            rows = await asked.rows("SELECT name, value FROM system_views.settings")
    except SealringError:
        return {}
    return {row["name"]: row["value"] for row in rows or () if row["value"] is not None}


def _pairs(output: str) -> list[tuple[str, str]]:
    return [(key, value) for key, sep, value in (line.partition("=") for line in output.splitlines()) if sep]


def _values(pairs: Sequence[tuple[str, str]], key: str) -> tuple[str, ...]:
    return tuple(value for name, value in pairs if name == key)
