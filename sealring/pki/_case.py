"""What a check is given and how it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealring.errors import Actor
from sealring.models.cluster import MaterialPolicy, NodeRef
from sealring.models.evidence import Finding, Verdict
from sealring.pki.certificates import Certificates
from sealring.pki.material import Material


@dataclass(frozen=True)
class Case:
    """A material and everything that it is judged by."""

    material: Material
    policy: MaterialPolicy
    node: NodeRef
    addresses: Sequence[str]
    clocks: Mapping[str, datetime]
    endpoint_verification: bool
    client_auth: bool

    @property
    def presented(self) -> Certificates:
        """Leaf and chain: what a peer gets to see."""
        return (self.material.leaf, *self.material.chain)


def passed(case: Case, check: str, message: str) -> Finding:
    """Nothing wrong, and what was seen."""
    return Finding(check=check, verdict=Verdict.PASS, message=message, node=case.node.address)


def warned(case: Case, check: str, message: str, remedy: str) -> Finding:
    """It will work; somebody should know."""
    return Finding(
        check=check,
        verdict=Verdict.WARN,
        message=message,
        remedy=remedy,
        actor=Actor.PKI_ADMIN,
        node=case.node.address,
    )


def failed(case: Case, check: str, message: str, remedy: str) -> Finding:
    """It must not be put on a node."""
    return warned(case, check, message, remedy).model_copy(update={"verdict": Verdict.FAIL})


def span(time: timedelta) -> str:
    """A length of time for people: `89 days`, `5 hours`, `90 seconds`."""
    seconds = int(abs(time).total_seconds())
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def utc(moment: datetime) -> str:
    """An instant for people, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
