"""Waivers: a check that shall not block, until when, and why."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints, model_validator

from sealring.models.base import Input, Line

Check = Annotated[str, StringConstraints(pattern=r"^([a-z-]+\.[a-z-]+|plan\.quorum\.[A-Za-z0-9_]+)$", max_length=80)]
"""The code of a check: `material.chain`; `plan.quorum.KEYSPACE`: this keyspace may become unavailable."""

_TEXT = re.compile(r"(?P<code>[^:]*)(?::(?:until=(?P<until>[^,]*))?(?:(?:^|,|(?<=:))reason=(?P<reason>.*))?)?")


class Waiver(Input):
    """A check whose failure shall not block. One of proof (`verify.*`) must end, and say why.

    As text: `CODE`, `CODE:until=TIME`, `CODE:until=TIME,reason=TEXT` or `CODE:reason=TEXT`.
    """

    code: Check
    until: AwareDatetime | None = Field(
        None, description="The first instant at which the check blocks again, with its zone: `2026-12-01T00:00Z`."
    )
    reason: Line = ""

    @model_validator(mode="after")
    def _proof_is_waived_for_a_time(self) -> "Waiver":
        if self.code.startswith("verify.") and (self.until is None or not self.reason):
            raise ValueError(
                f"{self.code} is proof: its waiver needs an end and a reason, {self.code}:until=TIME,reason=TEXT"
            )
        return self

    def holds(self, now: datetime) -> bool:
        """Whether it is in force at this instant."""
        return self.until is None or now < self.until

    def __str__(self) -> str:
        end = f"until {self.until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if self.until else "without an end"
        return f"{self.code} {end}: {self.reason or 'no reason given'}"


def _from_text(given: Any) -> Any:
    """The fields of a waiver that was given as text; anything else stays as it is."""
    if not isinstance(given, str):
        return given
    parts = _TEXT.fullmatch(given)
    if parts is None:
        raise ValueError("expected CODE, or CODE:until=TIME,reason=TEXT")
    return {name: text for name, text in parts.groupdict().items() if text is not None}


def implied(codes: tuple[str, ...], reason: str) -> tuple[Waiver, ...]:
    """Waivers that follow from what was asked for, with its reason."""
    return tuple(Waiver(code=code, reason=reason) for code in codes)


Waive = Annotated[
    Waiver,
    BeforeValidator(_from_text, json_schema_input_type=Waiver | Annotated[str, Field(description="CODE:until=TIME")]),
]
"""A waiver, also as text."""
