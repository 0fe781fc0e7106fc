"""What the activity reads from nodes and makes of it: real stores, real scripts on this computer instead of SSH."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from temporalio.testing import ActivityEnvironment

from activities import rings, trust
from activities.rings import Rings, generation_of
from activities.trust import TrustActivities
from sealring.cassandra.configuration import parse_configuration
from sealring.cassandra.store_blocks import StorePasswords
from sealring.errors import SealringError, passing
from sealring.hosts.generations import stage_generation
from sealring.hosts.manifest import Place
from sealring.models.cluster import NodeRef, RolloutSettings
from sealring.models.evidence import Finding, Verdict
from sealring.models.node import StoreFile
from sealring.models.plan import Plan, Stage, Target, Wave
from sealring.models.rollout import Readiness
from sealring.models.trust import TrustQuestion, TrustReport
from sealring.pki.material import Material
from sealring.pki.simulation import simulate
from sealring.pki.stores import write_keystore, write_truststore
from tests.hosts.local_shell import LocalShell
from tests.unit.pki_maker import Made, make, material
from tests.unit.trust_maker import address_of, leaf_of

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=30)
PASSWORD = "not to be told"
ROOT, NEW_ROOT = make("root", ca=True, end=LATER), make("new root", ca=True, end=LATER)
YAML = """
server_encryption_options:
  {internode_encryption: all, keystore: k, keystore_password: p, truststore: t, truststore_password: p,
   require_client_auth: true, require_endpoint_verification: true}
client_encryption_options:
  {enabled: true, keystore: k, keystore_password: p, truststore: t, truststore_password: p}
"""


def of_node(number: int, issuer: Made, *trust: Made) -> Material:
    return material(leaf_of(number, issuer, end=LATER), trust=trust)


class Host(LocalShell):
    """A node's disk below a folder."""

    user = "deploy"

    async def read_all(self, paths: Iterable[str], **_: object) -> dict[str, bytes]:
        return {path: await asyncio.to_thread(Path(path).read_bytes) for path in paths}


@dataclass
class Ring:
    """Nodes on this computer's disk."""

    folder: Path
    nodes: list[NodeRef] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    fault: dict[str, SealringError] = field(default_factory=dict)
    looks: list[str] = field(default_factory=list)
    most: int = 0
    open: int = 0

    def add(self, number: int, now: Material, *, outbound: Material | None = None) -> None:
        address = address_of(number)
        tls = self.folder / address
        tls.mkdir()
        stores = tuple(
            StoreFile(role=role, blocks=("server", "client"), path=str(tls / f"{role}.p12"), format="PKCS12")
            for role in ("keystore", "truststore")
        )
        if outbound:
            path = str(tls / "outbound.p12")
            stores += (StoreFile(role="keystore", blocks=("server-outbound",), path=path, format="PKCS12"),)
        place = Place(str(tls), str(tls / "state"), "in-place", stores, str(os.getuid()), str(os.getgid()))
        self.nodes.append(
            NodeRef(host_id=address, address=address, internode_address=address, datacenter="dc1", rack="r1")
        )
        self.places[address] = place
        for path, content in self.files(place, now).items():
            Path(path).write_bytes(content)
        if outbound:
            (tls / "outbound.p12").write_bytes(write_keystore(outbound, "PKCS12", PASSWORD))

    def files(self, place: Place, held: Material) -> dict[str, bytes]:
        make_store = {
            "keystore": lambda: write_keystore(held, "PKCS12", PASSWORD),
            "truststore": lambda: write_truststore(held.trust, "PKCS12", PASSWORD),
        }
        return {store.path: make_store[store.role]() for store in place.stores}

    async def stage(self, number: int, held: Material) -> Target:
        place = self.places[address_of(number)]
        made = generation_of(held)
        shell = LocalShell(self.folder)
        await stage_generation(shell, place, made, dict(self.files(place, held)), rollout="r")
        return Target(
            node=self.nodes[number],
            generation=made.id,
            leaf_sha256=made.leaf_sha256,
            apply="reload",
            may_restart=False,
        )

    async def inspect(self, _: object, __: object, node: NodeRef, **___: object) -> Any:
        self.looks.append(node.address)
        if fault := self.fault.get(node.address):
            raise fault
        place = self.places[node.address]
        return SimpleNamespace(
            inventory=SimpleNamespace(
                pid=7, stores=place.stores, config_path="cassandra.yaml", address=node.address, place=place
            ),
            known=SimpleNamespace(written=parse_configuration(YAML)),
            passwords=StorePasswords({store.path: PASSWORD for store in place.stores}),
        )

    @asynccontextmanager
    async def host(self, _: str) -> AsyncIterator[Host]:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            yield Host(self.folder)
        finally:
            self.open -= 1


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ring:
    found = Ring(tmp_path)

    async def nobody(*_: object, **__: object) -> str:
        return ""

    monkeypatch.setattr(rings, "inventory", found.inspect)
    monkeypatch.setattr(rings, "choose_become", nobody)
    monkeypatch.setattr(rings, "place_of", lambda inventory: inventory.place)
    monkeypatch.setattr(Rings, "pool", lambda *_: SimpleNamespace(host=found.host))
    configure(found)
    return found


