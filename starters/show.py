"""How things look in a terminal. Everything here has a --json twin that prints the model itself."""

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sealring.models.base import short
from sealring.models.egress import Egress
from sealring.models.evidence import Finding, Verdict
from sealring.models.issuing import IssueReport
from sealring.models.node import ClusterView
from sealring.models.rollout import NodeOutcome, NodeState, Phase, RolloutReport
from sealring.models.steering import NodeStep, RolloutStatus

STYLES = {
    NodeState.SERVING: "green",
    NodeState.UNCHANGED: "green",
    NodeState.ROLLED_BACK: "yellow",
    NodeState.UNTOUCHED: "yellow",
    NodeState.REFUSED: "red",
    NodeState.BROKEN: "bold red",
    NodeState.ACTIVATING: "cyan",
    NodeState.PREPARING: "cyan",
}
ENDING_STYLES = {Phase.DONE: "green", Phase.REFUSED: "yellow", Phase.FAILED: "red", Phase.ABORTED: "yellow"}
VERDICT_STYLES = {
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
}


def console() -> Console:
    """Standard output; plain and unwrapped when it is no terminal."""
    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = 10_000
    return made


def show_status(status: RolloutStatus, steps: dict[str, NodeStep]) -> RenderableType:
    """The picture that `watch` and `status` draw."""
    style = ENDING_STYLES.get(status.phase, "cyan")
    head = Text.assemble(
        (f"{status.phase.value:<14}", f"bold {style}"), f"{status.goal} on {status.cluster}  {status.percent} %"
    )
    if status.stage:
        head.append(f"  {status.stage}")
    if status.waves:
        head.append(f"  wave {status.wave} of {status.waves}")
    if status.seconds_left is not None:
        head.append(f"  about {status.seconds_left:.0f} s left")
    table = Table(box=None, pad_edge=False, show_header=False)
    for node in status.nodes:
        step = steps.get(node.address)
        doing = " ".join(filter(None, (step.step, *map(str, step.pending)))) if step else ""
        table.add_row(node.address, Text(node.state.value, STYLES.get(node.state, "")), doing, Text(node.problem))
    parts: list[RenderableType] = [head, *map(_waived, status.waived), table]
    if status.decision:
        parts.append(Text(f"decision about {status.decision.node} until {status.decision.deadline:%H:%M:%SZ}", "bold"))
        parts.append(Text(str(status.decision.problem)))
    if status.waiting_for:
        parts.append(Text(f"now: {status.waiting_for}"))
    parts += [Text(f"  {step.step}: {step}", "yellow") for step in status.pending if str(step)]
    if status.problem:
        parts.append(Text(str(status.problem), "red"))
    parts += [Text(f"  {command}", "dim") for command in status.commands]
    parts += [Text(line) for line in status.by_hand]
    return Group(*parts)


def show_findings(findings: tuple[Finding, ...], *, passing: bool = True) -> RenderableType:
    """One line for each check."""
    shown = [finding for finding in findings if passing or finding.verdict is not Verdict.PASS]
    lines = []
    for finding in shown:
        line = Text(f"{finding.verdict.value:<6}", VERDICT_STYLES[finding.verdict])
        line.append(f"{finding.check}  {finding.node}  {finding.message}", "default")
        lines.append(line.append(f". {finding.remedy}", "dim") if finding.remedy else line)
    return Group(*lines)


def show_issued(report: IssueReport) -> RenderableType:
    """What was issued for each node, where its key lies, and how to go on or to clean up."""
    lines = []
    for node in report.nodes:
        if node.issued is None:
            lines.append(Text(f"{node.address}  {node.problem}", VERDICT_STYLES[Verdict.FAIL]))
            continue
        issued = node.issued
        state = "issued" if issued.anew else "kept"
        line = Text(f"{node.address}  {state}  leaf {short(issued.leaf.sha256)} until {issued.leaf.not_after:%Y-%m-%d}")
        lines.append(line.append(f"; its key lies in {issued.key_at}", "dim"))
        lines += [Text(f"  {f.check}: {f.message}. {f.remedy}", VERDICT_STYLES[f.verdict]) for f in issued.findings]
    if report.complete:
        go_on = f"sealring rollout start {report.cluster} -m {report.path}"
        lines.append(Text(f"go on with: {go_on}. Keys not wanted after all: remove those folders on the nodes", "dim"))
    return Group(*lines)


