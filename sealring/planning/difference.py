"""What changed between two plans, and whether the new one is only smaller or more careful."""

from pydantic import Field

from sealring.models.base import Fact
from sealring.models.plan import Plan
from sealring.models.schedule import Schedule

Work = tuple[str, str]
"""A node's address and the generation it gets: in a rotation it comes more than once."""


class Difference(Fact):
    """Of a new plan from an old one. Addresses and sentences."""

    same: bool = Field(description="Nothing of it changed.")
    careful: bool = Field(
        description="Only smaller or more careful: nothing new is touched, no wave holds nodes of two old waves, none "
        "comes before what it came after, and nothing else was decided."
    )
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = Field((), description="Nodes that are worked on in another way.")
    bolder: tuple[str, ...] = Field(
        (), description="Of these, those that are not only spared a restart after their reload."
    )
    waves: tuple[str, ...] = Field((), description="Old and new waves that differ, in words.")
    reasons: tuple[str, ...] = Field((), description="What else differs: risks, rules, the ring.")

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it in words."""
        named = (("new", self.added), ("no longer", self.dropped), ("otherwise", self.otherwise))
        return (*(f"{what}: {', '.join(them)}" for what, them in named if them), *self.waves, *self.reasons)


def plan_difference(old: Plan | Schedule, new: Plan | Schedule) -> Difference:
    """Compare two plans of one kind.

    For the gate before a wave: `old` is what remains of the plan in hand, `new` what a new look at the ring gives.
    """
    before, after = _nodes(old), _nodes(new)
    added = tuple(address for address in after if address not in before)
    dropped = tuple(address for address in before if address not in after)
    both = {a: [(before[a].get(g), how) for g, how in ways.items()] for a, ways in after.items() if a in before}
    otherwise = tuple(a for a, ways in both.items() if any(was != how for was, how in ways))
    bolder = tuple(a for a in otherwise if any(was != how and not (was and _milder(was, how)) for was, how in both[a]))
    waves = tuple(_waves(old, new))
    reasons = tuple(_reasons(old, new))
    return Difference(
        same=old.digest == new.digest,
        careful=not added and not bolder and _refines(old, new) and _as_decided(old, new),
        added=added,
        dropped=dropped,
        otherwise=otherwise,
        bolder=bolder,
        waves=waves,
        reasons=reasons,
    )


def _nodes(plan: Plan | Schedule) -> dict[str, dict[str, tuple[str, ...]]]:
    """What is done to which address, by the generation that it gets: the way, and whether it may become a restart."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    if isinstance(plan, Plan):
        for t in (target for stage in plan.stages for target in stage.targets):
            how = (t.apply, "may restart" if t.may_restart else "", t.node.host_id)
            found.setdefault(t.node.address, {})[t.generation] = how
        return found
    return {a: {"": (w.way, "may restart" if w.may_restart else "")} for w in plan.waves for a in w.nodes}


def _milder(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    return before[0] == after[0] and before[2:] == after[2:] and not after[1]


def _members(plan: Plan | Schedule) -> list[list[Work]]:
    if isinstance(plan, Plan):
        return [[(target.node.address, target.generation) for target in wave.targets] for wave in plan.waves]
    return [[(address, "") for address in wave.nodes] for wave in plan.waves]


def _holds(plan: Plan | Schedule) -> list[tuple[int, bool]]:
    """For every wave: how many stages that hold end before it."""
    found, passed = [], 0
    for stage in plan.stages:
        found += [(passed, stage.hold)] * len(stage.waves)
        passed += stage.hold
    return found


def _refines(old: Plan | Schedule, new: Plan | Schedule) -> bool:
    """Every new wave is a part of one old wave, in the old order, behind no fewer holds."""
    place = {work: number for number, wave in enumerate(_members(old)) for work in wave}
    members, holds, old_holds = _members(new), _holds(new), _holds(old)
    flat = [work for wave in members for work in wave]
    if len(flat) != len(set(flat)) or not set(flat) <= set(place):
        return False
    parents = [{place[work] for work in wave} for wave in members]
    if any(len(parent) != 1 for parent in parents):
        return False
    numbers = [min(parent) for parent in parents]
    first = old_holds[numbers[0]][0] if numbers else 0
    held = all(holds[k][0] >= old_holds[n][0] - first and holds[k][1] >= old_holds[n][1] for k, n in enumerate(numbers))
    return held and numbers == sorted(numbers)


def _as_decided(old: Plan | Schedule, new: Plan | Schedule) -> bool:
    if isinstance(old, Plan) and isinstance(new, Plan):
        proven = bool(new.topology) or not old.topology or not new.takes_away
        same = (old.cluster, old.goal, old.material, old.rules) == (new.cluster, new.goal, new.material, new.rules)
        return proven and same
    if isinstance(old, Schedule) and isinstance(new, Schedule):
        return (old.cluster, old.strategy) == (new.cluster, new.strategy) and old.reserve <= new.reserve
    return False


def _waves(old: Plan | Schedule, new: Plan | Schedule) -> list[str]:
    before, after = _members(old), _members(new)
    told = [] if len(before) == len(after) else [f"{len(before)} waves before, {len(after)} now"]
    then = {work: number for number, wave in enumerate(before, 1) for work in wave}
    now = {work: number for number, wave in enumerate(after, 1) for work in wave}
    moved: dict[tuple[int, int], list[str]] = {}
    for work, number in now.items():
        if work in then and then[work] != number:
            moved.setdefault((then[work], number), []).append(work[0])
    return told + [f"from wave {a} to wave {b}: {', '.join(them)}" for (a, b), them in sorted(moved.items())]


def _reasons(old: Plan | Schedule, new: Plan | Schedule) -> list[str]:
    told = []
    if old.topology and not new.topology:
        told.append("nothing is proven any more: the ring's tokens and keyspaces are not known")
    elif old.topology != new.topology:
        told.append("the ring changed: hosts, tokens, places, replication or consistency levels")
    told += [f"new risk: {risk}" for risk in new.risks if risk not in old.risks]
    told += [f"no longer: {risk}" for risk in old.risks if risk not in new.risks]
    fields: list[tuple[str, object, object]] = [("lower bound", old.lower_bound, new.lower_bound)]
    if isinstance(old, Plan) and isinstance(new, Plan):
        fields += [("goal", old.goal, new.goal), ("material", old.material, new.material)]
        then, now = old.rules.model_dump(), new.rules.model_dump()
        fields += [(f"rules.{name}", then[name], now[name]) for name in then]
    return told + [f"{name}: {before} before, {after} now" for name, before, after in fields if before != after]