def configure(ring: Ring, **sections: object) -> None:
    cluster = {"name": "lab", "contact_points": ["10.0.0.1"], "rollout": {"max_parallel": 2}, **sections}
    (ring.folder / "lab.yaml").write_text(yaml.safe_dump(cluster))


async def ask(ring: Ring, *waves: Sequence[Target], **rules: Any) -> tuple[Finding, ...]:
    named = tuple(Wave(name=f"wave {i}", targets=tuple(targets), because="") for i, targets in enumerate(waves, 1))
    plan = Plan(
        cluster="lab",
        goal="deploy",
        stages=(Stage(name="deploy", waves=named),),
        rules=RolloutSettings(**rules),
    )
    question = TrustQuestion(
        cluster="lab", nodes=tuple(ring.nodes), plan=plan, until=datetime.now(UTC) + timedelta(hours=1)
    )
    answer = await ActivityEnvironment().run(TrustActivities(Rings(ring.folder)).simulate_trust, question)
    assert isinstance(answer, Readiness)
    assert PASSWORD not in answer.model_dump_json()
    return answer.findings


async def test_a_renewal_is_read_from_the_disks_and_passes_without_a_word_of_a_key(ring: Ring) -> None:
    targets = []
    for number in range(3):
        ring.add(number, of_node(number, ROOT, ROOT))
        targets.append(await ring.stage(number, of_node(number, ROOT, ROOT)))
    (found,) = await ask(ring, *([target] for target in targets))
    assert (found.check, found.verdict) == ("trust.states", Verdict.PASS)
    assert "3 nodes and 1 clients in every state of 3 waves: 36 of 36 answers are yes" in found.message
    assert ring.most == 2, "so many at once as preparation has"


@pytest.mark.criterion("F8")
async def test_a_new_authority_before_trust_is_a_finding_that_blocks_and_names_wave_and_pair(ring: Ring) -> None:
    targets = []
    for number in range(3):
        ring.add(number, of_node(number, ROOT, ROOT))
        targets.append(await ring.stage(number, of_node(number, NEW_ROOT, ROOT, NEW_ROOT)))
    (found,) = await ask(ring, *([target] for target in targets))
    assert (found.check, found.verdict, found.node) == ("trust.states", Verdict.FAIL, address_of(0))
    assert f"in wave 1, when {address_of(0)} has flipped: {address_of(1)}, dialling {address_of(0)}" in found.message
    assert "more of path (internode, client) in wave 1" in found.message
    assert found.remedy.startswith(f"let {address_of(1)} trust the authority")


