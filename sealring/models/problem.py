"""An error as data: what a report, a status page and a person get to see."""

from pydantic import Field

from sealring.errors import Actor, ErrorClass
from sealring.models.base import Fact


class Problem(Fact):
    """A failure, unwrapped from Temporal's envelopes. Same fields as `sealring.errors.SealringError`."""

    code: str
    message: str
    error_class: ErrorClass = ErrorClass.ASK
    actor: Actor = Actor.OPERATOR
    remedy: str = ""
    node: str = Field("", description="Address of the node, when the failure belongs to one.")

    def __str__(self) -> str:
        place = f"{self.node}: " if self.node else ""
        remedy = f" Remedy ({self.actor.value}): {self.remedy}" if self.remedy else ""
        return f"[{self.code}] {place}{self.message}{remedy}"
