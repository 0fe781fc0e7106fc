"""The parts one by one, a line each: what, how many, median and spread over the runs."""

import asyncio
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from lab import tools
from lab.authority import Authority, pkcs12_stores
from lab.hosts import prepare_hosts, start_hosts, stop_hosts
from lab.keys import user_name
from lab.spec import SSH_PORT, LabSpec, NodeSpec
from sealring.hosts.generations import adopt, flip, settle, stage_generation
from sealring.hosts.manifest import Place
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import NodeRef, RolloutSettings, SshSettings
from sealring.models.node import Change, ClusterView, Generation, NodeView, StoreFile
from sealring.models.plan import Plan
from sealring.models.rollout import PlanQuestion, RolloutRequest
from sealring.planning.plan import make_plan

RUNS = 5
HOSTS = 20
NODES = 1000
AT_ONCE = 10


def measure_parts() -> None:
    """All of them."""
    tell(f"plan a rollback of {NODES} nodes", NODES, [timed(plan_many) for _ in range(RUNS)])
    asyncio.run(over_ssh())


def tell(what: str, count: int, seconds: list[float]) -> None:
    """One line."""
    middle = statistics.median(seconds)
    print(
        f"{what}: {middle:.2f} s (of {len(seconds)} runs {min(seconds):.2f} to {max(seconds):.2f}), "
        f"{1000 * middle / count:.1f} ms each",
        flush=True,
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def plan_many() -> Plan:
    """A plan for a large ring."""
    now = datetime.now(UTC)
    kept = Generation(id="a" * 64, leaf_sha256="b" * 64, not_after=datetime.max.replace(tzinfo=UTC))
    views = tuple(
        NodeView(
            node=NodeRef(
                host_id=str(i),
                address=f"10.0.{i // 250}.{i % 250}",
                internode_address=f"10.0.{i // 250}.{i % 250}",
                datacenter=f"dc{i % 2}",
                rack=f"r{i % 6}",
            ),
            version="5.0.9",
            up=True,
            normal=True,
            previous=kept,
            last=Change(rollout="r", before="a" * 64, after="c" * 64, at=now),
            reload="forced",
        )
        for i in range(NODES)
    )
    view = ClusterView(cluster="bench", observed_at=now, observers=(), nodes=views)
    return make_plan(
        PlanQuestion(request=RolloutRequest(cluster="bench", goal="rollback"), view=view), RolloutSettings(wave="rack")
    )


async def over_ssh() -> None:
    """Adopt, stage, flip and settle on real OpenSSH hosts, two stores each."""
    spec = LabSpec(tools.cache() / "bench", nodes=HOSTS, first=101)
    shutil.rmtree(spec.root, ignore_errors=True)
    prepare_hosts(spec)
    authority = Authority.open(spec.authority)
    identity = authority.issue(["127.0.0.1"])
    old, new = (pkcs12_stores(identity, authority.certificate, "password") for _ in range(2))
    for node in spec.ring:
        node.tls.mkdir(parents=True)
        for name, content in zip(("keystore.p12", "truststore.p12"), old, strict=True):
            (node.tls / name).write_bytes(content)
    await asyncio.to_thread(start_hosts, spec, tools.sshd(print))
    pool = HostPool(
        SshSettings(
            user=user_name(),
            port=SSH_PORT,
            known_hosts=spec.ssh / "known_hosts",
            private_key=spec.ssh / "deploy",
            certificate=spec.ssh / "deploy-cert.pub",
        )
    )
    try:
        far = datetime.max.replace(tzinfo=UTC)
        first = Generation(id="a" * 64, leaf_sha256="a" * 64, not_after=far)
        second = Generation(id="b" * 64, leaf_sha256="b" * 64, not_after=far)

        async def login(node: NodeSpec) -> None:
            async with pool.host(node.address) as host:
                await host.run("exit 0")

        async def keep(node: NodeSpec) -> None:
            async with pool.host(node.address) as host:
                await adopt(host, place(node), first, stores(node, old), rollout="bench")

        async def stage(node: NodeSpec) -> None:
            async with pool.host(node.address) as host:
                await stage_generation(host, place(node), second, stores(node, new), rollout="bench")

        async def activate(node: NodeSpec, target: str) -> None:
            async with pool.host(node.address) as host:
                await flip(host, place(node), target, rollout="bench")

        async def leave(node: NodeSpec) -> None:
            async with pool.host(node.address) as host:
                await settle(host, place(node), rollout="bench", keep=5)

        tell(f"log in to {HOSTS} hosts", HOSTS, [await on_all(spec, login)])
        tell(f"back up {HOSTS} hosts", HOSTS, [await on_all(spec, keep)])
        tell(f"transfer a generation to {HOSTS} hosts", HOSTS, [await on_all(spec, stage)])
        flips = [await on_all(spec, partial(activate, target=t)) for _ in range(RUNS) for t in ("b" * 64, "a" * 64)]
        tell(f"activate or roll back {HOSTS} hosts", HOSTS, flips)
        tell(f"settle {HOSTS} hosts", HOSTS, [await on_all(spec, leave)])
    finally:
        await pool.close()
        await asyncio.to_thread(stop_hosts, spec)
        shutil.rmtree(spec.root, ignore_errors=True)


async def on_all(spec: LabSpec, work: Callable[[NodeSpec], Awaitable[None]]) -> float:
    """Seconds for all hosts, AT_ONCE of them in flight."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(node: NodeSpec) -> None:
        async with room:
            await work(node)

    begun = time.perf_counter()
    await asyncio.gather(*(one(node) for node in spec.ring))
    return time.perf_counter() - begun


def place(node: NodeSpec) -> Place:
    """Two stores in one folder, in place."""
    return Place(
        tls_dir=str(node.tls),
        state_dir=str(node.tls / ".sealring"),
        layout="in-place",
        stores=(
            StoreFile(role="keystore", blocks=("server",), path=str(node.tls / "keystore.p12"), format="PKCS12"),
            StoreFile(role="truststore", blocks=("server",), path=str(node.tls / "truststore.p12"), format="PKCS12"),
        ),
        user=user_name(),
        group=user_name(),
    )


def stores(node: NodeSpec, content: tuple[bytes, bytes]) -> dict[str, bytes]:
    """Content by store path."""
    return {str(node.tls / "keystore.p12"): content[0], str(node.tls / "truststore.p12"): content[1]}
