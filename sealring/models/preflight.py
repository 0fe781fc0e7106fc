"""A preflight alone: what is asked, and the report of it, node by node and check by check."""

from datetime import datetime

from pydantic import Field, field_validator

from sealring.models.base import Address, Fact, Input, Line, Many
from sealring.models.checks import objection_to
from sealring.models.cluster import Apply, ClusterName, RolloutSettings
from sealring.models.evidence import BLOCKING, Finding, Verdict
from sealring.models.material import MaterialRef
from sealring.models.plan import Target
from sealring.models.waiver import Waive, Waiver


class PreflightRequest(Input):
    """What a person or a service asks for: {"cluster": "lab", "material": {"path": "/deliveries/may"}}."""

    cluster: ClusterName
    material: MaterialRef
    nodes: tuple[Address, ...] = Field((), max_length=Many, description="Only these addresses; empty: all nodes.")
    apply: Apply | None = Field(None, description="Overrides the cluster file.")
    waive: tuple[Waive, ...] = Field((), max_length=100, description="As the rollout's: what would then be left?")
    requester: Line = ""

    @field_validator("waive")
    @classmethod
    def _may_be_waived(cls, waive: tuple[Waiver, ...]) -> tuple[Waiver, ...]:
        if objection := objection_to(waiver.code for waiver in waive):
            raise ValueError(objection)
        return waive


class PreflightSurvey(Fact):
    """The ring and the delivery, looked at: what each node would be brought to, and what holds for all of them."""

    material: MaterialRef = Field(description="Pinned by its digest.")
    targets: tuple[Target, ...]
    rules: RolloutSettings
    findings: tuple[Finding, ...] = Field((), description="Of the ring as a whole.")


class NodePreflight(Fact):
    """One node."""

    address: str
    place: str = Field(description="`dc1/r1`")
    findings: tuple[Finding, ...] = ()
    passed: tuple[str, ...] = Field(
        (), description="Codes of checks that passed, where the ring is too large to keep what each of them saw."
    )
    seconds: float = 0.0

    def verdict_of(self, check: str) -> Verdict | None:
        """The worst answer of a check on this node; None: it was not asked there."""
        answers = {finding.verdict for finding in self.findings if finding.check == check}
        if check in self.passed:
            answers.add(Verdict.PASS)
        return next((v for v in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.WARN, Verdict.PASS) if v in answers), None)


class PreflightReport(Fact):
    """The result of a preflight. Nothing on any node was changed."""

    cluster: str
    material: MaterialRef
    ring: tuple[Finding, ...] = Field((), description="Of the ring as a whole.")
    nodes: tuple[NodePreflight, ...] = ()
    standing: tuple[Finding, ...] = Field((), description="What would refuse the rollout, after waivers.")
    waived: tuple[Waive, ...] = ()
    notes: tuple[Finding, ...] = Field((), description="Waivers that were used, or are over.")
    started_at: datetime
    finished_at: datetime
    requester: str = ""

    @property
    def ready(self) -> bool:
        """Whether a rollout of this delivery would not be refused by what was seen."""
        return not self.standing

    @property
    def checks(self) -> tuple[str, ...]:
        """The codes of all checks that some node answered, in the order of their first answer."""
        seen: dict[str, None] = {}
        for node in self.nodes:
            seen |= dict.fromkeys([*(finding.check for finding in node.findings), *node.passed])
        return tuple(seen)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Of the ring, then of every node."""
        return (*self.ring, *(finding for node in self.nodes for finding in node.findings))


class FindingGroup(Fact):
    """The same finding of one node or of many: they differ in the node's address at most."""

    finding: Finding = Field(description="The first one.")
    nodes: tuple[str, ...] = Field(description="Addresses; none for the ring as a whole.")


def grouped(findings: tuple[Finding, ...]) -> tuple[FindingGroup, ...]:
    """Equal findings of many nodes as one, the worst first; the address of a node in its message does not count."""
    groups: dict[tuple[str, str, str, str], list[Finding]] = {}
    for finding in findings:
        message = finding.message.replace(finding.node, "…") if finding.node else finding.message
        groups.setdefault((finding.check, finding.verdict.value, message, finding.remedy), []).append(finding)
    order = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.WARN, Verdict.PASS)
    made = [
        FindingGroup(finding=group[0], nodes=tuple(dict.fromkeys(f.node for f in group if f.node)))
        for group in groups.values()
    ]
    return tuple(sorted(made, key=lambda group: order.index(group.finding.verdict)))


def blocking(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those that did not pass, and do not only warn."""
    return tuple(finding for finding in findings if finding.verdict in BLOCKING)
