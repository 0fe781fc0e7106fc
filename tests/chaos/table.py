"""docs/reliability.md, from the results."""

from collections.abc import Iterable, Mapping, Sequence

from tests.chaos.faults import FAULTS
from tests.chaos.play import Cell, Result
from tests.chaos.scene import CUT_AFTER, HEARTBEAT
from tests.chaos.steps import STEPS

HEAD = f"""# Reliability: what was done to rollouts, and how they took it

Written by `make chaos`; do not edit. `make chaos MINUTES=60` allows itself an hour, the same command again goes on
where it stopped, `FRESH=1` starts anew. Each row is a fault, each column the step of a rollout that it met.

How to read a cell:

| | |
|---|---|
| done | the rollout met the fault and finished by itself |
| *code* | it stopped with this code, a reason and a remedy; once the fault was healed, the same command finished it |
| **LOST** | something was wrong afterwards; see below the table |
| … | not run yet |
| (empty) | the fault has no meaning at that step |

Behind every cell stand the same checks (`tests/chaos/judge.py`): each node has one whole generation in force, by its
manifest's digests, and a new TLS handshake from outside shows its leaf on every listener; the rollout is done, or says
code, reason and remedy, and then the same command finishes it; no service was started more often than once a rollout,
beside the fault's own doing; no temporary file and no intent is left on a node, no file on the worker; on the real ring
a client load at LOCAL_QUORUM (three replicas) had no failed query, for every fault here takes one replica at most.

How a step is met exactly: a gate holds the script on the node (before it, in the middle of its moves, or after it with
its answer unsent) or the activity in the worker; the fault strikes while it is held, then it is let go. `back up` and
`transfer` are met before their new folder gets its name; `activate` and `roll back` between truststore and keystore;
`drain` and `restart` when they are done and nobody knows yet; the others when they begin.

Other than in production: heartbeats time out after {HEARTBEAT:.0f} s instead of a minute, SSH is given up after 4 to 6
seconds instead of 30 to 60, and `continue-as-new` is suggested after {CUT_AFTER} events. Mounts and files of other
users need root; without it those rows are not run. After material that had to be refused (`roll back`), "the same
command" is one with good material.

What several faults at once do to a rollout, thousands of times, is played on simulated rings: [twin.md](twin.md).
"""

TITLES = {
    "real": "Real Cassandra, three nodes, under client load",
    "stand-in": "Nodes without a JVM, otherwise the same parts",
    "slots": "Nodes without a JVM whose stores are named through `tls/current`",
}


def document(results: Mapping[Cell, Result], wanted: Sequence[Cell]) -> str:
    """The page; the same results give the same bytes."""
    parts = [HEAD]
    for kind in dict.fromkeys(cell.ring for cell in wanted):
        of_kind = [cell for cell in wanted if cell.ring == kind]
        run = [results[cell] for cell in of_kind if cell in results]
        survived = sum(not result.wrong for result in run)
        told = f"{survived} of {len(run)} cells survived"
        missing = len(of_kind) - len(run)
        parts.append(f"## {TITLES[kind]}\n\n{told}{f'; {missing} not run yet' if missing else ''}.\n")
        parts.append(_table(results, of_kind))
    lost = [result for cell in wanted if (result := results.get(cell)) and result.wrong]
    if lost:
        parts.append("## Lost\n\n" + "".join(f"- {r.cell}: {'; '.join(r.wrong)}\n" for r in lost))
    return "\n".join(parts)


def _table(results: Mapping[Cell, Result], wanted: Iterable[Cell]) -> str:
    cells = {(cell.fault, cell.step): cell for cell in wanted}
    steps = [step for step in STEPS if any(step == at for _, at in cells)]
    lines = [f"| fault | {' | '.join(steps)} |", f"|---|{'---|' * len(steps)}"]
    for fault in FAULTS:
        row = [_shown(cells.get((fault, step)), results) for step in steps]
        if any(row):
            lines.append(f"| {fault} | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _shown(cell: Cell | None, results: Mapping[Cell, Result]) -> str:
    if cell is None:
        return ""
    result = results.get(cell)
    if result is None:
        return "…"
    if result.wrong:
        return "**LOST**"
    outcome, _, code = result.outcome.partition(" ")
    return "done" if outcome == "Done" else f"*{code.partition(' ')[0]}*"
