"""Is the ring well enough to work on? Findings from what was observed. Pure."""

from sealring.errors import Actor
from sealring.models.cluster import NodeRef
from sealring.models.evidence import Finding, Verdict
from sealring.models.node import ClusterView

ENOUGH_OBSERVERS = 2
OBSERVERS = "ring.observers"
NODE_DOWN = "ring.node-down"


def ring_findings(view: ClusterView) -> tuple[Finding, ...]:
    """One finding or more per check: ring.node-down, ring.node-moving, ring.schema-disagreement, ring.observers.

    Checks that pass are reported too. A node that is down or on the move fails its check with a finding of its own.
    """
    return (*_down(view), *_moving(view), _schema(view), _observers(view))


def _down(view: ClusterView) -> tuple[Finding, ...]:
    down = [node.node for node in view.nodes if not node.up]
    if not down:
        return (_passed(NODE_DOWN, f"all {len(view.nodes)} nodes are seen up by {_seen_by(view)}"),)
    remedy = "bring the node back, or wait until its peers see it, before its replicas lose another copy"
    return tuple(_failed(NODE_DOWN, f"not seen up by all of {_seen_by(view)}", remedy, node) for node in down)


def _moving(view: ClusterView) -> tuple[Finding, ...]:
    # A node that is down is reported as down: what it was about to do is of no use then.
    moving = [node.node for node in view.nodes if node.up and not node.normal]
    if not moving:
        return (_passed("ring.node-moving", "no node is joining, leaving or moving"),)
    remedy = "wait until the topology change is over (nodetool netstats), or end it"
    return tuple(_failed("ring.node-moving", "it is joining, leaving or moving", remedy, node) for node in moving)


def _schema(view: ClusterView) -> Finding:
    if len(view.schema_versions) <= 1:
        return _passed("ring.schema-disagreement", "all nodes that are up have the same schema")
    return _failed(
        "ring.schema-disagreement",
        f"{len(view.schema_versions)} schema versions are in use: {', '.join(view.schema_versions)}",
        "wait, or find the node that lags behind with nodetool describecluster",
    )


def _observers(view: ClusterView) -> Finding:
    if view.source == "nodetool":
        return Finding(
            check=OBSERVERS,
            verdict=Verdict.WARN,
            message=f"CQL could not be opened from here; nodetool was asked on {_seen_by(view)}",
            remedy="check the cql section of the cluster file; nodes whose certificate expired answer no CQL over TLS",
            actor=Actor.OPERATOR,
        )
    needed = min(ENOUGH_OBSERVERS, len(view.nodes))
    if len(view.observers) >= needed:
        return _passed(OBSERVERS, f"the ring was observed from {_seen_by(view)}")
    return _failed(
        OBSERVERS,
        f"only {_seen_by(view)} told how the ring is; one node cannot know whether the others see each other",
        "let CQL be open from the worker to nodes of two racks",
    )


def _seen_by(view: ClusterView) -> str:
    return ", ".join(view.observers)


def _passed(check: str, message: str) -> Finding:
    return Finding(check=check, verdict=Verdict.PASS, message=message)


def _failed(check: str, message: str, remedy: str, node: NodeRef | None = None) -> Finding:
    return Finding(
        check=check,
        verdict=Verdict.FAIL,
        message=message,
        remedy=remedy,
        actor=Actor.CASSANDRA_ADMIN,
        node=node.address if node else "",
    )
