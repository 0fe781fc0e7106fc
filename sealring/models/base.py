"""Two kinds of model: what a person writes (unknown keys are refused) and what our own parts tell each other."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints


class Input(BaseModel):
    """Written by a person or a service: a key we do not know is a mistake, named in the refusal.

    The input itself is never quoted in an error: it might hold a secret pasted into the wrong place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Fact(BaseModel):
    """Passed between our own processes, possibly of two versions: unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in lower-case hexadecimal. Of a certificate: over its DER bytes."""


def short(digest: str) -> str:
    """The first twelve hexadecimal digits: enough for a person to tell generations apart."""
    return digest[:12]
