"""The verifier's test of itself: it passes here, it finds out a verifier that is blind in one way."""
# ruff: noqa: ASYNC240 - a test may block its own loop

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sealring.cassandra import probe as eyes
from sealring.cassandra import self_test as proof
from sealring.cassandra.self_test import self_test
from sealring.errors import Actor, ErrorClass, SealringError
from sealring.models.evidence import Verdict
from sealring.pki.trust import explain_path
from starters.cli import app
from starters.exits import Exit

pytestmark = pytest.mark.criterion("N19")
Patch = pytest.MonkeyPatch


def trusts_everything(patch: Patch) -> None:
    patch.setattr(eyes, "explain_path", lambda *_, **__: "")


def trusts_nothing(patch: Patch) -> None:
    patch.setattr(eyes, "explain_path", lambda *_, **__: "no")


def forgets_the_clock(patch: Patch) -> None:
    real = explain_path
    patch.setattr(eyes, "explain_path", lambda *a, at, **k: real(*a, at=a[0].not_valid_before_utc, **k))


def forgets_the_address(patch: Patch) -> None:
    real = explain_path
    patch.setattr(eyes, "explain_path", lambda *a, address, **k: real(*a, address=None, **k))


def takes_any_leaf(patch: Patch) -> None:
    real = eyes.judge
    patch.setattr(proof, "judge", lambda served, intended: real(served, intended=served.leaf_sha256 or intended))


def takes_silence_for_a_yes(patch: Patch) -> None:
    real = eyes.judge

    def judge(served: Any, intended: str) -> Any:
        return (
            [f.model_copy(update={"verdict": Verdict.PASS}) for f in real(served, intended=intended)]
            if (served.accepted is None)
            else real(served, intended=intended)
        )

    patch.setattr(proof, "judge", judge)


def takes_a_refusal_for_doubt(patch: Patch) -> None:
    patch.setattr(eyes, "_refusal", lambda _: None)


@dataclass(frozen=True)
class Blindness:
    how: Callable[[Patch], None]
    misjudged: tuple[str, ...]


FOREIGN, EXPIRED, ELSEWHERE = "another authority was", "an expired certificate was", "for another address was"
BLINDNESSES = (
    Blindness(trusts_everything, (FOREIGN, EXPIRED, ELSEWHERE)),
    Blindness(trusts_nothing, ("the right certificate was",)),
    Blindness(forgets_the_clock, (EXPIRED,)),
    Blindness(forgets_the_address, (ELSEWHERE,)),
    Blindness(takes_any_leaf, ("another leaf than intended was",)),
    Blindness(takes_silence_for_a_yes, ("a silent listener was",)),
    Blindness(takes_a_refusal_for_doubt, ("a listener that is not there was",)),
)


async def test_it_passes_and_leaves_nothing(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await self_test()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("blindness", BLINDNESSES, ids=lambda b: b.how.__name__)
async def test_each_blindness_is_found_out(blindness: Blindness, monkeypatch: Patch) -> None:
    blindness.how(monkeypatch)
    with pytest.raises(SealringError) as caught:
        await self_test()
    error = caught.value
    assert (error.code, error.error_class, error.actor) == (
        "verifier.self-test",
        ErrorClass.STOP,
        Actor.OPERATOR,
    )
    assert [case for case in blindness.misjudged if case not in error.message] == []
    assert len(error.message.split(" was judged ")) - 1 >= len(blindness.misjudged)
    assert "use no verdict from here" in error.remedy


async def test_a_test_that_cannot_be_made_is_no_pass(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(SealringError, match="could not be made"):
        await self_test()


def test_a_deploy_worker_that_fails_it_refuses_to_serve(tmp_path: Path, monkeypatch: Patch) -> None:
    trusts_everything(monkeypatch)
    monkeypatch.setenv("SEALRING_CLUSTERS", str(tmp_path))
    monkeypatch.setenv("SEALRING_TEMPORAL_ADDRESS", "127.0.0.1:1")
    done = CliRunner().invoke(app, ["worker", "deploy"])
    assert done.exit_code == Exit.MISTAKE
    assert "[verifier.self-test]" in done.stderr
    assert "Remedy (operator): use no verdict" in done.stderr
    assert "polls namespace" not in done.stdout
