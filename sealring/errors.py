"""What can go wrong, named once: a stable code, what the engine does about it, who must act, and how.

Every error that leaves an adapter is a `SealringError`. Its class decides what Temporal does with it (see
`sealring.temporal.interceptors`): `retry` errors are retried, the others end the activity at once and the
workflow decides by code, never by message text.
"""

from datetime import timedelta
from enum import StrEnum


class ErrorClass(StrEnum):
    """What the engine does when it meets the error."""

    RETRY = "retry"  # the fault is expected to pass: a link, a busy node, a node still starting
    SKIP = "skip"  # this node cannot be worked on now; the others can
    ASK = "ask"  # the engine would have to guess: a person decides
    STOP = "stop"  # repeating cannot help: a mistake in input, credentials or material


class Actor(StrEnum):
    """Who must act before the same request can succeed."""

    NOBODY = "nobody"
    OPERATOR = "operator"  # whoever runs the rollout
    NODE_ADMIN = "node-admin"  # whoever owns the host: permissions, disk, sudoers
    NETWORK_ADMIN = "network-admin"
    PKI_ADMIN = "pki-admin"  # whoever issues the material
    CASSANDRA_ADMIN = "cassandra-admin"


class SealringError(Exception):
    """An error with a code.

    Args:
        code: dotted, stable, lower case, `<area>.<what>`: `ssh.host-key-changed`. Documented in docs/errors.md.
        message: one sentence: what was found and what was expected; names the field, file or node. No secrets.
        error_class: what the engine does about it.
        actor: who must act.
        remedy: what to do next, a command where there is one.
        node: the node's address, when the error belongs to one.
        retry_after: when the same call is worth repeating; None: the caller's usual pause.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        error_class: ErrorClass,
        actor: Actor = Actor.OPERATOR,
        remedy: str = "",
        node: str = "",
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.error_class = error_class
        self.actor = actor
        self.remedy = remedy
        self.node = node
        self.retry_after = retry_after

    def __str__(self) -> str:
        place = f"{self.node}: " if self.node else ""
        remedy = f" Remedy ({self.actor.value}): {self.remedy}" if self.remedy else ""
        return f"[{self.code}] {place}{self.message}{remedy}"

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later with nobody acting."""
        return self.error_class is ErrorClass.RETRY


def refuse(code: str, message: str, remedy: str, *, actor: Actor = Actor.OPERATOR, node: str = "") -> SealringError:
    """A mistake that repeating cannot mend: class `stop`."""
    return SealringError(code, message, error_class=ErrorClass.STOP, actor=actor, remedy=remedy, node=node)


def passing(code: str, message: str, remedy: str = "", *, actor: Actor = Actor.NOBODY, node: str = "") -> SealringError:
    """A fault that is expected to pass: class `retry`."""
    return SealringError(code, message, error_class=ErrorClass.RETRY, actor=actor, remedy=remedy, node=node)
