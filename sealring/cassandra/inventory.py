"""What one host tells about its Cassandra: the process, its configuration, where its stores are and their layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import dirname, join

from sealring.cassandra.configuration import address_drift, listeners, settings_drift
from sealring.cassandra.cql import conversation
from sealring.cassandra.host_look import LIVE_LINK, Known, look
from sealring.cassandra.store_blocks import StorePasswords, refused
from sealring.cassandra.versions import reload_support
from sealring.cassandra.work import Running, read_running
from sealring.errors import SealringError
from sealring.hosts.shell import Shell
from sealring.models.cluster import ClusterFile, NodeRef
from sealring.models.node import NodeInventory

STATE_FOLDER = ".sealring"
CONFIG_SLACK_SECONDS = 2  # a start time counted from the boot is not exact


@dataclass(frozen=True)
class Inspection:
    """An inventory, and what goes with it but stays in this process or serves the plan only."""

    inventory: NodeInventory
    passwords: StorePasswords
    known: Known  # makes the next look at this host cheaper
    missing: tuple[str, ...] = ()  # stores that do not exist
    legacy_port: bool = False
    jmx_stores: tuple[str, ...] = ()  # stores that the JVM's own properties name, as JMX over TLS does
    running: Running | None = None  # what the node told over CQL; None: not asked, or no answer
    silence: str = ""  # why there was no answer


async def inventory(
    shell: Shell, cluster: ClusterFile, node: NodeRef, *, running: bool = False, known: Known | None = None
) -> Inspection:
    """Look at one host.

    Args:
        shell: the host.
        cluster: the cluster file.
        node: the node on it.
        running: ask the node over CQL too, for settings that differ between disk and process.
        known: from an earlier inspection of this host: what still holds is not read again.

    Reads as the login user, and as the service's user (`sudo -n`) what that user alone may read.

    Raises:
        SealringError: config.mixed-layout, and those of `look`.
    """
    known, disk = await look(shell, cluster, known)
    process, service = known.process, known.process.service
    configuration = known.written.with_paths(disk.paths, disk.formats)
    keystore = next(store for store in configuration.stores if store.role == "keystore")
    live = _live_folder(disk.live)
    tls_dir = live or dirname(keystore.path)
    user, group = (service.user, service.group) if service.pid else disk.owner
    told, silence = await _running(cluster, node) if running and service.pid else (None, "")
    drift = (
        *_changed_since_start(known),
        *address_drift(configuration, node),
        *(settings_drift(configuration, told.settings) if told else ()),
    )
    found = NodeInventory(
        config_path=known.path,
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
    return Inspection(
        found, configuration.passwords, known, disk.missing, configuration.legacy_port, jmx, told, silence
    )


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


def _changed_since_start(known: Known) -> tuple[str, ...]:
    process = known.process
    if not process.service.pid or known.changed_at <= process.started + CONFIG_SLACK_SECONDS:
        return ()
    return (f"{known.path} was changed after the process started: a restart brings all of its changes into force",)


async def _running(cluster: ClusterFile, node: NodeRef) -> tuple[Running | None, str]:
    """What the node runs with and what it is doing; why not, where CQL does not tell."""
    try:
        async with conversation(cluster.cql, node.address) as asked:
            return await read_running(asked), ""
    except SealringError as error:
        return None, str(error)
