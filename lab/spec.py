"""What a lab consists of and where its files are: the one place both halves of the lab (ring and hosts) agree on."""

import ipaddress
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

SSH_PORT = 2222  # an ordinary user may not bind 22
INTERNODE_PORT = 7000
NATIVE_PORT = 9042
STORE_PASSWORD_BYTES = 16
UI_ABOVE, CODEC_ABOVE = 1000, 2000  # ports of the Temporal UI and the codec server, counted from the Temporal server's
NET = int(os.environ.get("SEALRING_LAB_NET", "0"))
"""Third octet of the lab's addresses: two checkouts on one machine stand side by side when they differ in it."""
TEMPORAL_PORT = 7233 + 10 * NET
_JMX_PORTS = 20000


Line = Literal["5.0", "4.1", "4.0", "stand-in"]
STAND_IN: Literal["stand-in"] = "stand-in"


@dataclass(frozen=True)
class NodeSpec:
    """One node of the lab: its address, its place in the ring, its folder."""

    name: str  # n1, n2, ...
    address: str  # in 127.0.0.0/8: internode, native and SSH listen there
    datacenter: str
    rack: str
    jmx_port: int  # JMX listens on 127.0.0.1 only, so every node needs a port of its own
    home: Path  # everything of the node is below this folder

    @property
    def conf(self) -> Path:
        """cassandra.yaml, cassandra-rackdc.properties, logback.xml; the stores are in conf/tls."""
        return self.home / "conf"

    @property
    def tls(self) -> Path:
        """The folder of the stores."""
        return self.conf / "tls"

    @property
    def bin(self) -> Path:
        """First on the PATH of an SSH session: the node's own `systemctl` and `nodetool`."""
        return self.home / "bin"

    @property
    def logs(self) -> Path:
        """system.log, the service manager's journal, sshd's log."""
        return self.home / "logs"


@dataclass(frozen=True)
class LabSpec:
    """A lab to be built: pure data, the same spec gives the same files.

    Args:
        root: folder of the lab; created on first use, everything the lab writes is below it.
        cassandra: version line: "5.0", "4.1" or "4.0"; "stand-in" for a fake of 5.0 in one process (`lab.standin`).
        nodes: number of nodes.
        racks: number of racks in each datacenter.
        datacenters: number of datacenters; nodes are dealt out to them in turn.
        first: last octet of the first node's address, so that two labs can stand side by side.
        net: third octet of the first node's address; later nodes count on from there.
        layout: "slots" (cassandra.yaml names files through tls/current) or "in-place" (plain files in tls/).
        temporal_port: gRPC port of the Temporal server; UI and codec server listen above it.
    """

    root: Path
    cassandra: Line = "5.0"
    nodes: int = 3
    racks: int = 3
    datacenters: int = 1
    first: int = 11
    layout: Literal["slots", "in-place"] = "in-place"
    temporal_port: int = TEMPORAL_PORT
    net: int = NET

    @property
    def software(self) -> str:
        """What its nodes run, in words."""
        return "the stand-in for Cassandra" if self.cassandra == STAND_IN else f"Cassandra {self.cassandra}"

    @cached_property
    def ring(self) -> tuple[NodeSpec, ...]:
        """The nodes in order."""
        return tuple(
            NodeSpec(
                name=f"n{i + 1}",
                address=str(ipaddress.IPv4Address("127.0.0.0") + self._place(i)),
                datacenter=f"dc{i % self.datacenters + 1}",
                rack=f"rack{i // self.datacenters % self.racks + 1}",
                jmx_port=_JMX_PORTS + self._place(i),
                home=self.root / "nodes" / f"n{i + 1}",
            )
            for i in range(self.nodes)
        )

    def _place(self, i: int) -> int:
        return 256 * self.net + self.first + i

    @property
    def authority(self) -> Path:
        """The lab CA (ca.crt, ca.key) and the client identity of load and engine (client/tls.crt, client/tls.key)."""
        return self.root / "authority"

    @property
    def ssh(self) -> Path:
        """The SSH CA, the deploy user's key and certificate, known_hosts."""
        return self.root / "ssh"

    @property
    def deliveries(self) -> Path:
        """Material as a PKI would deliver it: deliveries/<name>/<address>/{tls.crt,tls.key,ca.crt}."""
        return self.root / "deliveries"

    @property
    def cluster_file(self) -> Path:
        """The cluster file that the engine reads for this ring."""
        return self.root / "clusters" / "lab.yaml"
