"""What must hold before a lab is brought up: free ports, enough memory. A refusal is one line."""

import socket
from collections.abc import Iterable
from pathlib import Path

from lab.authority import LOOPBACK
from lab.spec import CODEC_ABOVE, INTERNODE_PORT, NATIVE_PORT, SSH_PORT, STAND_IN, UI_ABOVE, LabSpec, NodeSpec
from sealring.errors import refuse

Listener = tuple[str, int]  # address, port
_NAMED = 4  # busy ports that a refusal names

NODE_BYTES = 600_000_000
"""Memory a node needs: 300-460 MB resident was measured at -Xmx384m, and the page cache wants some."""


STAND_IN_BYTES = 1_000_000
"""Memory a node of a stand-in needs, its process and its SSH server's share."""


def node_ports(spec: LabSpec, node: NodeSpec) -> list[Listener]:
    """Where the node's JVM listens; all nodes of a stand-in have one port in place of JMX."""
    shared = spec.cassandra == STAND_IN and node != spec.ring[0]
    return [
        (node.address, INTERNODE_PORT),
        (node.address, NATIVE_PORT),
        *([] if shared else [(LOOPBACK, node.jmx_port)]),
    ]


def node_bytes(spec: LabSpec) -> int:
    """Memory that one node of the lab needs."""
    return STAND_IN_BYTES if spec.cassandra == STAND_IN else NODE_BYTES


def ssh_ports(spec: LabSpec) -> list[Listener]:
    """Where the lab's SSH servers listen."""
    return [(node.address, SSH_PORT) for node in spec.ring]


def engine_ports(spec: LabSpec) -> list[Listener]:
    """Where the Temporal server, its UI and the codec server listen."""
    return [(LOOPBACK, spec.temporal_port + above) for above in (0, UI_ABOVE, CODEC_ABOVE)]


def check_ports(wanted: Iterable[Listener]) -> None:
    """Every one of these ports is free.

    Raises:
        SealringError: lab.port-busy.
    """
    busy = [f"{address}:{port}" for address, port in wanted if not is_free(address, port)]
    if busy:
        raise refuse(
            "lab.port-busy",
            f"Something else listens on {', '.join(busy[:_NAMED])}{' and more' if len(busy) > _NAMED else ''}.",
            "stop it, or choose other addresses with --first (and --temporal-port); is another lab running?",
        )


def is_free(address: str, port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def check_memory(nodes: int, each: int = NODE_BYTES, meminfo: Path = Path("/proc/meminfo")) -> None:
    """There is memory for `nodes` more nodes that need `each` bytes.

    Raises:
        SealringError: lab.memory.
    """
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    if available < nodes * each:
        raise refuse(
            "lab.memory",
            f"{nodes} nodes need {nodes * each / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are available.",
            "close other programs, or use fewer --nodes",
        )
