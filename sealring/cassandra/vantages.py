"""What all vantages together prove about a node, and what it is worth when one of them is blind. Pure."""

from collections.abc import Sequence

from sealring.cassandra.probe import judge
from sealring.errors import Actor
from sealring.models.evidence import Finding, Served, Verdict

VANTAGES = "verify.vantages"


def judge_all(served: Sequence[Served], *, intended: str, node: str) -> tuple[Finding, ...]:
    """The findings of one look at a node: those of `judge` for every vantage that saw something, then verify.vantages.

    A vantage that got no answer from any listener, not even a refusal, while another saw a certificate, is blind: that
    says something about the way through it, not about the node. What it would have said is not known, so the look as a
    whole is inconclusive and says which vantages are left. When nobody saw a certificate it may be the node: then every
    vantage is judged.

    Args:
        served: what was seen, of all listeners from all vantages.
        intended: SHA-256 of the leaf that should be served.
        node: the node's address, for the finding.
    """
    answered = {s.vantage for s in served if s.leaf_sha256 or s.accepted is not None}
    somebody_saw = any(s.leaf_sha256 for s in served)
    blind = {s.vantage: s.problem for s in served if s.vantage not in answered} if somebody_saw else {}
    judged = [s for s in served if s.vantage not in blind]
    findings = tuple(f for s in judged for f in _relevant(s, judge(s, intended=intended)))
    seeing = tuple(dict.fromkeys(s.vantage for s in judged))
    return (*findings, _of_vantages(seeing, blind, node)) if somebody_saw else findings


def _of_vantages(seeing: tuple[str, ...], blind: dict[str, str], node: str) -> Finding:
    saw = f"{len(seeing)} of {len(seeing) + len(blind)} vantages got an answer: {', '.join(seeing)}"
    if not blind:
        return Finding(check=VANTAGES, verdict=Verdict.PASS, message=saw, node=node)
    return Finding(
        check=VANTAGES,
        verdict=Verdict.INCONCLUSIVE,
        message=f"{saw}; blind: {'; '.join(f'{vantage}, {why}' for vantage, why in blind.items())}",
        remedy="bring the way through the blind one back, or prove the node by hand (docs/verification.md)",
        actor=Actor.NETWORK_ADMIN,
        node=node,
    )


def _relevant(served: Served, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """On the internode port our client certificate says nothing: we are no node, and may be refused as a stranger."""
    if served.listener.kind == "native":
        return findings
    return tuple(finding for finding in findings if finding.check != "verify.accepted")