async def test_nodes_outside_the_plan_count_and_what_fails_already_is_a_warning(ring: Ring) -> None:
    old = of_node(0, ROOT, ROOT)
    ring.add(0, old)
    ring.add(1, of_node(1, NEW_ROOT, NEW_ROOT))
    believing = await ring.stage(0, replace(old, trust=of_node(0, ROOT, ROOT, NEW_ROOT).trust))
    passed, already = await ask(ring, [believing])
    assert (passed.verdict, already.check, already.verdict) == (Verdict.PASS, "trust.already", Verdict.WARN)
    assert "before anything flips" in already.message
    useless = await ring.stage(0, of_node(0, ROOT, ROOT, NEW_ROOT))
    assert [f.verdict for f in await ask(ring, [useless])] == [Verdict.FAIL, Verdict.WARN], (
        "what is delivered must work"
    )


OTHER_ROOT = make("root of the dialling side", ca=True, end=LATER)


@pytest.mark.criterion("F8")
async def test_a_node_with_an_outbound_keystore_dials_with_that_one_and_answers_with_the_other(ring: Ring) -> None:
    """`outbound_keystore`, 5.0: a peer that drops its authority would refuse the connections it opens alone."""
    both, one = (ROOT, OTHER_ROOT), (ROOT,)
    ring.add(0, of_node(0, ROOT, *both), outbound=of_node(0, OTHER_ROOT, *both))
    ring.add(1, of_node(1, ROOT, *both))
    (passed,) = await ask(ring, [await ring.stage(1, of_node(1, ROOT, *both))])
    assert passed.verdict is Verdict.PASS
    (found,) = await ask(ring, [await ring.stage(1, of_node(1, ROOT, *one))])
    assert (found.check, found.verdict, found.node) == ("trust.states", Verdict.FAIL, address_of(0))
    assert f"{address_of(1)}, dialled by {address_of(0)} (internode), would refuse its certificate" in found.message
    assert "2 of" not in found.message
    assert "1 of" in found.message, "the certificate that its listeners show is trusted still"


async def test_an_outbound_keystore_of_the_same_content_changes_no_answer(ring: Ring) -> None:
    held = of_node(0, ROOT, ROOT)
    ring.add(0, held, outbound=held)
    ring.add(1, of_node(1, ROOT, ROOT))
    (passed,) = await ask(ring, [await ring.stage(0, of_node(0, ROOT, ROOT))])
    assert (passed.verdict, passed.check) == (Verdict.PASS, "trust.states")


async def test_what_is_delivered_goes_into_the_outbound_keystore_too(ring: Ring) -> None:
    """After it the node dials with the delivered leaf: an authority that only that store needed may go."""
    both = (ROOT, OTHER_ROOT)
    ring.add(0, of_node(0, ROOT, *both), outbound=of_node(0, OTHER_ROOT, *both))
    ring.add(1, of_node(1, ROOT, *both))
    first, second = await ring.stage(0, of_node(0, ROOT, *both)), await ring.stage(1, of_node(1, ROOT, ROOT))
    assert [f.verdict for f in await ask(ring, [first], [second])] == [Verdict.PASS]
    assert [f.verdict for f in await ask(ring, [second], [first])] == [Verdict.FAIL]


@pytest.mark.parametrize("staged", [False, True])
async def test_a_node_that_cannot_be_read_is_a_finding_and_the_others_are_judged(ring: Ring, staged: bool) -> None:
    for number in range(3):
        ring.add(number, of_node(number, ROOT, ROOT))
    target = await ring.stage(0, of_node(0, NEW_ROOT, ROOT))
    ring.fault[address_of(2)] = passing("ssh.lost", "the connection was lost")
    if staged:  # what was delivered to one more is damaged
        (ring.folder / address_of(0) / "generations" / target.generation / "keystore.p12").write_bytes(b"rot")
    found = await ask(ring, [target])
    assert [(f.check, f.verdict, f.node) for f in found] == [
        ("trust.states", Verdict.PASS if staged else Verdict.FAIL, "" if staged else address_of(0)),
        *([("trust.unknown", Verdict.INCONCLUSIVE, address_of(0))] if staged else []),
        ("trust.unknown", Verdict.INCONCLUSIVE, address_of(2)),
    ]
    assert ring.looks.count(address_of(2)) == 2, "a fault that may pass is met twice"
    assert ring.looks.count(address_of(0)) == 1, "another is not"


