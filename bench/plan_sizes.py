"""How large what a rollout of many nodes passes through Temporal is: `python -m bench.plan_sizes`.

Every node is restarted by itself (strategy rolling), which makes the longest plan. Sizes are those of payloads as they
leave a process: by our data converter, encrypted. Temporal refuses a payload above 2 MB and warns above 512 kB.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel
from temporalio.converter import DataConverter

from sealring.models.cluster import Listener, NodeRef, RolloutSettings
from sealring.models.evidence import Served, Verdict, Verification
from sealring.models.material import CertificateFacts, MaterialRef, NodeMaterial, ResolvedMaterial
from sealring.models.node import Change, ClusterView, Generation, NodeView
from sealring.models.plan import Plan
from sealring.models.rollout import (
    Carried,
    MatrixQuestion,
    MatrixRow,
    MatrixRows,
    NodeOutcome,
    NodeState,
    Phase,
    PlanQuestion,
    RolloutReport,
    RolloutRequest,
    RolloutRun,
    Timing,
)
from sealring.models.topology import Keyspace, RingNode, Topology
from sealring.models.trust import TrustQuestion
from sealring.planning.plan import make_plan
from sealring.temporal.keyring import create_keyring, load_keyring
from sealring.temporal.plugin import sealring_plugin

SIZES = (100, 300, 1000)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
TOKENS = 16


def sha(*words: object) -> str:
    """64 hexadecimal digits that nothing compresses."""
    return hashlib.sha256(repr(words).encode()).hexdigest()


def ref(number: int) -> NodeRef:
    """A node of one of three datacenters with three racks each."""
    word, address = sha("host", number), f"10.{number % 3 + 20}.{number // 250 + 100}.{number % 250 + 1}"
    host_id = f"{word[:8]}-{word[8:12]}-{word[12:16]}-{word[16:20]}-{word[20:32]}"
    datacenter = f"datacenter-{number % 3 + 1}"
    rack = f"rack-{number // 3 % 3 + 1}"
    return NodeRef(host_id=host_id, address=address, internode_address=address, datacenter=datacenter, rack=rack)


def generation(word: str, number: int) -> Generation:
    """One that trusts two authorities."""
    identity, leaf = sha(word, number), sha("leaf", word, number)
    return Generation(id=identity, leaf_sha256=leaf, not_after=NOW, trust=(sha("root"), sha("other")))


def seen(number: int) -> NodeView:
    """With what a rollout before this one left there."""
    node = ref(number)
    current, previous = generation("old", number), generation("older", number)
    internode = Listener(kind="internode", address=node.address, port=7000)
    native = Listener(kind="native", address=node.address, port=9042)
    return NodeView(
        node=node,
        version="5.0.9",
        up=True,
        normal=True,
        schema_version=node.host_id,
        listeners=(internode, native),
        current=current,
        previous=previous,
        last=Change(rollout=node.host_id, before=previous.id, after=current.id, at=NOW),
        served=(current.leaf_sha256,),
        reload="forced",
    )


def facts(number: int) -> CertificateFacts:
    """Of a leaf with names."""
    return CertificateFacts(
        sha256=sha("leaf", "new", number),
        subject=f"CN=node-{number}.cassandra.example.com,OU=Data,O=Example",
        issuer="CN=Example Issuing Authority 7,OU=Data,O=Example",
        serial=sha("serial", number)[:40],
        not_before=NOW,
        not_after=NOW + timedelta(days=90),
        key="EC secp256r1",
    )


def topology(nodes: tuple[NodeView, ...]) -> Topology:
    """With 16 tokens a node and a dozen keyspaces."""
    factors = {"class": "NetworkTopologyStrategy", **{f"datacenter-{d}": 3 for d in (1, 2, 3)}}
    names = [f"application_{i}" for i in range(12)]
    return Topology(
        name="large",
        nodes=tuple(
            RingNode(
                address=view.node.address,
                datacenter=view.node.datacenter,
                rack=view.node.rack,
                host_id=view.node.host_id,
                tokens=tuple(int(sha(view.node.host_id, i)[:15], 16) for i in range(TOKENS)),
            )
            for view in nodes
        ),
        keyspaces=tuple(Keyspace(name=name, replication=factors, consistency=("LOCAL_QUORUM",)) for name in names),
    )


def outcome(number: int) -> NodeOutcome:
    """A node that was restarted and proven from three vantages."""
    node = ref(number)
    served = matrix_row(number).served
    steps = ("validate", "backup", "transfer", "preflight", "activate", "drain", "restart", "verify", "settle")
    return NodeOutcome(
        address=node.address,
        state=NodeState.SERVING,
        generation=sha("new", number),
        before=generation("old", number),
        method="restart",
        verification=Verification(verdict=Verdict.PASS, served=served),
        timings=tuple(Timing(step=step, seconds=1.234) for step in steps),
    )


def matrix_row(number: int) -> MatrixRow:
    """Two listeners, each seen from the worker and two peers."""
    address, leaf = ref(number).address, sha("leaf", "new", number)
    served = tuple(
        Served(
            listener=Listener(kind=kind, address=address, port=port),
            vantage=vantage,
            leaf_sha256=leaf,
            not_after=NOW,
            protocol="TLSv1.3",
            chain=(leaf, sha("issuing")),
            trusted=True,
            accepted=True,
            milliseconds=12.34,
        )
        for kind, port in (("internode", 7000), ("native", 9042))
        for vantage in ("worker", ref(number + 1).address, ref(number + 2).address)
    )
    return MatrixRow(address=address, intended=leaf, on_disk=leaf, served=served)


def passed(nodes: int) -> Iterator[tuple[str, BaseModel]]:
    """What goes from and to the workflow, by name."""
    views = tuple(map(seen, range(nodes)))
    view = ClusterView(cluster="large", observed_at=NOW, observers=(), nodes=views, schema_versions=("s",))
    yield "ClusterView", view
    delivery = MaterialRef(path="/deliveries/november", digest=sha("delivery"))
    rows = tuple(
        NodeMaterial(address=ref(i).address, generation=sha("new", i), leaf=facts(i), trust=(sha("root"), sha("other")))
        for i in range(nodes)
    )
    material = ResolvedMaterial(ref=delivery, nodes=rows)
    yield "ResolvedMaterial", material
    request = RolloutRequest(cluster="large", material=delivery, apply="restart", requester="somebody")
    question = PlanQuestion(request=request, view=view, material=material)
    yield "PlanQuestion", question
    plan: Plan = make_plan(question, RolloutSettings(), topology(views))
    yield "Plan", plan
    yield "TrustQuestion", TrustQuestion(cluster="large", plan=plan, until=NOW)
    outcomes = tuple(map(outcome, range(nodes)))
    carried = Carried(plan=plan, waves_done=nodes // 2, nodes=outcomes, started_at=NOW)
    yield "RolloutRun", RolloutRun(**request.model_dump(), carried=carried)
    yield "MatrixQuestion", MatrixQuestion(cluster="large", targets=plan.targets)
    matrix = tuple(map(matrix_row, range(nodes)))
    yield "MatrixRows", MatrixRows(rows=matrix)
    yield (
        "RolloutReport",
        RolloutReport(
            cluster="large",
            goal="deploy",
            outcome=Phase.DONE,
            plan=plan,
            plan_digest=plan.digest,
            nodes=outcomes,
            matrix=matrix,
            started_at=NOW,
        ),
    )


async def sizes(nodes: int, folder: Path) -> dict[str, int]:
    """Bytes by name."""
    create_keyring(keys := folder / f"keys-{nodes}")
    converter = sealring_plugin(load_keyring(keys)).data_converter
    assert isinstance(converter, DataConverter)
    found = {}
    for name, model in passed(nodes):
        (payload,) = await converter.encode([model])
        found[name] = payload.ByteSize()
    return found


async def main() -> None:
    """A table, kB."""
    with tempfile.TemporaryDirectory() as folder:
        tables = [await sizes(nodes, Path(folder)) for nodes in SIZES]
    print("| payload | " + " | ".join(f"{nodes} nodes" for nodes in SIZES) + " |")
    print("|---|" + "---|" * len(SIZES))
    for name in tables[0]:
        print(f"| {name} | " + " | ".join(f"{table[name] / 1000:,.0f} kB" for table in tables) + " |")


if __name__ == "__main__":
    asyncio.run(main())
