"""What waivers do to findings: which still block, and what the report says about the others. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sealring.errors import Actor, SealringError, refuse
from sealring.models.checks import QUORUM, Severity, severity_of
from sealring.models.evidence import BLOCKING, Finding, Verdict
from sealring.models.topology import Topology
from sealring.models.waiver import Waiver
from sealring.planning.slack import kept_by_nothing

USED, EXPIRED = "waiver.used", "waiver.expired"


@dataclass(frozen=True)
class Weighed:
    """Findings after waivers."""

    standing: tuple[Finding, ...]  # still block
    notes: tuple[Finding, ...]  # for the report: what was waived, and what no longer is


def weigh(findings: Iterable[Finding], waivers: tuple[Waiver, ...], now: datetime) -> Weighed:
    """Which findings block now.

    A waiver stands in for an answer that could not be had, never against one: of proof (`verify.*`, `barrier.*`) only
    what was inconclusive can be waived. A blocker (`sealring.models.checks`) stands whatever is waived.

    Args:
        findings: of one step.
        waivers: of the request, in force or not.
        now: when the step's answer is weighed (UTC).
    """
    standing: list[Finding] = []
    notes: dict[Finding, None] = {}
    for finding in (f for f in findings if f.verdict in BLOCKING):
        named = [w for w in waivers if w.code == finding.check and _may(finding)]
        holding = next((w for w in named if w.holds(now)), None)
        if holding is None:
            standing.append(finding)
        if named:
            notes[_note(finding, holding or named[0], used=holding is not None)] = None
    return Weighed(tuple(standing), tuple(notes))


def in_force(waivers: tuple[Waiver, ...], now: datetime) -> tuple[str, ...]:
    """The codes that are waived now."""
    return tuple(waiver.code for waiver in waivers if waiver.holds(now))


def waived_keyspaces(codes: tuple[str, ...]) -> frozenset[str]:
    """Keyspaces that may become unavailable, one replica of a range at a time: of the codes `plan.quorum.KEYSPACE`."""
    return frozenset(code.removeprefix(QUORUM) for code in codes if code.startswith(QUORUM))


def refuse_needless(codes: tuple[str, ...], topology: Topology) -> None:
    """A keyspace that there is not, or that needs no waiver, was not what was meant.

    Raises:
        SealringError: `waiver.keyspace`, naming each.
    """
    known = {keyspace.name for keyspace in topology.keyspaces}
    asked = waived_keyspaces(codes)
    if not asked:
        return
    in_need = kept_by_nothing(topology)
    wrong = [f"{QUORUM}{name}: no such keyspace" for name in sorted(asked - known)]
    wrong += [f"{QUORUM}{name}: every range of it can spare a replica" for name in sorted(asked & known - in_need)]
    if wrong:
        needed = ", ".join(sorted(in_need)) or "none"
        raise refuse(
            "waiver.keyspace",
            f"waive: {'; '.join(wrong)}. Keyspaces that cannot spare a replica: {needed}",
            "leave it out, or correct its name; nothing was changed",
        )


def refuse_expired(waivers: tuple[Waiver, ...], now: datetime) -> None:
    """A request with a waiver that has ended asks for something that it will not get.

    Raises:
        SealringError: `waiver.expired`, naming each.
    """
    ended = [str(waiver) for waiver in waivers if not waiver.holds(now)]
    if ended:
        raise _expired("; ".join(ended))


def _expired(which: str) -> SealringError:
    return refuse(
        EXPIRED,
        f"waive: over already: {which}",
        "mend what the check found, or have the waiver renewed with a later end; nothing was changed",
    )


def _may(finding: Finding) -> bool:
    if severity_of(finding.check) is Severity.BLOCKER:
        return False
    return finding.verdict is Verdict.INCONCLUSIVE or not finding.check.startswith(("verify.", "barrier."))


def _note(finding: Finding, waiver: Waiver, *, used: bool) -> Finding:
    said = f"{finding.verdict.value}, and waived" if used else f"{finding.verdict.value}; its waiver is over"
    return Finding(
        check=USED if used else EXPIRED,
        verdict=Verdict.WARN,
        message=f"{finding.check} was {said}: {waiver}",
        remedy="" if used else "mend what the check found, or start again with a waiver that has a later end",
        actor=Actor.OPERATOR,
        node=finding.node,
    )
