"""Waves for a ring, by the strategy that was asked for, each with its proof.

Restarts take replicas away: `packing` puts together what every replica set allows. Reloads take none away; what bounds
them is how much one mistake may reach: one node, then as much of its rack as could be lost, then the rest.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sealring.errors import refuse
from sealring.models.cluster import RolloutSettings
from sealring.models.schedule import (
    MEASURED,
    Blocked,
    Forecast,
    Pace,
    Schedule,
    ScheduledStage,
    ScheduledWave,
    Way,
)
from sealring.models.topology import RingNode, Topology
from sealring.planning.packing import Packing
from sealring.planning.proofs import Prover, blocked, down, in_words
from sealring.planning.replicas import natural, ordered
from sealring.planning.slack import Constraint, Promise, bits, constraints, mask_of, promises
from sealring.planning.strategies import Part, grown, parts

UNPROVEN = "nothing was proven: replicas and keyspaces are not known; restarts go one by one"


def schedule(
    topology: Topology,
    work: Mapping[str, Way],
    rules: RolloutSettings,
    *,
    waived: Collection[str] = (),
    pace: Pace = MEASURED,
) -> Schedule:
    """Waves for the nodes of `work` that keep every promise of the topology at every moment.

    Args:
        topology: the ring now; its nodes that are down or suspect count as away.
        work: what is done to which address.
        rules: strategy, batch, batch_per_rack, grow, green, reserve and max_parallel count.
        waived: keyspaces that may become unavailable.
        pace: seconds that steps take.

    Raises:
        SealringError: `plan.not-in-topology`, `plan.replication`, `plan.green`.
    """
    found = promises(topology, waived)
    made = _Arranging(ordered(topology), found, work, rules, pace).schedule(topology.name, topology.fingerprint)
    risks = tuple(f"WAIVED: {name} may be unavailable while its nodes are restarted" for name in sorted(waived))
    return made.model_copy(update={"risks": (*risks, *made.risks)})


def unproven(
    cluster: str, nodes: tuple[RingNode, ...], work: Mapping[str, Way], rules: RolloutSettings, pace: Pace = MEASURED
) -> Schedule:
    """Waves for a ring whose replicas are not known: restarts one by one. Tokens of the nodes are not looked at."""
    places = tuple(sorted(nodes, key=lambda n: (n.datacenter, n.rack, natural(n.address))))
    return _Arranging(places, None, work, rules, pace).schedule(cluster, "")


class _Arranging:
    """One call of the planner."""

    def __init__(
        self,
        nodes: tuple[RingNode, ...],
        found: tuple[Promise, ...] | None,
        work: Mapping[str, Way],
        rules: RolloutSettings,
        pace: Pace,
    ) -> None:
        self.nodes, self.found, self.work, self.rules, self.pace = nodes, found, work, rules, pace
        if lost := sorted(set(work) - {node.address for node in nodes}):
            raise refuse(
                "plan.not-in-topology",
                f"nodes: {', '.join(lost[:20])}: not in the topology",
                "name nodes by their addresses there",
            )
        self.limits = constraints(found or ())
        self.reserve = rules.reserve if rules.reserve is not None else 0 if rules.strategy == "fastest" else 1
        self.down = sum(1 << i for i, node in enumerate(nodes) if node.state == "down")
        self.away = sum(1 << i for i, node in enumerate(nodes) if node.state != "up")
        everything = mask_of(nodes, work) & ~self.down
        self.reloads = mask_of(nodes, {address for address, way in work.items() if way == "reload"}) & ~self.down
        self.batch = min(_batch(rules, everything.bit_count()), rules.max_parallel)
        self.packing = self._packing(self.limits, self.batch if found is not None else 1)
        self.restarts = self.packing.possible(everything & ~self.reloads)
        self.left = everything & ~self.reloads & ~self.restarts
        self.seeds = sum(1 << i for i, node in enumerate(nodes) if node.seed) & ~self.away
        self.reloaded = 0  # by the waves formed so far
        self.prover = Prover(nodes, self.limits, self.away)

    def _packing(self, limits: Sequence[Constraint], batch: int) -> Packing:
        return Packing(
            self.nodes,
            limits,
            away=self.away,
            reserve=self.reserve,
            batch=batch,
            batch_per_rack=self.rules.batch_per_rack,
        )

    def schedule(self, cluster: str, fingerprint: str) -> Schedule:
        """The answer."""
        shaped = [
            (part, [*self._reload_waves(part), *self._restart_waves(part)])
            for part in parts(self.nodes, self.reloads | self.restarts, self.rules)
        ]
        total = sum(len(waves) for _, waves in shaped)
        proofs = 3 if total <= 100 else 2 if total <= 300 else 1
        stages, number = [], 0
        for part, waves in shaped:
            told = []
            for wave, because in waves:
                number += 1
                told.append(self._told(f"wave {number}", wave, because, proofs))
            if told:
                stages.append(ScheduledStage(name=part.name, hold=part.hold, waves=tuple(told)))
        made = Schedule(
            cluster=cluster,
            topology=fingerprint,
            strategy=self.rules.strategy,
            reserve=self.reserve,
            infeasible=self._infeasible(),
            stages=tuple(stages),
            lower_bound=self._packing(self.limits, len(self.nodes)).lower_bound(self.restarts),
            forecast=Forecast(seconds=0, least=0, most=0),
            risks=tuple(self._risks([wave for _, waves in shaped for wave, _ in waves])),
        )
        return made.model_copy(update={"forecast": forecast(made.waves, self.pace)})

    def _restart_waves(self, part: Part) -> list[tuple[int, str]]:
        work = part.nodes & self.restarts
        if not work:
            return []
        if part.in_order:
            waves = self.packing.first_fit(self._in_order(work))
        elif part.within_rack:
            waves = [wave for rack in self._racks(work) for wave in self.packing.fewest(rack)]
        else:
            waves = self._fewest(work)
        waves.sort(key=lambda wave: not wave & self.away)  # what is unwell early
        if part.by_load:
            waves.sort(key=lambda wave: sum(self.nodes[i].load for i in bits(wave)) / wave.bit_count())
        return [(wave, "") for wave in (grown(waves, self._in_order) if self.rules.grow else waves)]

    def _fewest(self, work: int) -> list[int]:
        """As few waves as possible; of as many, those that leave a seed."""
        waves = self.packing.fewest(work)
        if self.seeds.bit_count() < 2 or not any(wave & self.seeds == self.seeds for wave in waves):
            return waves
        rule = Promise((), "ONE", "", 1, (self.seeds,))
        one_stays = Constraint(self.seeds, self.seeds.bit_count() - 1 + self.reserve, rule)
        others = self._packing((*self.limits, one_stays), self.packing.batch).fewest(work)
        return others if len(others) <= len(waves) else waves

    def _reload_waves(self, part: Part) -> list[tuple[int, str]]:
        """One node, as much of its rack as could be lost, the rest; rolling: as many as a batch."""
        work = part.nodes & self.reloads
        if not work:
            return []
        order = self._in_order(work)
        if part.in_order:
            waves = [order[i : i + self.batch] for i in range(0, len(order), self.batch)]
            return [(sum(1 << i for i in wave), "by reload: no replica leaves") for wave in waves]
        told: list[tuple[int, str]] = []
        if self.reloaded == 0:
            self.reloaded = first = 1 << order.pop(0)
            told.append((first, "by reload, alone: the first to show what is wrong with a delivery"))
        if self.reloaded.bit_count() == 1 and order:
            second = self._losable(order)
            order = [i for i in order if not second >> i & 1]
            self.reloaded |= second
            told.append((second, "by reload, in one rack: the ring would live without them"))
        rest = sum(1 << i for i in order)
        for block in self._racks(rest) if part.within_rack else [rest]:
            told += [(wave, "by reload: no replica leaves") for wave in self._chunks(block)]
        return told

    def _losable(self, order: list[int]) -> int:
        """As much of one rack as could be lost without breaking a promise, if all of it were wrong; at least one."""
        racks = self._racks(self.reloaded | sum(1 << i for i in order))
        rack = max(racks, key=lambda r: (bool(r & self.reloaded), r.bit_count())) & ~self.reloaded or 1 << order[0]
        spare = [replace(limit, slack=max(1, limit.slack)) for limit in self.limits]
        packing = self._packing(spare, self.batch)
        possible = packing.possible(rack)
        return packing.first_fit(i for i in order if possible >> i & 1)[0] if possible else rack & -rack

    def _chunks(self, block: int) -> list[int]:
        order = self._in_order(block)
        return self._packing((), self.batch).first_fit(order)

    def _racks(self, work: int) -> list[int]:
        racks: dict[tuple[str, str], int] = {}
        for i in bits(work):
            place = (self.nodes[i].datacenter, self.nodes[i].rack)
            racks[place] = racks.get(place, 0) | 1 << i
        return list(racks.values())

    def _in_order(self, work: int) -> list[int]:
        """What is unwell first; then by rack, the seeds of a rack last, or the least loaded first when load counts."""
        by_load = self.rules.strategy == "load-aware"

        def key(i: int) -> tuple[object, ...]:
            node = self.nodes[i]
            return (node.state == "up", node.load if by_load else 0, node.datacenter, node.rack, node.seed, i)

        return sorted(bits(work), key=key)

    def _told(self, name: str, wave: int, because: str, proofs: int) -> ScheduledWave:
        reload, brief = bool(wave & self.reloads), proofs == 1  # a thousand waves shall fit in a payload
        may_restart = reload and wave.bit_count() == 1 and self.packing.possible(wave) == wave
        shown = self.prover.proof(wave, proofs) if may_restart or not reload else ()
        if may_restart and self.found is not None:
            because += f". Were it restarted: {in_words(shown)}"
        if self.found is None and not reload:
            because = f"one node of rack {self._rack_name(wave)}; {UNPROVEN}"
        return ScheduledWave(
            name=name,
            way="reload" if reload else "restart",
            nodes=tuple(self.nodes[i].address for i in self._in_order(wave)),
            because=because or ("every range keeps enough replicas" if shown and brief else in_words(shown)),
            may_restart=may_restart,
            unsafe_if=self._unsafe_if(wave, brief=brief and bool(shown)),
            proof=shown,
        )

    def _unsafe_if(self, wave: int, *, brief: bool) -> str:
        if wave & self.reloads:
            return "a peer does not trust the new leaf: seen at the first node"
        return "too many of these replicas go down meanwhile" if brief else self.prover.unsafe_if(wave)

    def _rack_name(self, wave: int) -> str:
        node = self.nodes[next(bits(wave))]
        return f"{node.rack} in {node.datacenter}"

    def _infeasible(self) -> tuple[Blocked, ...]:
        gone = [self.nodes[i].address for i in bits(mask_of(self.nodes, self.work) & self.down)]
        found = blocked(self.nodes, self.found or (), self.packing.short(), self.away, self.left)
        return (*found, *([down(gone)] if gone else ()))

    def _risks(self, waves: list[int]) -> list[str]:
        seeds = self.seeds
        told = [UNPROVEN] if self.found is None and self.restarts else []
        if seeds.bit_count() > 1 and any(wave & seeds == seeds for wave in waves if not wave & self.reloads):
            told.append("all seeds are restarted in one wave: a node that joins meanwhile finds none")
        return told


def forecast(waves: Sequence[ScheduledWave], pace: Pace) -> Forecast:
    """Seconds that these waves take one after another."""
    usual, least, most = (
        round(
            sum(
                (pace.reload if wave.way == "reload" else pace.restart)[which]
                + pace.settle[which]
                + pace.beside * (len(wave.nodes) - 1)
                for wave in waves
            ),
            1,
        )
        for which in range(3)
    )
    return Forecast(seconds=usual, least=least, most=most, source=pace.source)


def _batch(rules: RolloutSettings, nodes: int) -> int:
    """Most nodes in a wave."""
    if rules.batch is None:
        return 1 if rules.strategy == "rolling" else max(1, nodes)
    if rules.batch.endswith("%"):
        return max(1, nodes * int(rules.batch[:-1]) // 100)
    return int(rules.batch)
