"""A rollout under way whose ring has changed: what is left of its plan, and both plans in one. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from sealring.errors import Actor
from sealring.models.evidence import Finding, Verdict
from sealring.models.node import ClusterView
from sealring.models.plan import Plan, Stage, Wave


@dataclass(frozen=True)
class Remainder:
    """What was not begun."""

    plan: Plan  # its waves that were not begun
    nodes: tuple[str, ...]  # of these, addresses that are still in the ring
    findings: tuple[Finding, ...]  # who left and who joined, for the report


def remainder(plan: Plan, waves_done: int, view: ClusterView) -> Remainder:
    """What is left of a plan on a ring as it is now. Nodes that joined were not prepared: they are left alone."""
    left = _split(plan, waves_done)[1]
    addresses = list(dict.fromkeys(target.node.address for stage in left for target in stage.targets))
    present = {seen.node.address for seen in view.nodes}
    planned = {target.node.address for target in plan.targets} | set(plan.unchanged)
    gone = [
        _entry("ring.node-left", address, "it left the ring during the rollout and is not worked on")
        for address in addresses
        if address not in present
    ]
    new = [
        _entry(
            "ring.node-joined",
            address,
            "it joined the ring during the rollout and is not worked on",
            "when the rollout is over start it again: nodes that serve their generation are left alone",
        )
        for address in sorted(present - planned)
    ]
    nodes = tuple(address for address in addresses if address in present)
    return Remainder(plan.model_copy(update={"stages": left}), nodes, (*gone, *new))


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
        if waves and stages and stages[-1].kind == stage.kind and stages[-1].material == stage.material:
            stages[-1] = stages[-1].model_copy(update={"waves": (*stages[-1].waves, *waves)})
        elif waves:
            stages.append(stage.model_copy(update={"waves": tuple(waves)}))
    unchanged = tuple(sorted({*old.unchanged, *newer.unchanged}))
    return newer.model_copy(update={"stages": tuple(stages), "unchanged": unchanged})


def with_other_content(left: Plan, newer: Plan) -> list[str]:
    """Addresses that would get another generation than the one that is on their disks."""
    planned = {(t.node.address, t.generation) for stage in left.stages for t in stage.targets}
    found = [t.node.address for s in newer.stages for t in s.targets if (t.node.address, t.generation) not in planned]
    return list(dict.fromkeys(found))


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