def show_view(view: ClusterView) -> RenderableType:
    """A ring as `cluster inspect` shows it."""
    table = Table(box=None, pad_edge=False)
    for column in ("node", "place", "version", "state", "layout", "reload", "generation", "leaf served", "problem"):
        table.add_column(column)
    for seen in view.nodes:
        state = ("U" if seen.up else "D") + ("N" if seen.normal else "?")
        table.add_row(
            seen.node.address,
            f"{seen.node.datacenter}/{seen.node.rack}",
            seen.version,
            state,
            "?" if seen.problem else seen.layout,
            "?" if seen.problem else "; ".join(seen.restart_because) or seen.reload,
            short(seen.current.id) if seen.current else "?" if seen.problem else "not kept yet",
            ", ".join(short(leaf) for leaf in seen.served),
            Text(seen.problem, "red"),
        )
    observers = f"{view.cluster}, observed from {', '.join(view.observers)} over {view.source}"
    return Group(Text(observers, "bold"), table)


def show_egress(found: Egress) -> RenderableType:
    """What must be open, one line for each target."""
    table = Table(box=None, pad_edge=False)
    for column in ("from", "to", "port", "for"):
        table.add_column(column)
    for target in found.targets:
        table.add_row(target.origin, target.host, str(target.port), target.purpose)
    parts: list[RenderableType] = [table, Text(f"PermitOpen {' '.join(found.permit_open)}")]
    if found.unread:
        parts.append(Text(f"listeners not known, host not read: {', '.join(found.unread)}", "red"))
    return Group(*parts)


def show_report(report: RolloutReport) -> RenderableType:
    """The end of a rollout: outcome, nodes with timings, what was found, the served-certificate matrix."""
    style = ENDING_STYLES.get(report.outcome, "cyan")
    seconds = (report.finished_at - report.started_at).total_seconds() if report.finished_at else None
    took = f" in {seconds:.0f} s" if seconds is not None else ""
    parts: list[RenderableType] = [
        Text(f"{report.outcome.value}: {report.goal} on {report.cluster}{took}", f"bold {style}")
    ]
    if report.problem:
        parts.append(Text(str(report.problem), "red"))
    nodes = Table(box=None, pad_edge=False, show_header=False)
    for node in report.nodes:
        steps = " ".join(f"{t.step} {t.seconds:.1f}s" for t in node.timings)
        state = Text(node.state.value, STYLES.get(node.state, ""))
        nodes.add_row(node.address, state, node.method, steps)
    parts.append(nodes)
    parts += [
        Text(str(node.problem), "red") for node in report.nodes if node.problem and node.problem != report.problem
    ]
    parts += [show_findings(_findings(node), passing=False) for node in report.nodes]
    parts += [_waived(str(waiver)) for waiver in report.waived]
    parts += [Text(line) for line in report.by_hand]
    if report.matrix:
        parts += [Text("served certificates (leaf fingerprints)", "bold"), _matrix(report)]
    return Group(*parts)


def _waived(waiver: str) -> Text:
    return Text(f"WAIVED: {waiver}", "bold yellow")


def _findings(node: NodeOutcome) -> tuple[Finding, ...]:
    """What was found on a node that did not reach its goal, and what else deserves a look."""
    proof = node.verification.findings if node.verification else ()
    return tuple(dict.fromkeys(node.findings + proof))


def _matrix(report: RolloutReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("node", "", "intended", "on disk", "listener", "seen from: served"):
        table.add_column(column)
    for row in report.matrix:
        listeners = dict.fromkeys(str(s.listener.kind) + f" {s.listener.port}" for s in row.served)
        for number, listener in enumerate(listeners):
            seen = Text()
            for served in row.served:
                if f"{served.listener.kind} {served.listener.port}" == listener:
                    good = served.leaf_sha256 == row.intended
                    leaf = short(served.leaf_sha256) if served.leaf_sha256 else served.problem
                    seen.append(f"{served.vantage}: ").append(f"{leaf}  ", "green" if good else "red")
            sign = Text("ok", "green") if row.consistent else Text("differs", "red")
            first = (row.address, sign, short(row.intended), short(row.on_disk)) if number == 0 else ("", "", "", "")
            table.add_row(*first, listener, seen)
    return table
