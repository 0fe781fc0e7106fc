"""Many rollouts at once: a ring each, one control worker and one deploy worker for all of them."""

import asyncio
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import yaml

from bench.engine import Engine, engine
from bench.report import write_report
from bench.results import Line, keep_lines
from lab import lifecycle, tools
from lab.authority import Authority, deliver
from lab.engine import configure_engine
from lab.spec import NET, STAND_IN, TEMPORAL_PORT, LabSpec
from sealring.models.material import MaterialRef
from sealring.models.rollout import Phase, RolloutRequest
from starters import rollouts

RINGS = 50
NODES = 2
FIRST = 101
_NET = NET + 2  # away from the other fleets
_PATIENCE = 900.0


def measure_many() -> None:
    """Start a rollout of every ring at the same time."""
    specs = [
        LabSpec(
            tools.cache() / "bench" / "many" / f"ring{i}",
            cassandra=STAND_IN,
            nodes=NODES,
            first=FIRST + NODES * i,
            net=_NET,
            temporal_port=TEMPORAL_PORT + 5,
        )
        for i in range(RINGS)
    ]
    with rings(specs), engine(specs[0], {}) as running:
        seconds = asyncio.run(all_at_once(running, specs))
    lines = [
        Line(f"{RINGS} rollouts of rings of {NODES} at once: until its own end", "s", tuple(seconds)),
        Line("the slowest beside the fastest", "times", (max(seconds) / min(seconds),)),
    ]
    for line in lines:
        print(
            f"{line.what}: {statistics.median(line.runs):.1f} {line.unit}, {min(line.runs):.1f} to {max(line.runs):.1f}"
        )
    keep_lines("Many rings at once", "make bench", lines)
    write_report()


@contextmanager
def rings(specs: list[LabSpec]) -> Iterator[None]:
    """All rings up; down afterwards."""
    shutil.rmtree(specs[0].root.parent, ignore_errors=True)
    with ExitStack() as stack:
        for spec in specs:
            stack.callback(lifecycle.down, spec)
            lifecycle.up(spec, engine=False)
        yield


async def all_at_once(running: Engine, specs: list[LabSpec]) -> list[float]:
    """Seconds from the common start to the end of each rollout.

    Raises:
        AssertionError: one did not reach its goal.
    """
    client = await running.client()
    requests = [request(running, spec, f"ring{i}") for i, spec in enumerate(specs)]
    begun = time.monotonic()

    async def one(asked: RolloutRequest) -> float:
        report = await rollouts.result(await rollouts.start(client, asked))
        assert report.outcome is Phase.DONE, f"{asked.cluster}: {report.problem}"
        return time.monotonic() - begun

    async with asyncio.timeout(_PATIENCE):
        return list(await asyncio.gather(*map(one, requests)))


def request(running: Engine, spec: LabSpec, name: str) -> RolloutRequest:
    """New material for a ring, and the request to bring it there; its cluster file joins those of the engine."""
    configure_engine(spec)
    content = yaml.safe_load(spec.cluster_file.read_text())
    (running.spec.cluster_file.parent / f"{name}.yaml").write_text(yaml.safe_dump({**content, "name": name}))
    delivery = deliver(spec, Authority.open(spec.authority), "new")
    return RolloutRequest(cluster=name, material=MaterialRef(path=str(delivery)))
