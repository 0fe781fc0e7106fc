"""The proof of a wave, once more, on the ring of now. Pure."""

from collections.abc import Collection, Iterable, Iterator

from sealring.errors import Actor
from sealring.models.checks import QUORUM
from sealring.models.evidence import Finding, Verdict
from sealring.models.rollout import RingAnswer, RingQuestion
from sealring.models.topology import Topology
from sealring.planning.replicas import ordered
from sealring.planning.slack import Constraint, bits, constraints, mask_of, promises
from sealring.planning.waivers import USED, waived_keyspaces

MOST_NAMED = 3


def proven_again(question: RingQuestion, whole: RingAnswer, topology: Topology | None) -> RingAnswer:
    """Whether the nodes of a wave may be taken away now.

    Args:
        question: the wave, and the fingerprint of the topology that was planned for.
        whole: what else was found out about the ring.
        topology: the ring of now; None when nobody tells it.
    """
    if topology is None:
        return _with(whole, _unknown())
    if topology.fingerprint != question.fingerprint:
        return whole.model_copy(update={"changed": True})
    if not question.restarts and not question.fallbacks:
        return whole  # no replica goes away
    limits = constraints(promises(topology, waived_keyspaces(question.waive)))
    fallbacks = tuple(a for a in question.fallbacks if next(broken(topology, limits, (a,)), None))
    answer = whole.model_copy(update={"unproven": fallbacks})
    if not question.restarts:
        return answer
    answer = _with(answer, *_waived(topology, question))
    breaches = broken(topology, limits, question.restarts, question.beside)
    found = [_breach(topology, each, {*question.restarts, *question.beside}) for each in breaches]
    return _with(answer, *(found[:MOST_NAMED] or [_proven(question.restarts, len(limits))]))


def broken(
    topology: Topology, limits: Iterable[Constraint], away: Collection[str], beside: Collection[str] = ()
) -> Iterator[Constraint]:
    """The promises that would not be kept with these nodes away; one that they have no part in is not theirs to keep.

    Args:
        topology: says who is up.
        limits: of this topology.
        away: addresses; of one that is down nothing more is taken.
        beside: addresses that others may be taking away at the same time.
    """
    nodes = ordered(topology)
    down = mask_of(nodes, [node.address for node in nodes if node.state == "down"])
    taken = mask_of(nodes, away) & ~down  # what is down already is not taken: it comes back
    unusable = taken | mask_of(nodes, beside) | mask_of(nodes, [n.address for n in nodes if n.state != "up"])
    for limit in limits:
        if limit.replicas & taken and (limit.replicas & unusable).bit_count() > limit.slack:
            yield limit


def _breach(topology: Topology, limit: Constraint, away: Collection[str]) -> Finding:
    nodes, promise = ordered(topology), limit.promise
    replicas = [nodes[i] for i in bits(limit.replicas)]
    left = [node for node in replicas if node.state == "up" and node.address not in away]
    return Finding(
        check="ring.quorum",
        verdict=Verdict.FAIL,
        message=f"{', '.join(promise.keyspaces)}: {promise.consistency} needs {promise.required} of "
        f"{', '.join(node.address for node in replicas)}, and without {', '.join(sorted(away)[:5])} only "
        f"{len(left)} would be left",
        remedy="wait until the replicas are back; nodes that are suspect count as away",
        actor=Actor.CASSANDRA_ADMIN,
    )


def _waived(topology: Topology, question: RingQuestion) -> Iterator[Finding]:
    """For the report: what is not kept while this wave is away, because it was waived. The same words at each wave."""
    waived = waived_keyspaces(question.waive)
    hurt = tuple(k for k in topology.keyspaces if k.name in waived)
    if not hurt:
        return
    limits = constraints(promises(topology.model_copy(update={"keyspaces": hurt})))
    names = {name for limit in broken(topology, limits, question.restarts) for name in limit.promise.keyspaces}
    for name in sorted(names):
        yield Finding(
            check=USED,
            verdict=Verdict.WARN,
            message=f"{QUORUM}{name} was waived: ranges of it are unavailable while a replica is restarted",
            actor=Actor.OPERATOR,
        )


def _proven(away: Collection[str], count: int) -> Finding:
    message = f"without {', '.join(sorted(away)[:5])} every one of {count} limits on replicas holds"
    return Finding(check="ring.quorum", verdict=Verdict.PASS, message=message)


def _unknown() -> Finding:
    return Finding(
        check="ring.topology",
        verdict=Verdict.INCONCLUSIVE,
        message="the plan rests on tokens and keyspaces, and no node tells them over CQL now",
        remedy="let CQL be open from the worker to two nodes (`sealring cluster inspect`)",
        actor=Actor.OPERATOR,
    )


def _with(answer: RingAnswer, *findings: Finding) -> RingAnswer:
    return answer.model_copy(update={"findings": (*answer.findings, *findings)})
