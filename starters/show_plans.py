"""How plans look in a terminal."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sealring.models.base import short
from sealring.models.plan import Plan
from sealring.models.schedule import Blocked, Forecast, Proof, Schedule
from sealring.planning.difference import Difference

_NAMED = 12


def show_plan(plan: Plan) -> RenderableType:
    """Waves with their reasons and proofs."""
    nodes, waves = len(plan.targets), len(plan.waves)
    head = f"{plan.goal} on {plan.cluster}: {nodes} nodes in {waves} waves, plan {short(plan.digest)}"
    parts: list[RenderableType] = [Text(head, "bold"), *_bounds(plan.lower_bound, plan.forecast)]
    unsafe_if = ""
    for stage in plan.stages:
        if len(plan.stages) > 1:
            parts.append(Text(f"stage: {stage.name}", "bold"))
        for wave in stage.waves:
            parts.append(Text(f"{wave.name}: {wave.because}"))
            table = Table(box=None, pad_edge=False, show_header=False)
            for target in wave.targets:
                node, leaf = target.node, short(target.leaf_sha256)
                place = f"{node.datacenter}/{node.rack}"
                peers = ", ".join(p.address for p in target.vantages)
                seen = f"seen from {peers}" if peers else "no peer looks"
                table.add_row("  ", node.address, place, target.apply, f"leaf {leaf}", f"{target.because}; {seen}")
            parts += [table, *_proofs(wave.proof, wave.unsafe_if if wave.unsafe_if != unsafe_if else "")]
            unsafe_if = wave.unsafe_if
        parts += _hold(stage.hold)
    if plan.unchanged:
        parts.append(Text(f"unchanged, serving it already: {', '.join(plan.unchanged)}"))
    parts += [Text(f"risk: {risk}", "yellow") for risk in plan.risks]
    return Group(*parts)


def show_schedule(made: Schedule) -> RenderableType:
    """What cannot be done first, then waves with their reasons and proofs."""
    nodes = sum(len(wave.nodes) for wave in made.waves)
    parts: list[RenderableType] = [*(line for b in made.infeasible for line in _blocked(b))]
    head = f"{made.cluster}: {nodes} nodes in {len(made.waves)} waves ({made.strategy}), plan {short(made.digest)}"
    parts += [Text(head, "bold"), *_bounds(made.lower_bound, made.forecast)]
    for stage in made.stages:
        parts.append(Text(f"{stage.name}:", "bold"))
        for wave in stage.waves:
            parts.append(Text(f"{wave.name}, {len(wave.nodes)} by {wave.way}: {_some(wave.nodes)}"))
            parts.append(Text(f"  {wave.because}"))
            parts += _proofs(wave.proof, wave.unsafe_if)
        parts += _hold(stage.hold)
    parts += [Text(f"risk: {risk}", "yellow") for risk in made.risks]
    return Group(*parts)


def show_difference(found: Difference) -> RenderableType:
    """What changed."""
    if found.same:
        return Text("the same plan")
    judged = "only smaller or more careful" if found.careful else "more than smaller or more careful"
    parts: list[RenderableType] = [Text(judged, "green" if found.careful else "yellow")]
    parts += [Text(line) for line in found.lines]
    return Group(*parts)


def _blocked(them: Blocked) -> Iterable[Text]:
    word = "cannot be done" if them.kind == "never" else "must wait"
    yield Text(f"{word}: {_some(them.nodes)}: {them.because}", "bold red" if them.kind == "never" else "bold yellow")
    for way in them.ways_out:
        yield Text(f"  way out: {way}")


def _bounds(lower_bound: int, forecast: Forecast | None) -> Iterable[Text]:
    if lower_bound:
        yield Text(
            f"no way that is safe with what is down and in reserve restarts these in fewer than {lower_bound} waves"
        )
    if forecast is not None:
        took = f"about {_time(forecast.seconds)} ({_time(forecast.least)} to {_time(forecast.most)})"
        yield Text(f"{took}, by {forecast.source}", "dim")


def _proofs(proofs: tuple[Proof, ...], unsafe_if: str) -> Iterable[Text]:
    for proof in proofs:
        names = ", ".join(proof.keyspaces) + (f" and {proof.others} more" if proof.others else "")
        place = f" in {proof.datacenter}" if proof.datacenter else ""
        kept = f"{proof.remain} of {len(proof.replicas)} stay, {proof.required} needed"
        yield Text(f"  {names} at {proof.consistency}{place}: {', '.join(proof.replicas)}: {kept}", "dim")
    if unsafe_if:
        yield Text(f"  unsafe if {unsafe_if}", "dim")


def _hold(hold: bool) -> Iterable[Text]:
    return [Text("then a person looks, and resumes", "bold")] if hold else []


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
