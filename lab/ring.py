"""The life of the ring: prepare its files, start it, stop it, ask how it is; one node at a time, or all.

Everything here is synchronous and works from the lab's folder alone, so any process may call it at any time.
A node is run by its own service manager (`lab.supervisor`); a node that is killed comes back, as under systemd.
"""

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab import mounts, state, tools
from lab.archives import with_archives
from lab.authority import Authority, client_identity, write_file
from lab.hosts import prepare_hosts
from lab.jars import Progress
from lab.node_config import Programs, write_node
from lab.service_client import Answer, systemctl
from lab.spec import NATIVE_PORT, STAND_IN, STORE_PASSWORD_BYTES, LabSpec, NodeSpec
from sealring.errors import SealringError, passing, refuse

UP_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 60.0
SERVICE_TIMEOUT_S = 60.0
STAND_IN_START_S = 0.1  # at most, for one node
WITNESSES = 5  # nodes of a stand-in that are asked about all others: each answer is as long as the ring
_POLL_S = 0.1
_NO_SERVICE = "its service manager does not answer"


@dataclass(frozen=True)
class NodeStatus:
    """How one node is."""

    name: str
    address: str
    datacenter: str
    rack: str
    service: str  # systemd's ActiveState, or "unmanaged" when the service manager does not run
    pid: int
    restarts: int
    native: bool  # whether the native port takes connections
    seen: str  # what the other end of the ring says: "UN", "DN", ...; "" when nobody could be asked


def prepare(spec: LabSpec, progress: Progress = tools.silent) -> None:
    """Find or fetch the programs and write the lab's files; what is there already (stores, keys) stays as it is.

    Raises:
        SealringError: lab.missing-tool, lab.other-spec.
    """
    state.save_spec(spec)
    programs = None if spec.cassandra == STAND_IN else find_programs(spec, progress)
    authority = Authority.open(spec.authority)
    client_identity(spec, authority)
    password = store_password(spec)
    for node in spec.ring:
        write_node(spec, node, programs, password, authority)
    prepare_hosts(spec)


def find_programs(spec: LabSpec, progress: Progress) -> Programs:
    """The Java homes and jars that the nodes run on; downloads them on first use."""
    java = tools.server_java(spec.cassandra, progress)
    programs = Programs(
        server_java=java,
        tool_java=tools.java17(progress),
        classpath=tools.classpath(spec.cassandra, progress),
        server_flags=mounts.flags(java, spec.root / "java"),
    )
    return with_archives(spec, programs, tools.cache(), progress)


def store_password(spec: LabSpec) -> str:
    """The password of all stores of this lab: random, made on first use, kept with mode 0600."""
    path = spec.root / "store-password"
    if not path.exists():
        write_file(path, secrets.token_hex(STORE_PASSWORD_BYTES).encode(), 0o600)
    return path.read_text()


def start_ring(spec: LabSpec, progress: Progress = tools.silent, timeout: float = UP_TIMEOUT_S) -> None:
    """Start all nodes that do not run and wait until each sees all of them up and normal; `prepare` comes first.

    Raises:
        SealringError: lab.not-up, when that took longer than `timeout` seconds.
    """
    if spec.cassandra == STAND_IN:
        _require_stand_in(spec)
    for node in spec.ring:
        start_node(spec, node.name)
    wait_up(spec, timeout, progress)


def stop_ring(spec: LabSpec, timeout: float = STOP_TIMEOUT_S) -> None:
    """Stop all nodes and their service managers; returns when nothing of the ring runs."""
    state.stop_all(spec.root, list({role(spec, node) for node in spec.ring}), timeout)


def start_node(spec: LabSpec, name: str) -> None:
    """Start a stopped node, and its service manager if need be; returns when its process was started."""
    node = find(spec, name)
    if spec.cassandra == STAND_IN:
        _require_stand_in(spec)
    elif role(spec, node) not in state.alive(spec.root):
        _manage(spec, role(spec, node), ["lab.supervisor", str(node.home)], node.logs / "supervisor.log")
        _until(time.monotonic() + SERVICE_TIMEOUT_S, node, lambda: bool(service(node)), _NO_SERVICE)
    _order(node, "start")


def stop_node(spec: LabSpec, name: str) -> None:
    """Stop a node cleanly (SIGTERM) and leave it stopped; returns when it has ended."""
    _order(find(spec, name), "stop")


def restart_node(spec: LabSpec, name: str) -> None:
    """Stop and start a node; returns when its process was started, whether or not it comes up."""
    _order(find(spec, name), "restart")


def kill_node(spec: LabSpec, name: str) -> None:
    """kill -9 the node's JVM; its service manager starts it again two seconds later."""
    _order(find(spec, name), "kill", "--signal=SIGKILL")


