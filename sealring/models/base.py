"""Two kinds of model: what a person writes (unknown keys are refused) and what our own parts tell each other."""

import re
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


class Input(BaseModel):
    """Written by a person or a service: a key we do not know is a mistake, named in the refusal.

    The input itself is never quoted in an error: it might hold a secret pasted into the wrong place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Fact(BaseModel):
    """Passed between our own processes, possibly of two versions: unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


Port = Annotated[int, Field(ge=1, le=65535)]
Duration = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=20))]  # a socket can wait 2^31 ms, 24 days
Lifetime = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=36500))]
Pause = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=1))]
Many = 10_000  # more of anything than a ring has nodes

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in lower-case hexadecimal. Of a certificate: over its DER bytes."""


Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=1000)]
"""One line of text: what is shown on pages, kept in histories and handed to shells holds no control characters."""

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


def _address(text: str) -> str:
    """An IP address or a host name (RFC 1123, underscores allowed); the reason names what is too much."""
    try:
        ip_address(text)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
            said = " without a port: ports have keys of their own" if re.search(r":\d+$", text) else ""
            raise ValueError(f"expected an IP address or a host name{said}") from None
    if "%" in text:
        raise ValueError("expected an address without a zone: no other host could use it")
    return text


Address = Annotated[str, AfterValidator(_address)]
"""An IP address or a host name, nothing beside it."""


def _path(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path has no NUL character")
    return path


LocalPath = Annotated[Path, AfterValidator(_path)]
"""A path on the worker's computer."""


def short(digest: str) -> str:
    """The first twelve hexadecimal digits: enough for a person to tell generations apart."""
    return digest[:12]
