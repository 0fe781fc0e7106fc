"""How many nodes of a wave go at once, by how the ring bore the waves before: additive increase, halving. Pure.

A plan proves its waves; what goes at once is a wave or a part of one, never more. As long as nothing was ever too busy
waves go as planned.
"""

from sealring.models.plan import Plan
from sealring.planning.remainder import joined, unbegun


def next_width(width: int | None, planned: int, largest: int, *, busy: bool, clean: bool) -> int | None:
    """Most nodes at once from now on; None: as planned.

    Args:
        width: as it was for the wave before.
        planned: nodes of the wave that is next.
        largest: nodes of the largest wave that is left.
        busy: whether the next wave had to wait for a ring that was busier than the rules allow.
        clean: whether every node of the wave before came to serve.
    """
    if busy:
        return max(1, min(width or planned, planned) // 2)
    if width is None or not clean:
        return width
    return width + 1 if width + 1 < largest else None


def divided(plan: Plan, waves_done: int, width: int | None) -> Plan:
    """The plan with its next wave in two, when that has more nodes than `width`. A part of a safe wave is safe."""
    left = unbegun(plan, waves_done)
    if width is None or not left or len(left[0].waves[0].targets) <= width:
        return plan
    first, *others = left[0].waves
    parts = (
        first.model_copy(update={"targets": first.targets[:width]}),
        first.model_copy(update={"targets": first.targets[width:]}),
    )
    stages = (left[0].model_copy(update={"waves": (*parts, *others)}), *left[1:])
    return joined(plan, waves_done, plan.model_copy(update={"stages": stages}))
