"""How a check of a node answers: who is judged, and whether a restart is coming. Pure."""

from dataclasses import dataclass

from sealring.errors import Actor
from sealring.models.evidence import Finding, Verdict


@dataclass(frozen=True)
class Judge:
    """Findings about one node."""

    address: str
    restarts: bool  # the plan restarts it: what only a restart would bring to light counts in full

    def passed(self, check: str, message: str) -> Finding:
        """Nothing wrong, and what was seen."""
        return Finding(check=check, verdict=Verdict.PASS, message=message, node=self.address)

    def warned(self, check: str, message: str, remedy: str, actor: Actor = Actor.CASSANDRA_ADMIN) -> Finding:
        """It will work; somebody should know."""
        return self._said(Verdict.WARN, check, message, remedy, actor)

    def failed(self, check: str, message: str, remedy: str, actor: Actor = Actor.CASSANDRA_ADMIN) -> Finding:
        """It stands in the way."""
        return self._said(Verdict.FAIL, check, message, remedy, actor)

    def before_restart(self, check: str, message: str, remedy: str, actor: Actor = Actor.CASSANDRA_ADMIN) -> Finding:
        """It stands in the way of a restart; a reload it does not touch."""
        return self._said(Verdict.FAIL if self.restarts else Verdict.WARN, check, message, remedy, actor)

    def _said(self, verdict: Verdict, check: str, message: str, remedy: str, actor: Actor) -> Finding:
        return Finding(check=check, verdict=verdict, message=message, remedy=remedy, actor=actor, node=self.address)
