"""From facts to a plan: which nodes, which generation each, by reload or restart, in which waves."""

from collections.abc import Collection, Iterable
from datetime import datetime

from sealring.errors import Actor, refuse
from sealring.models.base import short
from sealring.models.cluster import NodeRef, RolloutSettings
from sealring.models.material import ResolvedMaterial, RotationMaterial
from sealring.models.node import ClusterView, NodeView
from sealring.models.plan import Plan, Target, Wave
from sealring.models.rollout import PlanQuestion, RolloutRequest
from sealring.models.schedule import Forecast, Schedule
from sealring.models.topology import Topology
from sealring.models.waiver import Waiver
from sealring.planning.emergency import (
    emergency_risks,
    emergency_rules,
    emergency_schedule,
    expired_nodes,
    places_of,
)
from sealring.planning.rotation import point_of_no_return, rotation_stages
from sealring.planning.schedule import schedule, unproven
from sealring.planning.waivers import in_force, refuse_needless, waived_keyspaces, weigh
from sealring.planning.waves import refusal_of, stages_of


def make_plan(question: PlanQuestion, settings: RolloutSettings, topology: Topology | None = None) -> Plan:
    """Decide what is done to each node, and in which order.

    Args:
        question: what was asked and observed.
        settings: of the cluster file.
        topology: the ring's tokens and keyspaces, with the addresses of the view. None: they could not be read;
            restarts then go one by one, and the plan says that nothing was proven.

    Raises:
        SealringError: `plan.*`, when there is nothing safe to do; the message names nodes and reasons.
            `waiver.keyspace`, when the request waives a keyspace that needs no waiver.
    """
    request, view, material = question.request, question.view, question.material
    rules = _rules(request, settings)
    chosen = _changed_last(view) if request.goal == "rollback" and not request.nodes else _chosen(view, request.nodes)
    emergency = request.goal == "renew-expired"
    if emergency:
        chosen, rules = expired_nodes(view, chosen), emergency_rules(rules)
    else:
        _refuse_degraded(view, {node.node.address for node in chosen} if question.again else None)
    if topology is not None and not question.again:
        refuse_needless(in_force(request.waive, view.observed_at), topology)
    ring = tuple(node.node for node in view.nodes)
    if question.rotation is not None:
        return _rotation(question, question.rotation, rules, chosen, topology)
    if material is not None:
        _refuse_bad_material(material, request.waive, view.observed_at)
    targets = tuple(_target(node, _generation(node, material, view.observed_at), rules, ring) for node in chosen)
    served = {node.node.address for node, target in zip(chosen, targets, strict=True) if _serves(node, target)}
    work = tuple(target for target in targets if target.node.address not in served)
    ways = {target.node.address: target.apply for target in work}
    risks = tuple(f"WAIVED: {waiver}" for waiver in request.waivers)
    if emergency:
        made = emergency_schedule(view, ways, rules)
        risks = (*emergency_risks(request.reason, view, ways), *risks)
    else:
        made = _schedule(view, topology, work, rules, in_force(request.waive, view.observed_at))
        risks = (*risks, *made.risks, *_risks(work))
    if made.infeasible:
        raise refusal_of(made.infeasible)
    return Plan(
        cluster=request.cluster,
        goal=request.goal,
        material=material.ref if material else None,
        stages=stages_of(made, work, "roll back" if request.goal == "rollback" else "renew leaves"),
        unchanged=tuple(sorted(served)),
        risks=risks,
        rules=rules,
        topology=made.topology,
        lower_bound=made.lower_bound,
        forecast=made.forecast,
    )


