"""A rollout under way whose ring has changed: what is left of its plan, and both plans in one. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sealring.errors import Actor
from sealring.models.cluster import NodeRef
from sealring.models.evidence import Finding, Verdict
from sealring.models.node import ClusterView
from sealring.models.plan import Plan, Stage, Wave

LEFT, REPLACED, JOINED = "ring.node-left", "ring.node-replaced", "ring.node-joined"


@dataclass(frozen=True)
class Remainder:
    """What was not begun."""

    plan: Plan  # its waves that were not begun
    nodes: tuple[str, ...]  # of these, addresses of nodes that are still in the ring
    newcomers: tuple[str, ...]  # addresses of nodes that the plan does not know: joined, or in another one's place
    findings: tuple[Finding, ...]  # who left and who was replaced, for the report


def remainder(plan: Plan, waves_done: int, view: ClusterView, *, whole: bool = True) -> Remainder:
    """What is left of a plan on a ring as it is now.

    A node is its host id: another one at the same address holds nothing of what was prepared there, and is new.

    Args:
        plan: in hand.
        waves_done: of it.
        view: the ring now.
        whole: whether every node of the ring was asked for: else one that the plan does not have need not be new.
    """
    done, left = _split(plan, waves_done)
    begun = {target.node.address: target.node for stage in done for target in stage.targets}
    waiting = {target.node.address: target.node for stage in left for target in stage.targets}
    present = {seen.node.address: seen.node for seen in view.nodes}
    findings: list[Finding] = []
    replaced = []
    for address, node in (begun | waiting).items():
        worked = "what was done there is gone" if address in begun else "it is not worked on"
        if address not in present:
            findings.append(_entry(LEFT, address, f"it left the ring during the rollout: {worked}"))
        elif _another(node, present[address]):
            replaced.append(address)
            told = f"another node (host id {present[address].host_id}) took its place during the rollout: {worked}"
            findings.append(_entry(REPLACED, address, told))
    known = begun.keys() | waiting.keys() | set(plan.unchanged)
    return Remainder(
        plan=plan.model_copy(update={"stages": left}),
        nodes=tuple(a for a in waiting if a in present and a not in replaced),
        newcomers=tuple(sorted({*(present.keys() - known if whole else ()), *replaced})),
        findings=tuple(findings),
    )


def departed(nodes: Iterable[NodeRef], view: ClusterView) -> bool:
    """Whether one of these is no longer in the ring."""
    present = {seen.node.address: seen.node for seen in view.nodes}
    return any(node.address not in present or _another(node, present[node.address]) for node in nodes)


def _another(planned: NodeRef, seen: NodeRef) -> bool:
    """nodetool may not tell host ids: then the address has to do."""
    return bool(planned.host_id and seen.host_id) and planned.host_id != seen.host_id


def left_alone(address: str, why: str) -> Finding:
    """A newcomer that is not worked on, for the report."""
    remedy = "when the rollout is over start it again: nodes that serve their generation are left alone"
    return _entry(JOINED, address, f"it joined the ring during the rollout and is not worked on: {why}", remedy)


def taken_in(address: str) -> Finding:
    """A newcomer that is worked on, for the report."""
    message = "it joined the ring during the rollout and is taken in (rollout.newcomers)"
    return Finding(check=JOINED, verdict=Verdict.PASS, message=message, node=address)


def without(plan: Plan, addresses: Collection[str], waves_done: int = 0) -> Plan:
    """The plan without these nodes in the waves that were not begun. A part of a safe wave is safe."""
    left = _split(plan, waves_done)[1]
    stages = []
    for stage in left:
        waves = [
            wave.model_copy(update={"targets": tuple(t for t in wave.targets if t.node.address not in addresses)})
            for wave in stage.waves
        ]
        stages.append(stage.model_copy(update={"waves": tuple(wave for wave in waves if wave.targets)}))
    return joined(plan, waves_done, plan.model_copy(update={"stages": tuple(stages)}))


def joined(old: Plan, waves_done: int, newer: Plan) -> Plan:
    """The waves that were begun, as they were planned, and then the new ones."""
    done = _split(old, waves_done)[0]
    stages: list[Stage] = list(done)
    number = waves_done
    for stage in newer.stages:
        waves = []
        for wave in stage.waves:
            number += 1
            waves.append(wave.model_copy(update={"name": f"wave {number}"}))
        if waves and stages and _one(stages[-1], stage):
            stages[-1] = stages[-1].model_copy(update={"waves": (*stages[-1].waves, *waves)})
        elif waves:
            stages.append(stage.model_copy(update={"waves": tuple(waves)}))
    unchanged = tuple(sorted({*old.unchanged, *newer.unchanged}))
    return newer.model_copy(update={"stages": tuple(stages), "unchanged": unchanged})


def _one(begun: Stage, rest: Stage) -> bool:
    """Whether a stage is the rest of one that was begun. Another one may hold where this does not."""
    return (begun.name, begun.kind, begun.material, begun.hold) == (rest.name, rest.kind, rest.material, rest.hold)


def unbegun(plan: Plan, waves_done: int) -> tuple[Stage, ...]:
    """Stages with the waves that were not begun."""
    return _split(plan, waves_done)[1]


def with_other_content(left: Plan, newer: Plan, newcomers: Collection[str] = ()) -> list[str]:
    """Addresses that would get another generation than the one that is on their disks; newcomers have none yet."""
    planned = {(t.node.address, t.generation) for stage in left.stages for t in stage.targets}
    work = [t for s in newer.stages for t in s.targets if t.node.address not in newcomers]
    return list(dict.fromkeys(t.node.address for t in work if (t.node.address, t.generation) not in planned))


def no_bolder(left: Plan, newer: Plan) -> Plan:
    """The newer plan, without the restarts after a reload that the plan in hand does not allow.

    Of fewer nodes the first is alone again, and alone it might be restarted: in company it was not to be.
    """
    allowed = {(t.node.address, t.generation) for stage in left.stages for t in stage.targets if t.may_restart}

    def held(wave: Wave) -> Wave:
        return narrowed(wave, {t.node.address for t in wave.targets if (t.node.address, t.generation) not in allowed})

    stages = (s.model_copy(update={"waves": tuple(map(held, s.waves))}) for s in newer.stages)
    return newer.model_copy(update={"stages": tuple(stages)})


def narrowed(wave: Wave, unproven: Collection[str]) -> Wave:
    """The wave without the restarts that would follow a reload, where those would not be safe now."""
    targets = tuple(
        target.model_copy(update={"may_restart": False}) if target.node.address in unproven else target
        for target in wave.targets
    )
    return wave.model_copy(update={"targets": targets})


def _split(plan: Plan, waves_done: int) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
    done, left, count = [], [], 0
    for stage in plan.stages:
        cut = min(max(waves_done - count, 0), len(stage.waves))
        count += len(stage.waves)
        done += [stage.model_copy(update={"waves": stage.waves[:cut]})] if cut else []
        left += [stage.model_copy(update={"waves": stage.waves[cut:]})] if cut < len(stage.waves) else []
    return tuple(done), tuple(left)


def _entry(check: str, node: str, message: str, remedy: str = "") -> Finding:
    return Finding(check=check, verdict=Verdict.WARN, message=message, remedy=remedy, actor=Actor.OPERATOR, node=node)
