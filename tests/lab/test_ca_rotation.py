"""Another authority for the real ring, by reload and under load; killed inside and between stages, taken back, done."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.authority import Authority, client_identity, deliver
from lab.load import LoadProcess
from lab.spec import LabSpec
from sealring.models.rollout import Phase
from starters.exits import Exit
from tests.lab.engine import Engine, running
from tests.lab.rotations import accepted, end_of, follow, hand_over, leaves, rotate, trust
from tests.lab.seen import seen_by_openssl, spotless, starts

pytestmark = [pytest.mark.ring, pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def engine(ring: LabSpec) -> Iterator[Engine]:
    with running(ring) as engine:
        yield engine


def again(engine: Engine, *names: str) -> None:
    """kill -9, and start anew."""
    for name in names:
        engine.kill(name)
    time.sleep(1)
    engine.start(*reversed(names))


@pytest.mark.criterion("F8", "H8", "V3")
def test_a_ring_gets_another_authority_whatever_is_killed_and_goes_back_and_forth(
    engine: Engine, whole_ring: LabSpec, tmp_path: Path
) -> None:
    spec, old = whole_ring, Authority.open(whole_ring.authority)
    new = Authority.open(spec.authority / "next", "next root")
    client, former = client_identity(spec, old), tmp_path / "former"
    shutil.copytree(client, former)
    before, began = seen_by_openssl(spec), starts(spec)
    both = old.trusted + new.trusted
    trust(client, both)  # clients trust both from the start
    delivery = deliver(spec, new, f"rotation-{time.time_ns()}", trusted=new.trusted)
    wanted = leaves(delivery, spec)

    load = LoadProcess(spec)
    load.start()
    code, report = engine.rollout("-m", str(delivery))
    assert (code, report.outcome) == (Exit.REFUSED, Phase.REFUSED)
    assert "sealring ca rotate" in str(report.problem)

    rotate(engine, delivery, "--old-authority", "keep")
    engine.begun()
    again(engine, "deploy")  # inside the first stage
    engine.until(lambda s: s["percent"] >= 33)
    again(engine, "deploy", "temporal")  # between the first and the second, or as the second begins
    engine.until(lambda s: s["stage"] == "present the new leaf")
    engine.begun()
    again(engine, "temporal")  # inside the second
    report = end_of(engine)
    assert report.outcome is Phase.DONE, report.problem
    assert report.plan is not None
    assert [stage.kind for stage in report.plan.stages] == ["trust", "identity", "drop"]
    assert seen_by_openssl(spec) == wanted
    assert set(accepted(spec, former).values()) == {True}

    back = engine.cli("rollback", "lab", "--json")
    assert back.returncode == Exit.DONE, back.stdout + back.stderr
    assert seen_by_openssl(spec) == before
    assert set(accepted(spec, delivery / spec.ring[0].address).values()) == {True}, "both are still trusted"

    rotate(engine, delivery, "--on-failure", "ask")
    problem = engine.until(lambda s: s["decision"])["decision"]["problem"]
    assert problem["code"] == "barrier.client-needs-old", "our own client certificate is of the old authority"
    assert seen_by_openssl(spec) == wanted
    follow(client, new, both)
    follower = LoadProcess(spec)
    follower.start()
    spotless(load.stop())
    assert engine.cli("rollout", "resolve", "lab", "ring", "retry").returncode == 0
    question = engine.until(lambda s: s["decision"])["decision"]["problem"]
    assert question["code"] == "rotation.point-of-no-return"
    assert "lab root" in question["message"]
    assert "connections" in question["message"]
    again(engine, "temporal")  # while a person thinks
    engine.until(lambda s: s["decision"])
    assert engine.cli("rollout", "resolve", "lab", "ring", "drop").returncode == 0
    engine.begun()
    again(engine, "deploy")  # inside the third
    report = end_of(engine)
    assert report.outcome is Phase.DONE, report.problem
    assert report.plan is not None
    assert [stage.kind for stage in report.plan.stages] == ["identity", "drop"]
    spotless(follower.stop())
    assert seen_by_openssl(spec) == wanted
    assert starts(spec) == began, "nothing was restarted"
    assert set(accepted(spec, former).values()) == {False}
    assert set(accepted(spec, client).values()) == {True}
    hand_over(spec, new)
