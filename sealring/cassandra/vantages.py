"""What all vantages together prove about a node, and what it is worth when one of them is blind. Pure."""

from collections.abc import Sequence

from sealring.cassandra.probe import judge
from sealring.errors import Actor
from sealring.models.evidence import Finding, Served, Verdict

VANTAGES = "verify.vantages"


def judge_all(served: Sequence[Served], *, intended: str, node: str) -> tuple[Finding, ...]:
    """The findings of one look at a node: verify.vantages, and those of `judge` for every vantage that saw something.

    A vantage that got no answer at all from any listener, nor a refusal, is blind: that says something about the way
    to it, not about the node. What it would have said is not known, so the look as a whole is inconclusive and says
    which vantages are left. When all are blind it may be the node: then every one is judged.

    Args:
        served: what was seen, of all listeners from all vantages.
        intended: SHA-256 of the leaf that should be served.
        node: the node's address, for the finding.
    """
    vantages = tuple(dict.fromkeys(s.vantage for s in served))
    blind = {v: next(s.problem for s in served if s.vantage == v) for v in vantages if _is_blind(v, served)}
    seeing = tuple(v for v in vantages if v not in blind)
    judged = [s for s in served if not seeing or s.vantage in seeing]
    findings = tuple(f for s in judged for f in _relevant(s, judge(s, intended=intended)))
    return (_of_vantages(seeing, blind, node), *findings) if seeing else findings


def _is_blind(vantage: str, served: Sequence[Served]) -> bool:
    return all(not s.leaf_sha256 and s.accepted is None for s in served if s.vantage == vantage)


def _of_vantages(seeing: tuple[str, ...], blind: dict[str, str], node: str) -> Finding:
    saw = f"{len(seeing)} of {len(seeing) + len(blind)} vantages saw its listeners: {', '.join(seeing)}"
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
