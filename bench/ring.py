"""On a real ring: what a node costs by reload and by restart, step by step, what proof costs, and the way back."""

import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench import processes
from bench.engine import Engine, engine
from bench.measure import Measured
from bench.nodetool import calls, count_calls
from bench.report import write_report
from bench.results import Line, keep_lines
from bench.rollouts import measured_rollout, phases
from lab import lifecycle, state, tools
from lab.hosts import ROLE as SSHD
from lab.spec import TEMPORAL_PORT, LabSpec
from sealring.models.rollout import RolloutReport

RUNS = {"reload": 3, "restart": 2}
FIRST = 81
_SAMPLE_SECONDS = 0.1
_ACTIVATION = ("activate", "reload", "drain", "restart", "verify", "settle")


def measure_ring() -> None:
    """Bring a ring up, roll out over and over, take it down."""
    spec = LabSpec(tools.cache() / "bench" / "ring", first=FIRST, temporal_port=TEMPORAL_PORT + 4)
    lifecycle.up(spec, print, engine=False)
    try:
        count_calls(spec)
        with engine(spec, {}) as running:
            lines = [line for apply in RUNS for line in by(running, apply)]
            lines += way_back(running)
        for line in lines:
            print(f"{line.what}: {statistics.median(line.runs):.2f} {line.unit} {line.note}", flush=True)
        keep_lines("On a real ring of three nodes", "make bench RING=1", lines)
        write_report()
    finally:
        lifecycle.down(spec)


def by(engine: Engine, apply: str) -> list[Line]:
    """Whole rollouts, node by node."""
    runs: list[tuple[Measured, RolloutReport]] = []
    called = _calls(engine.spec)
    with peak_of_sessions(engine.spec) as peak:
        for _ in range(RUNS[apply]):
            words = ("rollout", "start", "lab", "-m", str(engine.deliver()), "--apply", apply)
            runs.append(measured_rollout(engine, *words))
            print(
                f"rollout by {apply}: {runs[-1][0].seconds:.1f} s, {runs[-1][0].others:.0%} used by others", flush=True
            )
    nodes = len(engine.spec.ring)
    steps = [phases(report) for _, report in runs]
    names = list(dict.fromkeys(name for each in steps for name in each))
    activation = tuple(
        sum(statistics.median(each[name]) for name in _ACTIVATION if name in each and name != "settle")
        for each in steps
    )
    proof = tuple(statistics.median(each["verify"]) for each in steps)
    lines = [
        Line(f"by {apply}: the whole rollout, a node", "s", tuple(m.seconds / nodes for m, _ in runs)),
        Line(f"by {apply}: activation of a node, from flip to proof", "s", activation, "median of the nodes"),
        *(
            Line(
                f"by {apply}: step `{name}`",
                "s",
                tuple(statistics.median(each[name]) for each in steps if name in each),
            )
            for name in names
        ),
        Line(
            f"by {apply}: proof, share of the activation",
            "%",
            tuple(100 * each / whole for each, whole in zip(proof, activation, strict=True)),
        ),
        Line(
            f"by {apply}: CPU on the node in its SSH sessions",
            "% of one core",
            tuple(100 * m.target / nodes / m.seconds for m, _ in runs),
            "averaged over the rollout; without Cassandra itself",
        ),
        Line(f"by {apply}: CPU on the node in its SSH sessions", "s", tuple(m.target / nodes for m, _ in runs)),
        Line(f"by {apply}: memory of all SSH sessions and what they run, at most", "MiB", (peak[0] / 2**20,)),
        Line(f"by {apply}: calls of nodetool, a node", "", ((_calls(engine.spec) - called) / RUNS[apply] / nodes,)),
    ]
    return [line for line in lines if line.runs]


def way_back(engine: Engine) -> list[Line]:
    """Back to the generation before, by flip and reload, proven like any other rollout."""
    victim = engine.spec.ring[0].address
    measured, report = measured_rollout(engine, "rollback", "lab", "--nodes", victim, "--apply", "reload", "--json")
    took = sum(each[0] for step, each in phases(report).items() if step in _ACTIVATION and step != "settle")
    return [
        Line("rollback of one node by flip: from flip to proof", "s", (took,)),
        Line("rollback of one node: from the command to the report", "s", (measured.seconds,)),
    ]


@contextmanager
def peak_of_sessions(spec: LabSpec) -> Iterator[Sequence[int]]:
    """Bytes that all SSH sessions and what they ran held at most, sampled; a shared page counts for each who has it."""
    superserver, peak, over = state.alive(spec.root)[SSHD], [0], threading.Event()

    def watch() -> None:
        while not over.wait(_SAMPLE_SECONDS):
            peak[0] = max(peak[0], sum(processes.rss(pid) for pid in processes.below(superserver)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def _calls(spec: LabSpec) -> int:
    return sum(len(calls(node)) for node in spec.ring)