async def test_the_engine_itself_is_a_client_that_must_not_be_left_behind(ring: Ring) -> None:
    pinned = ring.folder / "ca.pem"
    pinned.write_bytes(ROOT.pem)
    configure(ring, cql={"ca": str(pinned)})
    targets = []
    for number in range(2):
        ring.add(number, of_node(number, ROOT, ROOT, NEW_ROOT))
        targets.append(await ring.stage(number, of_node(number, NEW_ROOT, ROOT, NEW_ROOT)))
    (found,) = await ask(ring, targets)
    assert (found.check, found.verdict) == ("trust.states", Verdict.FAIL)
    assert f"{trust.ENGINE}, dialling {address_of(0)} (native), would refuse" in found.message
    pinned.write_bytes(ROOT.pem + NEW_ROOT.pem)
    assert [f.verdict for f in await ask(ring, targets)] == [Verdict.PASS]


async def test_a_client_certificate_with_its_key_in_one_file_is_read_without_the_key(ring: Ring) -> None:
    app = make("app", ROOT, end=LATER)
    pem = app.pem + app.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (ring.folder / "app.pem").write_bytes(pem)
    configure(ring, cql={"certificate": str(ring.folder / "app.pem"), "private_key": str(ring.folder / "app.pem")})
    ring.add(0, of_node(0, ROOT, ROOT))
    assert [f.verdict for f in await ask(ring)] == [Verdict.PASS]
    (ring.folder / "app.pem").unlink()
    with pytest.raises(SealringError) as refused:
        await ask(ring)
    assert refused.value.code == "cql.credentials"


async def test_where_failed_nodes_may_stay_behind_it_is_stricter(ring: Ring) -> None:
    """First n0 is to trust, then n1 to show; when n0 may fail and be left, that order proves nothing."""
    ring.add(0, of_node(0, ROOT, ROOT))
    ring.add(1, of_node(1, ROOT, ROOT, NEW_ROOT))
    trusting = await ring.stage(0, of_node(0, ROOT, ROOT, NEW_ROOT))
    showing = await ring.stage(1, of_node(1, NEW_ROOT, ROOT, NEW_ROOT))
    assert [f.verdict for f in await ask(ring, [trusting], [showing])] == [Verdict.PASS]
    for rules in ({"failure_budget": 1}, {"on_failure": "ask"}):
        (found,) = await ask(ring, [trusting], [showing], **rules)
        assert (found.verdict, found.node) == (Verdict.FAIL, address_of(1))


async def test_the_event_loop_beats_while_it_is_computed(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    beaten, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(*arguments: Any, **named: Any) -> TrustReport:
        loop.call_soon_threadsafe(begun.set)
        assert beaten.wait(30), "the loop stood still"
        return simulate(*arguments, **named)

    monkeypatch.setattr(trust, "simulate", slow)
    ring.add(0, of_node(0, ROOT, ROOT))
    asked = asyncio.create_task(ask(ring))
    await begun.wait()
    beaten.set()
    assert [f.verdict for f in await asked] == [Verdict.PASS]


def test_a_failed_canary_stays_behind_to_the_end_of_the_change() -> None:
    """Between its stages no barrier stands; between those of a rotation one does."""

    def settled(*kinds: Any, **rules: Any) -> list[bool]:
        def waves() -> tuple[Wave, ...]:
            return tuple(Wave(name=f"w{i}", targets=(), because="") for i in range(2))

        stages = tuple(Stage(name=kind, kind=kind, waves=waves()) for kind in kinds)
        plan = Plan(cluster="c", goal="deploy", stages=stages, rules=RolloutSettings.model_validate(rules))
        return [step.settled for step in trust._steps(plan, trust._Collected())]

    assert settled("deploy", "deploy") == [True] * 4
    assert settled("deploy", "deploy", failure_budget=1) == [False, False, False, True]
    assert settled("trust", "identity", on_failure="ask") == [False, True, False, True]
