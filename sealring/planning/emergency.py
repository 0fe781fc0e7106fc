"""A ring whose leaves have expired: whether it is one, and the waves that mend it. Pure.

Peers refuse each other's new connections, so gossip, CQL and with them every proof of replicas are worth nothing until
the last node serves a valid leaf again: there is no slack to keep, and each minute costs connections that cannot come
back. What does not depend on the ring's health stays as in every rollout: the delivery, the trust, the proof per node.
"""

from collections.abc import Mapping

from sealring.errors import Actor, refuse
from sealring.models.cluster import RolloutSettings
from sealring.models.node import ClusterView, NodeView
from sealring.models.schedule import Forecast, Schedule, ScheduledStage, ScheduledWave, Way
from sealring.models.topology import RingNode
from sealring.planning.schedule import unproven

NO_PROOF = (
    "no quorum is proven. New connections to nodes with expired leaves are refused, so nobody can tell which "
    "replicas still answer; what stands is lost with the next restart or broken link, with or without this rollout"
)
FORWARD_ONLY = "there is no way back: the generation before has expired; a node that fails stays on the new one"
RESTARTS = (
    "a node that is restarted sees only those that were renewed before it: until most replicas of a range are through, "
    "it may answer nobody"
)
REMEDY = "an ordinary rollout: leave the emergency out, and waive node.expired where a node shows an expired leaf"


def expired_nodes(view: ClusterView, chosen: tuple[NodeView, ...]) -> tuple[NodeView, ...]:
    """Of the chosen nodes those that an emergency is about.

    Raises:
        SealringError: `plan.ring-degraded`, when the host of one cannot be read; `plan.not-expired`, when none has
            expired; `plan.ring-whole`, when only some have and the ring is seen whole over CQL: an ordinary rollout can
            still prove what it does.
    """
    _refuse_unread(chosen)
    found = tuple(node for node in chosen if node.expired)
    if not found:
        raise refuse(
            "plan.not-expired",
            f"nothing has expired: no listener of {', '.join(node.node.address for node in chosen[:20])} shows a leaf "
            "that is over",
            REMEDY,
        )
    whole = view.source == "cql" and all(node.up and node.normal for node in view.nodes)
    if whole and not all(node.expired for node in view.nodes):
        raise refuse(
            "plan.ring-whole",
            f"{len(found)} of {len(view.nodes)} nodes show an expired leaf, and all are still seen up over CQL: what a "
            "rollout does to this ring can be proven",
            REMEDY,
            actor=Actor.OPERATOR,
        )
    return found


def _refuse_unread(nodes: tuple[NodeView, ...]) -> None:
    unknown = "no node that can be asked knows its version, so not whether it can reload"
    unread = [
        f"{node.node.address}: {node.problem or unknown}"
        for node in nodes
        if node.problem or not (node.version or node.restart_because)
    ]
    if unread:
        raise refuse(
            "plan.ring-degraded",
            f"not every host can be read: {'; '.join(unread[:10])}",
            "open the way to these hosts, or name the others: --nodes ADDRESS",
            actor=Actor.CASSANDRA_ADMIN,
        )


def emergency_rules(rules: RolloutSettings) -> RolloutSettings:
    """As quick as can be: reloads take nothing away, so as many at once as the worker can do."""
    every = {"strategy": "rolling", "batch": str(rules.max_parallel), "batch_per_rack": None, "grow": False}
    return rules.model_copy(update=every)


def emergency_schedule(view: ClusterView, ways: Mapping[str, Way], rules: RolloutSettings) -> Schedule:
    """Reloads first, one node and then all others; then restarts one by one, seeds before others.

    A reload that does not convince is not followed by a restart: that would cut off a node that still has connections.

    A node that is restarted needs somebody to gossip with: one that is no seed ends its start when nobody answers
    (Gossiper.doShadowRound, CASSANDRA-13851). Nodes that were reloaded answer by then; where none can reload, the seeds
    come first, which start without anybody. Contact points of the cluster file are taken for seeds.
    """
    order = sorted(view.nodes, key=lambda seen: (not seen.contact, seen.node.datacenter, seen.node.rack))
    by_reload = [seen.node.address for seen in reversed(order) if ways.get(seen.node.address) == "reload"]
    seeds = [seen.node.address for seen in order if seen.contact and ways.get(seen.node.address) == "restart"]
    others = [seen.node.address for seen in order if not seen.contact and ways.get(seen.node.address) == "restart"]
    groups = (
        (by_reload[:1], "by reload, alone: the first to show what is wrong with a delivery"),
        (by_reload[1:], "by reload: no replica leaves, no connection is closed"),
        (seeds, "a seed by restart, alone: it starts without anybody; nothing is proven"),
        (others, "by restart, alone, when those before it answer again; nothing is proven"),
    )
    waves: list[ScheduledWave] = []
    forecasts = []
    for addresses, because in groups:
        made = unproven(view.cluster, places_of(view), {a: ways[a] for a in addresses}, rules)
        forecasts.append(made.forecast)
        for wave in made.waves:
            waves.append(
                wave.model_copy(update={"name": f"wave {len(waves) + 1}", "because": because, "may_restart": False})
            )
    return Schedule(
        cluster=view.cluster,
        topology="",
        strategy=rules.strategy,
        reserve=0,
        stages=(ScheduledStage(name="expired ring", waves=tuple(waves)),),
        lower_bound=0,
        forecast=Forecast(
            seconds=sum(f.seconds for f in forecasts),
            least=sum(f.least for f in forecasts),
            most=sum(f.most for f in forecasts),
            source=forecasts[0].source,
        ),
    )


def places_of(view: ClusterView) -> tuple[RingNode, ...]:
    """The nodes of a ring whose tokens are not known: nothing can be proven with them, but that they are different."""
    return tuple(
        RingNode(
            address=seen.node.address,
            datacenter=seen.node.datacenter,
            rack=seen.node.rack,
            tokens=(number,),
            version=seen.version,
        )
        for number, seen in enumerate(view.nodes)
    )


def emergency_risks(reason: str, view: ClusterView, ways: Mapping[str, Way]) -> tuple[str, ...]:
    """What the plan says of itself: that nothing is proven, why, and what was seen."""
    expired = [f"{seen.node.address}: {seen.expired}" for seen in view.nodes if seen.expired]
    down = [seen.node.address for seen in view.nodes if not seen.up]
    left = [seen.node.address for seen in view.nodes if not seen.expired and not seen.problem]
    apart = f"not seen up by all of them: {_some(down)}" if down else "all are seen up, by connections that still stand"
    spared = [f"left alone, because nothing of them has expired: {_some(left)}"] if left else []
    restarts = [RESTARTS] if "restart" in ways.values() else []
    told = f"the ring as {', '.join(view.observers)} told it through {view.source}: {apart}"
    more = [f"and {len(expired) - _NAMED} nodes more"] if len(expired) > _NAMED else []
    return (f"EMERGENCY ({reason}): {NO_PROOF}", *expired[:_NAMED], *more, told, FORWARD_ONLY, *restarts, *spared)


_NAMED = 12


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