def _rotation(
    question: PlanQuestion,
    material: RotationMaterial,
    rules: RolloutSettings,
    chosen: tuple[NodeView, ...],
    topology: Topology | None,
) -> Plan:
    view, waivers = question.view, question.request.waive
    _refuse_bad_material(material, waivers, view.observed_at)
    ring = tuple(node.node for node in view.nodes)
    made: list[Schedule] = []

    def form(targets: tuple[Target, ...]) -> tuple[Wave, ...]:
        made.append(_schedule(view, topology, targets, rules, in_force(waivers, view.observed_at)))
        if made[-1].infeasible:
            raise refusal_of(made[-1].infeasible)
        return tuple(wave for stage in stages_of(made[-1], targets, "") for wave in stage.waves)

    stages, unchanged = rotation_stages(
        material, chosen, lambda node, generation, leaf: _target(node, (generation, leaf), rules, ring), form
    )
    work = tuple(target for stage in stages for target in stage.targets)
    risks = (risk for each in made for risk in each.risks)
    return Plan(
        cluster=question.request.cluster,
        goal="rotate-ca",
        material=material.ref,
        stages=stages,
        unchanged=unchanged,
        risks=tuple(
            dict.fromkeys((*(f"WAIVED: {w}" for w in waivers), *point_of_no_return(material), *risks, *_risks(work)))
        ),
        rules=rules,
        topology=made[0].topology if made else "",
        lower_bound=sum(each.lower_bound for each in made),
        forecast=_together([each.forecast for each in made]),
    )


def _together(forecasts: list[Forecast]) -> Forecast | None:
    """Of stages that follow each other."""
    if not forecasts:
        return None
    return Forecast(
        seconds=sum(f.seconds for f in forecasts),
        least=sum(f.least for f in forecasts),
        most=sum(f.most for f in forecasts),
        source=forecasts[0].source,
    )


def _rules(request: RolloutRequest, settings: RolloutSettings) -> RolloutSettings:
    asked = {name: getattr(request, name) for name in ("apply", "strategy", "batch", "failure_budget", "on_failure")}
    return settings.model_copy(update={name: value for name, value in asked.items() if value is not None})


def _schedule(
    view: ClusterView,
    topology: Topology | None,
    work: tuple[Target, ...],
    rules: RolloutSettings,
    waived: tuple[str, ...],
) -> Schedule:
    ways = {target.node.address: target.apply for target in work}
    if topology is not None:
        return schedule(topology, ways, rules, waived=waived_keyspaces(waived))
    return unproven(view.cluster, places_of(view), ways, rules)


def _chosen(view: ClusterView, addresses: tuple[str, ...]) -> tuple[NodeView, ...]:
    known = {node.node.address for node in view.nodes}
    unknown = sorted(set(addresses) - known)
    if unknown:
        raise refuse(
            "plan.unknown-node",
            f"nodes: {_some(unknown)} not in cluster {view.cluster}, which has {_some(sorted(known))}",
            "name nodes by the address that `sealring cluster inspect` shows",
        )
    return tuple(node for node in view.nodes if not addresses or node.node.address in addresses)


