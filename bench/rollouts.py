"""Whole rollouts, measured: what one costs the machine, and what it must have done."""

import asyncio
import time
from collections.abc import Mapping

from bench.engine import Engine
from bench.measure import Machine, Measured, metered
from lab.hosts import ROLE as SSHD
from sealring.models.rollout import Phase, RolloutReport

CONTROLLER = ("temporal", "control", "deploy")


def measured_rollout(engine: Engine, *words: str) -> tuple[Measured, RolloutReport]:
    """Run `sealring <words>`, which starts a rollout and waits for its end; all engine processes count.

    Raises:
        AssertionError: the rollout did not reach its goal, or a listener does not serve what it should.
    """
    before, machine, begun = engine.cpu(), Machine(), time.time()
    cost = metered(engine.spec, engine.command(*words), engine.environment)
    after = engine.cpu()
    used = {name: after[name] - before.get(name, 0.0) for name in after}
    report = engine.report()
    assert report.outcome is Phase.DONE, f"{report.outcome}: {report.problem}"
    assert all(row.consistent and row.served for row in report.matrix), "a listener does not serve the new leaf"
    own = sum(used[name] for name in CONTROLLER) + cost["cpu"]
    peaks = engine.peaks()
    events, size = asyncio.run(engine.history(begun))
    nodes = len(report.nodes)
    measured = Measured(
        seconds=cost["seconds"],
        controller=own,
        target=used[SSHD],
        rss=max(peaks["control"], peaks["deploy"]),
        others=machine.others(sum(used.values()) + cost["cpu"]),
        more={
            **{f"{name}: CPU ms/host": 1000 * used[name] / nodes for name in CONTROLLER},
            **{f"{name}: CPU ms/host": 1000 * used[name] / nodes for name in used if name not in (*CONTROLLER, SSHD)},
            "command line: CPU ms/host": 1000 * cost["cpu"] / nodes,
            **{f"{name}: MiB at most": peak / 2**20 for name, peak in peaks.items()},
            "history: events/host": events / nodes,
            "history: bytes/host": size / nodes,
        },
    )
    return measured, report


def phases(report: RolloutReport) -> Mapping[str, list[float]]:
    """Seconds of every step by its name, one figure a node."""
    found: dict[str, list[float]] = {}
    for node in report.nodes:
        for timing in node.timings:
            found.setdefault(timing.step, []).append(timing.seconds)
    return found
