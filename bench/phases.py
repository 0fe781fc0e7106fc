"""The engine's SSH phases alone, on the whole fleet: `python -m bench.phases ROOT NODES`.

Back up, stage, flip, reload, settle, each on all hosts: what the engine does on a host, without Temporal, without
reading the ring and without proof.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.fleet import FIRST, NAMES, Fleet
from lab.keys import user_name
from lab.spec import SSH_PORT, LabSpec, NodeSpec
from sealring.hosts.generations import adopt, flip, settle, stage_generation
from sealring.hosts.manifest import Place
from sealring.hosts.ssh import Host, HostPool
from sealring.models.cluster import SshSettings
from sealring.models.node import Generation, StoreFile

IN_FLIGHT = 32
_FAR = datetime.max.replace(tzinfo=UTC)
_OLD, _NEW = (Generation(id=each * 64, leaf_sha256=each * 64, not_after=_FAR) for each in "ab")


async def main(root: Path, nodes: int) -> None:
    """All phases on all hosts, IN_FLIGHT at once."""
    fleet = Fleet(LabSpec(root, nodes=nodes, first=FIRST))
    pool = HostPool(
        SshSettings(
            user=user_name(),
            port=SSH_PORT,
            known_hosts=fleet.spec.ssh / "known_hosts",
            private_key=fleet.spec.ssh / "deploy",
            certificate=fleet.spec.ssh / "deploy-cert.pub",
        )
    )
    room = asyncio.Semaphore(IN_FLIGHT)

    async def phase(work: Callable[[Host, NodeSpec], Awaitable[object]]) -> None:
        async def one(node: NodeSpec) -> None:
            async with room, pool.host(node.address) as host:
                await work(host, node)

        await asyncio.gather(*(one(node) for node in fleet.spec.ring))

    async def prepare(host: Host, node: NodeSpec) -> None:
        await adopt(host, place(node), _OLD, _files(node, node.tls), rollout="bench")
        await stage_generation(host, place(node), _NEW, _files(node, fleet.delivery / node.address), rollout="bench")

    async def activate(host: Host, node: NodeSpec) -> None:
        await flip(host, place(node), _NEW.id, rollout="bench")
        await host.run("nodetool reloadssl")
        await settle(host, place(node), rollout="bench", keep=5)

    try:
        await phase(prepare)
        await phase(activate)
    finally:
        await pool.close()


def place(node: NodeSpec) -> Place:
    """Four stores in one folder, in place."""
    return Place(
        tls_dir=str(node.tls),
        state_dir=str(node.tls / ".sealring"),
        layout="in-place",
        stores=tuple(
            StoreFile(
                role="truststore" if name in ("truststore.p12", "ca.pem") else "keystore",
                blocks=("server",),
                path=str(node.tls / name),
                format="PEM" if name.endswith(".pem") else "PKCS12",
            )
            for name in NAMES
        ),
        user=user_name(),
        group=user_name(),
    )


def _files(node: NodeSpec, folder: Path) -> dict[str, bytes]:
    return {str(node.tls / name): (folder / name).read_bytes() for name in NAMES}


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
