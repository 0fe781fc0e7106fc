"""What `nodetool` prints, as data (pure), and how it is called on a host.

Starting its JVM takes 0.6 to 8 s, 40 s at worst (measured): every call here is worth it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sealring.errors import Actor, ErrorClass, SealringError, passing, refuse
from sealring.hosts.shell import Become, Shell
from sealring.models.cluster import ServiceSettings

TIMEOUT_SECONDS = 90.0  # for one command
_NO_JMX = ("Failed to connect to", "ConnectException", "NoSuchObjectException")
_NEXT = "====next===="
_STATE = re.compile(r"^([UD?])([NLJM?])\s+(\S+)\s")
_ENDPOINT = re.compile(r"^[^\s/]*/(\S+)$")  # host name, if it was looked up, and address
_HOST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VALUE = re.compile(r"^\s+([A-Za-z_]+):(?:([0-9]+):)?(.*)$")


@dataclass(frozen=True)
class Status:
    """One line of `nodetool status`: how this observer's failure detector sees a node."""

    address: str  # internode address
    up: bool
    normal: bool
    host_id: str
    datacenter: str
    rack: str


@dataclass(frozen=True)
class Gossip:
    """One endpoint of `nodetool gossipinfo`: application states by name, without their versions."""

    address: str  # internode address
    generation: int
    heartbeat: int
    states: Mapping[str, str] = field(default_factory=dict)


def parse_status(text: str) -> tuple[Status, ...]:
    """The lines of all datacenters, in order. Source: `org.apache.cassandra.tools.nodetool.Status`."""
    found, datacenter = [], ""
    for line in text.splitlines():
        if line.startswith("Datacenter:"):
            datacenter = line.partition(":")[2].strip()
        state = _STATE.match(line)
        if state:
            words = line.split()
            # Load is "123.4 KiB" or "?", so what follows it is counted from the end: host id, [token], rack.
            host_id = next(
                (word for word in words if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", word)), ""
            )
            found.append(Status(state[3], state[1] == "U", state[2] == "N", host_id, datacenter, words[-1]))
    return tuple(found)


def parse_gossip(text: str) -> tuple[Gossip, ...]:
    """All endpoints. Source: `org.apache.cassandra.gms.FailureDetector.getAllEndpointStates`."""
    endpoints: list[tuple[str, dict[str, str]]] = []
    for line in text.splitlines():
        endpoint, value = _ENDPOINT.match(line), _VALUE.match(line)
        if endpoint:
            endpoints.append((endpoint[1], {}))
        elif value and endpoints:
            endpoints[-1][1][value[1]] = value[3]
    return tuple(
        Gossip(address, _count(states.pop("generation", "")), _count(states.pop("heartbeat", "")), states)
        for address, states in endpoints
    )


def _count(text: str) -> int:
    """The number; 0 for anything that is none: a heartbeat that does not advance."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


async def nodetool(shell: Shell, service: ServiceSettings, *commands: str, become: Become = "") -> tuple[str, ...]:
    """What each command printed, one after the other in one script on the host.

    Args:
        shell: the host.
        service: names the nodetool to call.
        commands: constants of ours, with their arguments: "status -r".
        become: the user who may read the JMX password file, if there is one; usually not needed.

    Raises:
        SealringError: nodetool.unreachable (retry: JMX does not answer, or not yet), nodetool.missing (stop),
            nodetool.failed (ask: the node said no).
    """
    script = "\n".join(f'"$nodetool" {command}\nprintf "\\n%s\\n" {_NEXT}' for command in commands)
    done = await shell.run(
        script, variables={"nodetool": service.nodetool}, timeout=TIMEOUT_SECONDS * len(commands), become=become
    )
    if done.status == 127:
        raise refuse(
            "nodetool.missing",
            f"{service.nodetool} was not found on the node",
            "set service.nodetool in the cluster file to its absolute path",
            node=shell.address,
        )
    if done.status != 0:
        output = [line.strip() for line in (*done.stderr.splitlines(), *done.stdout.splitlines()) if line.strip()]
        words = next((line for line in output if "error" in line.lower() or "fail" in line.lower()), "it said nothing")
        if any(sign in line for line in output for sign in _NO_JMX):
            raise passing("nodetool.unreachable", f"JMX does not answer nodetool: {words}", node=shell.address)
        raise SealringError(
            "nodetool.failed",
            f"nodetool ended with status {done.status}: {words}",
            error_class=ErrorClass.ASK,
            actor=Actor.CASSANDRA_ADMIN,
            remedy="run the same command on the node",
            node=shell.address,
        )
    answers = tuple(done.stdout.split(f"\n{_NEXT}\n")[:-1])
    if len(answers) != len(commands):
        raise SealringError(
            "nodetool.failed",
            f"nodetool printed {len(answers)} answers to {len(commands)} commands",
            error_class=ErrorClass.ASK,
            actor=Actor.CASSANDRA_ADMIN,
            remedy="run the same command on the node",
            node=shell.address,
        )
    return answers
