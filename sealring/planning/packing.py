"""The fewest waves that no constraint forbids: colouring with capacities.

Finding the minimum is NP-hard (with slack 1 it is graph colouring), so several good ways are tried and the best is
kept: whole racks where the replica sets allow it, first fit in several orders, most-constrained-first, and rounds that
repack the waves found. All of them only ever put a node where every constraint still holds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sealring.models.topology import RingNode
from sealring.planning.slack import Constraint, bits, usable

_STEPS = 1_200_000
"""Tests and counts spent on repacking: about a second."""

_TURNS = 400


@dataclass
class _Wave:
    """A wave that is being filled."""

    full: int  # nodes that may not be added any more
    members: int = 0
    load: dict[int, int] = field(default_factory=dict)  # by constraint: its nodes in this wave
    racks: dict[int, int] = field(default_factory=dict)
    clashes: int = 0  # neighbours of the members


class Packing:
    """What may be away together, for one ring as it is now.

    Args:
        nodes: of the ring, `ordered`; positions in them are the bits of every mask.
        limits: all constraints.
        away: nodes that are down or suspect; they count against every constraint already.
        reserve: replicas kept back.
        batch: most nodes in a wave; None: as many as are safe.
        batch_per_rack: most nodes of one rack in a wave.
    """

    def __init__(
        self,
        nodes: tuple[RingNode, ...],
        limits: Sequence[Constraint],
        *,
        away: int = 0,
        reserve: int = 0,
        batch: int | None = None,
        batch_per_rack: int | None = None,
    ) -> None:
        self.away = away
        self.batch = batch or len(nodes)
        self.per_rack = batch_per_rack or len(nodes)
        within = {
            d: sum(1 << i for i, n in enumerate(nodes) if n.datacenter == d) for d in {n.datacenter for n in nodes}
        }
        places = {place: number for number, place in enumerate(dict.fromkeys((n.datacenter, n.rack) for n in nodes))}
        self.rack_of = [places[n.datacenter, n.rack] for n in nodes]
        self.limits = limits
        self.sets = [limit.replicas for limit in limits]
        self.room = [usable(limit.slack, reserve) - (limit.replicas & away).bit_count() for limit in limits]
        self.shut = 0  # cannot be restarted now whatever else is left alone
        self.clash = [0] * len(nodes)  # shares a set with room for one
        self.counted: list[list[int]] = [[] for _ in nodes]  # sets with more room, by node
        self.touched = [0] * len(nodes)  # shares any set in its datacenter: what a pairwise planner would keep apart
        for j, (replicas, room) in enumerate(zip(self.sets, self.room, strict=True)):
            if room < 0 or limits[j].slack <= 0:
                self.shut |= replicas
            elif room == 0:
                self.shut |= replicas & ~away
            for i in bits(replicas & ~away):
                self.touched[i] |= replicas & within[nodes[i].datacenter]
                if room == 1:
                    self.clash[i] |= replicas
                elif room > 1:
                    self.counted[i].append(j)

    def possible(self, work: int) -> int:
        """The nodes of these that can be restarted at all now."""
        return work & ~self.shut

    def short(self) -> list[Constraint]:
        """Constraints that leave no room now."""
        return [limit for limit, room in zip(self.limits, self.room, strict=True) if room <= 0]

    def holds(self, wave: int) -> bool:
        """Whether all nodes of the wave may be away together, on top of what is away."""
        return all(
            (replicas & wave & ~self.away).bit_count() <= room or not replicas & wave
            for replicas, room in zip(self.sets, self.room, strict=True)
        )

    def fits(self, wave: int) -> bool:
        """Whether it may be a wave: `holds`, and no larger than asked for."""
        racks = [self.rack_of[i] for i in bits(wave)]
        small = len(racks) <= self.batch and max(map(racks.count, set(racks)), default=0) <= self.per_rack
        return small and self.holds(wave)

    def admits(self, wave: _Wave, node: int, *, pairwise: bool = False) -> bool:
        """Whether the node may join."""
        return not (
            (wave.full | (wave.clashes if pairwise else 0)) >> node & 1
            or wave.members.bit_count() >= self.batch
            or wave.racks.get(self.rack_of[node], 0) >= self.per_rack
        )

    def add(self, wave: _Wave, node: int) -> None:
        """Let the node join; a node that is away already takes nothing more."""
        wave.members |= 1 << node
        wave.racks[self.rack_of[node]] = wave.racks.get(self.rack_of[node], 0) + 1
        if self.away >> node & 1:
            return
        wave.full |= self.clash[node] & ~self.away
        wave.clashes |= self.touched[node]
        for j in self.counted[node]:
            wave.load[j] = wave.load.get(j, 0) + 1
            if wave.load[j] == self.room[j]:
                wave.full |= self.sets[j] & ~self.away

    def first_fit(self, order: Iterable[int], *, pairwise: bool = False) -> list[int]:
        """Each node into the first wave that admits it."""
        waves: list[_Wave] = []
        for node in order:
            wave = next((w for w in waves if self.admits(w, node, pairwise=pairwise)), None)
            if wave is None:
                wave = _Wave(self.shut)
                waves.append(wave)
            self.add(wave, node)
        return [wave.members for wave in waves]

    def most_constrained_first(self, work: int) -> list[int]:
        """The node that the most waves refuse goes next (DSATUR, for capacities)."""
        waves: list[_Wave] = []
        refused = dict.fromkeys(bits(work), 0)
        weight = {i: self.touched[i].bit_count() for i in refused}
        left = work
        while left:
            node = max(bits(left), key=lambda i: (refused[i], weight[i], -i))
            left ^= 1 << node
            wave = next((w for w in waves if self.admits(w, node)), None)
            if wave is None:
                wave = _Wave(self.shut)
                waves.append(wave)
            before = wave.full
            self.add(wave, node)
            for i in bits(wave.full & ~before & left):
                refused[i] += 1
        return [wave.members for wave in waves]

    def whole_racks(self, work: int) -> list[int] | None:
        """Racks as they are, several together where the sets allow it; None: one rack is too much already."""
        racks: dict[int, int] = {}
        for i in bits(work):
            racks[self.rack_of[i]] = racks.get(self.rack_of[i], 0) | 1 << i
        waves: list[int] = []
        for rack in racks.values():
            if not self.fits(rack):
                return None
            for k, wave in enumerate(waves):
                if self.fits(wave | rack):
                    waves[k] |= rack
                    break
            else:
                waves.append(rack)
        return waves

    def fewest(self, work: int) -> list[int]:
        """The best of all ways; nodes that cannot be restarted now are left out."""
        work = self.possible(work)
        bound = self.lower_bound(work, batch=True)
        best: list[int] | None = None
        ways: tuple[Callable[[], list[int] | None], ...] = (
            lambda: self.whole_racks(work),
            lambda: self.first_fit(bits(work)),
            lambda: self.first_fit(bits(work), pairwise=True),
            lambda: self.first_fit(sorted(bits(work), key=lambda i: (-self.touched[i].bit_count(), i))),
            lambda: self.most_constrained_first(work),
        )
        for way in ways:
            found = way()
            if found is not None and (best is None or len(found) < len(best)):
                best = found
            if best is not None and len(best) <= bound:
                return best
        assert best is not None
        fewer = self._repacked(best, bound)
        return fewer if len(fewer) < len(best) else best  # whole racks are easier to follow

    def _repacked(self, waves: list[int], bound: int) -> list[int]:
        """Iterated greedy (Culberson 1992): first fit, wave by wave in another order, never needs more waves."""
        cost = sum(len(waves) + len(self.counted[i]) for wave in waves for i in bits(wave))
        for turn in range(min(_TURNS, max(8, _STEPS // (cost + 1)))):
            if len(waves) <= bound:
                break
            match turn % 4:
                case 0:
                    waves = waves[::-1]
                case 1:
                    waves = sorted(waves, key=lambda w: (-w.bit_count(), w))
                case 2:
                    waves = waves[turn % len(waves) :] + waves[: turn % len(waves)]
                case _:
                    waves = sorted(waves, key=lambda w: (w * (2 * turn + 1)) % 1_000_003)
            flip = -1 if turn % 3 else 1
            waves = self.first_fit(i for wave in waves for i in list(bits(wave))[::flip])
        return waves

    def lower_bound(self, work: int, *, batch: bool = False) -> int:
        """Waves that no way of restarting these nodes can do without.

        Of one set at most `room` nodes fit into a wave; of nodes that clash pairwise, one; of all, a batch.
        """
        work = self.possible(work) & ~self.away
        least = 1 if work else 0
        for replicas, room in zip(self.sets, self.room, strict=True):
            if room > 0:
                least = max(least, -(-(replicas & work).bit_count() // room))
        if batch:
            least = max(least, -(-work.bit_count() // self.batch))
        return max(least, self._clique(work))

    def _clique(self, work: int) -> int:
        """Size of a set of nodes of which every two clash, found greedily from the nodes with the most clashes."""
        largest = 0
        for start in sorted(bits(work), key=lambda i: -(self.clash[i] & work).bit_count())[:20]:
            size, candidates = 1, self.clash[start] & work & ~(1 << start)
            while candidates:
                node = max(bits(candidates), key=lambda i: (self.clash[i] & candidates).bit_count())
                size += 1
                candidates &= self.clash[node] & ~(1 << node)
            largest = max(largest, size)
        return largest