def _some(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _changed_last(view: ClusterView) -> tuple[NodeView, ...]:
    """The nodes that the last change of the ring left changed: its rollback takes this back, and nothing older.

    A rollout that was stopped and started again with the same delivery is one change. A node that it did not reach, or
    had rolled back itself, would go one generation too far.
    """
    changes = [node.last for node in view.nodes if node.last is not None]
    if not changes:
        raise refuse("plan.no-previous", f"no rollout has changed {view.cluster} yet", "deploy known good material")
    newest = max(changes, key=lambda change: change.at).change
    chosen = tuple(n for n in view.nodes if n.last and n.last.change == newest and n.last.before != n.last.after)
    if not chosen:
        raise refuse(
            "plan.no-previous",
            f"the last change of {view.cluster} ({newest}) left no node changed: it was taken back itself",
            "name the nodes that shall go back further: --nodes ADDRESS",
        )
    return chosen


def _refuse_degraded(view: ClusterView, worked_on: Collection[str] | None) -> None:
    """No node is touched while any node of the ring is away: replicas may be missing already.

    `worked_on`: of a rollout under way only the hosts of these must be readable; a newcomer's need not.
    """
    troubled = [
        f"{n.node.address} is {'not normal' if n.up else 'down'}" for n in view.nodes if not (n.up and n.normal)
    ]
    troubled += [f"{n.node.address}: {n.problem}" for n in view.nodes if n.problem and _concerns(n, worked_on)]
    if len(view.schema_versions) > 1:
        troubled.append(f"{len(view.schema_versions)} schema versions")
    if troubled:
        raise refuse(
            "plan.ring-degraded",
            f"the ring is not whole: {'; '.join(troubled)}",
            "bring every node to UN with one schema, then start again",
            actor=Actor.CASSANDRA_ADMIN,
        )


def _concerns(node: NodeView, worked_on: Collection[str] | None) -> bool:
    return worked_on is None or node.node.address in worked_on


def _refuse_bad_material(
    material: ResolvedMaterial | RotationMaterial, waivers: tuple[Waiver, ...], now: datetime
) -> None:
    failed = weigh(material.findings, waivers, now).standing
    if failed:
        raise refuse(
            "plan.material-refused",
            "; ".join(f"{f.node}: {f.message} ({f.check})" for f in failed[:10])
            + (f"; and {len(failed) - 10} more" if len(failed) > 10 else ""),
            "deliver corrected material; nothing was changed on any node",
            actor=Actor.PKI_ADMIN,
        )


def _target(view: NodeView, served: tuple[str, str], rules: RolloutSettings, ring: tuple[NodeRef, ...]) -> Target:
    """The target of a node that shall serve a generation and its leaf."""
    generation, leaf = served
    restart_because = ("this Cassandra has no hot reload",) if view.reload == "none" else view.restart_because
    restart = rules.apply == "restart" or (rules.apply == "auto" and bool(restart_because))
    if rules.apply == "reload" and restart_because:
        raise refuse(
            "plan.reload-impossible",
            f"apply: reload asked for, but on {view.node.address} {'; '.join(restart_because)}",
            "use `apply: auto` or `apply: restart`",
            node=view.node.address,
        )
    if restart:
        because = "; ".join(restart_because) or "restart asked for"
    else:
        because = f"Cassandra {view.version} reloads certificates ({view.reload})"
    return Target(
        node=view.node,
        generation=generation,
        leaf_sha256=leaf,
        apply="restart" if restart else "reload",
        may_restart=rules.allow_restart and rules.apply == "auto" and not restart,
        because=because,
        vantages=vantages(view.node, ring, rules.vantages),
    )


def vantages(node: NodeRef, ring: tuple[NodeRef, ...], count: int) -> tuple[NodeRef, ...]:
    """Peers that look at a node: of other racks first, then of other datacenters; a ring of one has none."""
    peers = [peer for peer in ring if peer.host_id != node.host_id]
    return tuple(sorted(peers, key=lambda p: (p.rack == node.rack, p.datacenter != node.datacenter)))[:count]


def _generation(view: NodeView, material: ResolvedMaterial | None, now: datetime) -> tuple[str, str]:
    address = view.node.address
    if material is not None:
        delivered = next((m for m in material.nodes if m.address == address), None)
        if delivered is None:
            raise refuse(
                "plan.no-material",
                f"{material.ref.path} holds nothing for {address}",
                f"deliver {material.ref.path}/{address} or name the nodes to work on",
                actor=Actor.PKI_ADMIN,
                node=address,
            )
        return delivered.generation, delivered.leaf.sha256
    previous = view.previous
    if previous is None:
        raise refuse(
            "plan.no-previous",
            f"{address} keeps no previous generation",
            "deploy known good material instead",
            node=address,
        )
    if previous.not_after <= now:
        raise refuse(
            "plan.previous-expired",
            f"the previous generation {short(previous.id)} of {address} expired on {previous.not_after:%Y-%m-%d}",
            "a rollback would take the node out of the ring: deploy new material instead",
            actor=Actor.PKI_ADMIN,
            node=address,
        )
    return previous.id, previous.leaf_sha256


def _serves(view: NodeView, target: Target) -> bool:
    on_disk = view.current is not None and view.current.id == target.generation
    return on_disk and view.served == (target.leaf_sha256,)


def _risks(targets: tuple[Target, ...]) -> Iterable[str]:
    if any(t.may_restart for t in targets):
        yield "a node whose reload does not convince is restarted where that is proven to be safe, alone"