def service(node: NodeSpec) -> dict[str, str]:
    """The properties of the node's service, as `systemctl show` names them; empty when nobody manages it."""
    answer = systemctl(str(node.home), "show", "cassandra")
    return dict(line.split("=", 1) for line in answer.out.splitlines()) if answer.code == 0 else {}


def find(spec: LabSpec, name: str) -> NodeSpec:
    """The node called `name`, or with that address.

    Raises:
        SealringError: lab.unknown-node.
    """
    for node in spec.ring:
        if name in (node.name, node.address):
            return node
    raise refuse(
        "lab.unknown-node", f"There is no node {name}.", f"choose one of {', '.join(n.name for n in spec.ring)}"
    )


def wait_up(spec: LabSpec, timeout: float = UP_TIMEOUT_S, progress: Progress = tools.silent) -> None:
    """Wait until every node's native port answers and every node sees all nodes up and normal.

    CQL may open on nodes that cannot reach each other (measured), so each node is asked.

    Raises:
        SealringError: lab.not-up.
    """
    deadline = time.monotonic() + timeout
    for node in spec.ring:
        _until(deadline, node, partial(_native, node), "its native port does not answer")
        progress(f"{node.name} {node.address} answers clients")
    witnesses = spec.ring[:WITNESSES] if spec.cassandra == STAND_IN else spec.ring
    with ThreadPoolExecutor(len(witnesses)) as pool:
        doubt = "it does not see all nodes up and normal"
        waits = [pool.submit(_until, deadline, node, partial(_sees_all, spec, node), doubt) for node in witnesses]
        for wait in waits:
            wait.result()
    progress(f"all {spec.nodes} nodes see each other up and normal")


def view(node: NodeSpec) -> dict[str, str]:
    """The ring as `nodetool status` on the node tells it: address to "UN", "DN", "UJ", ...; empty when it cannot."""
    done = subprocess.run([node.bin / "nodetool", "status"], capture_output=True, text=True, check=False)
    rows = [line.split() for line in done.stdout.splitlines()]
    return {row[1]: row[0] for row in rows if len(row) > 2 and len(row[0]) == 2 and row[0][0] in "UD?"}


def status(spec: LabSpec) -> list[NodeStatus]:
    """How every node is; the ring's view is that of the first node that answers."""
    natives = {node.name: _native(node) for node in spec.ring}
    seen = next(filter(None, (view(node) for node in spec.ring if natives[node.name])), {})
    result = []
    for node in spec.ring:
        properties = service(node)
        result.append(
            NodeStatus(
                name=node.name,
                address=node.address,
                datacenter=node.datacenter,
                rack=node.rack,
                service=properties.get("ActiveState", "unmanaged"),
                pid=int(properties.get("MainPID", 0)),
                restarts=int(properties.get("NRestarts", 0)),
                native=natives[node.name],
                seen=seen.get(node.address, ""),
            )
        )
    return result


def role(spec: LabSpec, node: NodeSpec) -> str:
    """The name by which `lab.state` remembers the node's service manager; a stand-in is one process for all nodes."""
    return STAND_IN if spec.cassandra == STAND_IN else f"supervisor:{node.name}"


def _require_stand_in(spec: LabSpec) -> None:
    """Start the process that is all nodes, unless it runs, and wait until it takes commands for each."""
    if STAND_IN in state.alive(spec.root):
        return
    _manage(spec, STAND_IN, ["lab.standin", str(spec.root)], spec.root / "standin.log")
    last = spec.ring[-1]  # it opens their doors in order
    limit = time.monotonic() + SERVICE_TIMEOUT_S + spec.nodes * STAND_IN_START_S
    _until(limit, last, lambda: bool(service(last)), _NO_SERVICE)


def _manage(spec: LabSpec, role: str, module: list[str], log: Path) -> None:
    """Run a service manager, which starts what it manages."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=tools.PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    state.record(spec.root, role, process.pid)


def _order(node: NodeSpec, verb: str, *options: str) -> Answer:
    answer = systemctl(str(node.home), verb, *options, "cassandra")
    if answer.code != 0:
        raise _not_up(node, f"systemctl {verb} failed: {answer.err.strip()}")
    return answer


def _native(node: NodeSpec) -> bool:
    try:
        socket.create_connection((node.address, NATIVE_PORT), timeout=1.0).close()
    except OSError:
        return False
    return True


def _sees_all(spec: LabSpec, node: NodeSpec) -> bool:
    seen = view(node)
    return all(seen.get(other.address) == "UN" for other in spec.ring)


def _until(deadline: float, node: NodeSpec, holds: Callable[[], bool], otherwise: str) -> None:
    while not holds():
        if time.monotonic() > deadline:
            raise _not_up(node, otherwise)
        time.sleep(_POLL_S)


def _not_up(node: NodeSpec, why: str) -> SealringError:
    return passing("lab.not-up", f"{node.name}: {why}.", f"read {node.logs / 'system.log'}", node=node.address)
