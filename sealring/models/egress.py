"""What the engine must be able to reach: for firewalls and network policies."""

from typing import Literal

from pydantic import Field

from sealring.models.base import Fact, Port

Origin = Literal["control worker", "deploy worker", "bastions", "nodes"]


class NetworkTarget(Fact):
    """One TCP port that must be open from somewhere."""

    origin: Origin
    host: str
    port: Port
    purpose: str


class Egress(Fact):
    """All targets for one ring, in order of origin, host, port. Whatever is not in it is not needed."""

    cluster: str
    targets: tuple[NetworkTarget, ...]
    permit_open: tuple[str, ...] = Field(
        description="What PermitOpen of every node's sshd must hold for the deploy user: `host:port`, IPv6 in brackets."
    )
    unread: tuple[str, ...] = Field((), description="Nodes whose listeners are not in it: their hosts were not read.")
