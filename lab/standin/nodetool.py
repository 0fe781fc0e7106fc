"""What `nodetool` prints and how it ends, for the few commands that a rollout needs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lab.service_client import Answer
from lab.standin.tables import SCHEMA, known, status_with_port

if TYPE_CHECKING:
    from lab.standin.node import Node

_NO_JMX = (
    "nodetool: Failed to connect to '127.0.0.1:7199' - ConnectException: 'Connection refused (Connection refused)'.\n"
)
_HEAD = "Status=Up/Down\n|/ State=Normal/Leaving/Joining/Moving\n"


def run(node: "Node", words: list[str]) -> Answer:
    """`nodetool <words>` on the node."""
    if not node.running:
        return Answer(1, "", _NO_JMX)
    command = _COMMANDS.get(words[0]) if words else None
    if command is None:
        return Answer(1, "", f"nodetool: The stand-in does not know {' '.join(words) or 'what to do'}.\n")
    return Answer(0, command(node) or "", "")


def status(node: "Node") -> str:
    """The ring as the node's failure detector sees it. Source: o.a.c.tools.nodetool.Status of 5.0."""
    nodes = known(node)
    share = f"{100 / len(nodes):.1f}%"
    text = ""
    for datacenter in sorted({other.spec.datacenter for other in nodes}):
        title = f"Datacenter: {datacenter}"
        members = [other for other in nodes if other.spec.datacenter == datacenter]
        wide = max(len(other.spec.address) for other in members)
        text += f"{title}\n{'=' * len(title)}\n{_HEAD}"
        text += f"--  {'Address':<{wide}}  Load        Tokens  Owns (effective)  {'Host ID':<36}  Rack\n"
        text += "".join(
            f"{'U' if node.sees(other) else 'D'}N  {other.spec.address:<{wide}}  100.00 KiB  1       {share:<16}  "
            f"{other.host_id}  {other.spec.rack}\n"
            for other in members
        )
        text += "\n"
    return text


def gossipinfo(node: "Node") -> str:
    """Everything that is gossiped. Source: o.a.c.gms.FailureDetector.getAllEndpointStates."""
    return "".join(_endpoint(other) for other in known(node))


def _endpoint(node: "Node") -> str:
    address, internode = node.spec.address, node.settings["storage_port"]
    states = {
        "STATUS_WITH_PORT": status_with_port(node),
        "LOAD": "100000.0",
        "SCHEMA": SCHEMA,
        "DC": node.spec.datacenter,
        "RACK": node.spec.rack,
        "RELEASE_VERSION": node.version,
        "INTERNAL_ADDRESS_AND_PORT": f"{address}:{internode}",
        "NATIVE_ADDRESS_AND_PORT": f"{address}:{node.settings['native_transport_port']}",
        "NET_VERSION": "12",
        "HOST_ID": node.host_id,
        "RPC_READY": "true",
    }
    lines = [f"/{address}", f"  generation:{node.generation}", f"  heartbeat:{node.heartbeat}"]
    lines += [f"  {name}:{at + 2}:{value}" for at, (name, value) in enumerate(states.items())]
    return "\n".join((*lines, "  TOKENS:28:<hidden>", ""))


def _version(node: "Node") -> str:
    return f"ReleaseVersion: {node.version}\n"


_COMMANDS: dict[str, Callable[["Node"], str | None]] = {
    "status": status,
    "gossipinfo": gossipinfo,
    "version": _version,
    "reloadssl": lambda node: node.reload(),
    "drain": lambda node: node.drain(),
}
