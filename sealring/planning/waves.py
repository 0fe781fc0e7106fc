"""Targets in the waves of a schedule."""

from sealring.errors import Actor, SealringError, refuse
from sealring.models.plan import Stage, Target, Wave
from sealring.models.schedule import Blocked, Schedule


def stages_of(made: Schedule, targets: tuple[Target, ...], aim: str) -> tuple[Stage, ...]:
    """The stages of a schedule, filled.

    A reload in company must not turn into several restarts at once, nor one anywhere that no promise allows: there a
    node whose reload does not convince is taken back.
    """
    by_address = {target.node.address: target for target in targets}

    def filled(address: str, *, may_restart: bool) -> Target:
        target = by_address[address]
        return target.model_copy(update={"may_restart": target.may_restart and may_restart})

    return tuple(
        Stage(
            name=f"{aim}: {stage.name}",
            hold=stage.hold,
            waves=tuple(
                Wave(
                    name=wave.name,
                    targets=tuple(filled(address, may_restart=wave.may_restart) for address in wave.nodes),
                    because=wave.because,
                    unsafe_if=wave.unsafe_if,
                    proof=wave.proof,
                )
                for wave in stage.waves
            ),
        )
        for stage in made.stages
    )


def refusal_of(infeasible: tuple[Blocked, ...]) -> SealringError:
    """Nodes that no wave may hold, as a refusal: nothing is begun."""
    first = next((b for b in infeasible if b.kind == "never"), infeasible[0])
    others = sum(len(b.nodes) for b in infeasible) - len(first.nodes)
    named = ", ".join(first.nodes[:10]) + (f" and {len(first.nodes) - 10} more" if len(first.nodes) > 10 else "")
    more = f"; and {others} nodes for other reasons" if others else ""
    return refuse(
        "plan.quorum" if first.kind == "never" else "plan.replicas-away",
        f"{named}: {first.because}{more}",
        "; or ".join(first.ways_out),
        actor=Actor.CASSANDRA_ADMIN,
    )
