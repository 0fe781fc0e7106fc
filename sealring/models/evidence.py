"""What was observed, by whom, when: findings of checks, certificates served, verdicts."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from sealring.errors import Actor
from sealring.models.base import Fact
from sealring.models.cluster import Listener


class Verdict(StrEnum):
    """The answer of a check or of a whole verification."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    WARN = "warn"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


BLOCKING = frozenset({Verdict.FAIL, Verdict.INCONCLUSIVE})
"""What forbids going on: no answer is no pass."""


class Finding(Fact):
    """One check's answer. A passing check has a message too: evidence, not only complaints."""

    check: str = Field(description="Stable code, dotted: `material.key-matches-leaf`, `node.disk-space`.")
    verdict: Verdict
    message: str
    remedy: str = ""
    actor: Actor = Actor.NOBODY
    node: str = ""

    def __str__(self) -> str:
        place = f"{self.node}: " if self.node else ""
        remedy = f" Remedy ({self.actor.value}): {self.remedy}" if self.remedy else ""
        return f"{self.verdict.value} [{self.check}] {place}{self.message}{remedy}"


class Served(Fact):
    """What one listener showed in one new TLS handshake."""

    listener: Listener
    vantage: str = Field(description="`worker`, or the address of the peer the connection went through.")
    leaf_sha256: str = Field("", description="Empty when no certificate was received.")
    not_after: datetime | None = None
    protocol: str = Field("", description="`TLSv1.3`")
    chain: tuple[str, ...] = Field((), description="Fingerprints of all certificates sent, leaf first.")
    trusted: bool | None = Field(None, description="Whether the vantage's own trust accepts chain and address.")
    accepted: bool | None = Field(None, description="Whether the listener went on talking to us; None: not known.")
    problem: str = Field("", description="Why there is no certificate, or why it is not trusted or not accepted.")
    milliseconds: float = 0.0


class Verification(Fact):
    """The judgement over one node, and what it rests on."""

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    served: tuple[Served, ...] = ()
    tls_dir: str = Field("", description="Where the node keeps its generations; for a person, when it did not pass.")
    stores: tuple[str, ...] = Field((), description="Paths of the files in force; for a person, when it did not pass.")


def worst(findings: tuple[Finding, ...]) -> Verdict:
    """The verdict of a set of findings: a failure beats doubt, doubt beats a warning."""
    order = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.WARN)
    present = {finding.verdict for finding in findings}
    return next((verdict for verdict in order if verdict in present), Verdict.PASS)
