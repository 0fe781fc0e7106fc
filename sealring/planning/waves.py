"""Which nodes are activated together."""

from itertools import groupby

from sealring.models.plan import Target, Wave


def form_waves(targets: tuple[Target, ...], wave: str, max_parallel: int) -> tuple[Wave, ...]:
    """Group targets into waves, in order of datacenter, rack and address.

    Restarts always go one node at a time: a rack at a time is safe only where no range has two replicas in a rack,
    and nothing here proves that. A reload takes no replica away, so a rack (at most `max_parallel` nodes of it) may
    be reloaded together when asked.
    """
    ordered = sorted(targets, key=_place)
    waves: list[tuple[tuple[Target, ...], str]] = []
    for (datacenter, rack), members in groupby(ordered, key=lambda t: (t.node.datacenter, t.node.rack)):
        rack_targets = tuple(members)
        reloads = tuple(t for t in rack_targets if t.apply == "reload")
        alone = tuple(t for t in rack_targets if t.apply == "restart")
        if wave == "rack":
            because = f"rack {rack} of {datacenter}, by reload: no replica leaves"
            # A reload in company must not turn into several restarts at once.
            together = len(reloads) > 1
            joint = tuple(t.model_copy(update={"may_restart": False}) if together else t for t in reloads)
            waves += [(joint[i : i + max_parallel], because) for i in range(0, len(joint), max_parallel)]
        else:
            alone = rack_targets
        waves += [((t,), f"one node of rack {rack} in {datacenter}") for t in alone]
    return tuple(
        Wave(name=f"wave {number}", targets=members, because=because)
        for number, (members, because) in enumerate(waves, start=1)
    )


def _place(target: Target) -> tuple[str, str, tuple[int, ...] | tuple[str, ...]]:
    octets = target.node.address.split(".")
    numeric = all(octet.isdigit() for octet in octets)
    return (
        target.node.datacenter,
        target.node.rack,
        tuple(int(octet) for octet in octets) if numeric else (target.node.address,),
    )
