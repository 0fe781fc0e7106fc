"""The parts one by one, a line each: what, how many, median and spread over the runs."""

import asyncio
import random
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from bench import processes
from bench.measure import Figure
from bench.report import write_report
from bench.results import Line, keep_lines
from bench.trust import trust_of_many
from lab import state, tools
from lab.authority import Authority, pkcs12_stores
from lab.hosts import ROLE, prepare_hosts, start_hosts, stop_hosts
from lab.keys import user_name
from lab.spec import SSH_PORT, LabSpec, NodeSpec
from sealring.hosts.generations import adopt, flip, settle, stage_generation
from sealring.hosts.manifest import Place
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import NodeRef, RolloutSettings, SshSettings
from sealring.models.node import Change, ClusterView, Generation, NodeView, StoreFile
from sealring.models.plan import Plan
from sealring.models.rollout import PlanQuestion, RolloutRequest
from sealring.models.schedule import Schedule
from sealring.models.topology import Topology
from sealring.planning.plan import make_plan
from sealring.planning.schedule import schedule

RUNS = 5
HOSTS = 20
NODES = 1000
TOKENS = 16
RINGS = (300, 1000)
AT_ONCE = 10


def measure_parts() -> None:
    """All of them."""
    plans = tuple(timed(plan_many) for _ in range(RUNS))
    lines = [Line(f"plan a rollback of {NODES} nodes", "s", plans)]
    for racks in (3, 2):
        ring = large_ring(racks)
        schedules = tuple(timed(partial(restart_all, ring)) for _ in range(RUNS))
        what = f"plan restarts of {NODES} nodes with {TOKENS} tokens in {racks} racks, RF 3"
        lines.append(Line(what, "s", schedules, f"{len(restart_all(ring).waves)} waves"))
    for count in RINGS:
        work = trust_of_many(count)
        trust = tuple(timed(work) for _ in range(RUNS))
        lines.append(Line(f"simulate the trust of {count} nodes, a new authority in 9 waves", "s", trust))
    lines += asyncio.run(over_ssh())
    for line in lines:
        print(f"{line.what}: {Figure(line.runs)} {line.unit} {line.note}", flush=True)
    keep_lines("Part by part", "make bench", lines)
    write_report()


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def large_ring(racks: int) -> Topology:
    """A ring with random tokens, the same ones every time, and one keyspace."""
    tokens = random.Random(1).sample(range(-(2**62), 2**62 - 1), NODES * TOKENS)  # noqa: S311 - no secrets
    return Topology.model_validate(
        {
            "name": "bench",
            "nodes": [
                {"address": f"10.0.{i // 250}.{i % 250}", "rack": f"r{i % racks}", "tokens": tokens[i::NODES]}
                for i in range(NODES)
            ],
            "keyspaces": [{"name": "k", "replication": {"class": "NetworkTopologyStrategy", "dc1": 3}}],
        }
    )


def restart_all(ring: Topology) -> Schedule:
    """Waves for a restart of every node, as few as can be found."""
    rules = RolloutSettings(strategy="fastest", max_parallel=NODES)
    return schedule(ring, {node.address: "restart" for node in ring.nodes}, rules)


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
        PlanQuestion(request=RolloutRequest(cluster="bench", goal="rollback"), view=view),
        RolloutSettings(strategy="fastest", max_parallel=NODES),
    )


async def over_ssh() -> list[Line]:
    """Adopt, stage, flip and settle on real OpenSSH hosts, two stores each."""
    spec = LabSpec(tools.cache() / "bench" / "parts", nodes=HOSTS, first=101)
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
                await flip(host, place(node), target * 64, rollout="bench")

        async def leave(node: NodeSpec) -> None:
            async with pool.host(node.address) as host:
                await settle(host, place(node), rollout="bench", keep=5)

        lines = [
            await on_all(spec, "log in", login),
            await on_all(spec, "back up what is in force", keep),
            await on_all(spec, "transfer a generation", stage),
        ]
        flips = [await on_all(spec, "flip", partial(activate, target=target)) for target in "ba" * RUNS]
        lines.append(replace(flips[-1], runs=tuple(second for flip in flips for second in flip.runs)))
        lines.append(await on_all(spec, "settle", leave))
    finally:
        await pool.close()
        await asyncio.to_thread(stop_hosts, spec)
        shutil.rmtree(spec.root, ignore_errors=True)
    return lines


async def on_all(spec: LabSpec, what: str, work: Callable[[NodeSpec], Awaitable[None]]) -> Line:
    """Seconds for all hosts, AT_ONCE of them in flight, and what it cost them."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(node: NodeSpec) -> None:
        async with room:
            await work(node)

    superserver = state.alive(spec.root)[ROLE]
    target, begun = processes.tree_cpu(superserver), time.perf_counter()
    await asyncio.gather(*(one(node) for node in spec.ring))
    seconds = time.perf_counter() - begun
    cpu = 1000 * (processes.tree_cpu(superserver) - target) / len(spec.ring)
    return Line(f"{what}, {len(spec.ring)} hosts", "s", (seconds,), f"CPU on the host: {cpu:.0f} ms")


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
