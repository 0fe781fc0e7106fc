"""A preflight in a terminal: nodes by checks, then what was found, equal findings of many nodes on one line."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sealring.models.checks import CHECKS, Severity, severity_of
from sealring.models.evidence import BLOCKING, Verdict
from sealring.models.preflight import FindingGroup, NodePreflight, PreflightReport, grouped
from starters.show import VERDICT_STYLES

SIGNS = {Verdict.PASS: "·", Verdict.WARN: "w", Verdict.FAIL: "F", Verdict.INCONCLUSIVE: "?"}
MOST_ROWS = 24
SHOWN_NODES = 6  # of a group, by name; of the others only how many


def show_preflight(report: PreflightReport) -> RenderableType:
    """The verdict, the matrix of what did not pass, the findings with their remedies."""
    troubled = [check for check in report.checks if any(_odd(node.verdict_of(check)) for node in report.nodes)]
    parts: list[RenderableType] = [_head(report)]
    if troubled:
        parts.append(_matrix(report, troubled))
    quiet = len(report.checks) - len(troubled)
    parts.append(Text(f"{quiet} checks passed on every node that was looked at", "green"))
    for group in grouped(report.all_findings):
        if group.finding.verdict is not Verdict.PASS:
            parts += _group(group, report)
    parts += [Text(f"WAIVED: {note.message}", "bold yellow") for note in report.notes]
    return Group(*parts)


def state_of(group: FindingGroup, report: PreflightReport) -> str:
    """What a finding means for a rollout: blocker, needs-waiver, waived, warning, passed."""
    if group.finding.verdict is Verdict.PASS:
        return "passed"
    if group.finding.verdict not in BLOCKING:
        return Severity.WARNING.value
    if group.finding not in report.standing:
        return "waived"
    severity = severity_of(group.finding.check)
    return (Severity.NEEDS_WAIVER if severity is Severity.WARNING else severity).value


def summary(report: PreflightReport) -> str:
    """One sentence for people."""
    states = [state_of(group, report) for group in grouped(report.all_findings)]
    counts = [
        f"{states.count(state)} {words}"
        for state, words in (
            ("blocker", "blocking"),
            ("needs-waiver", "to be mended or waived"),
            ("waived", "waived"),
            ("warning", "to be known"),
        )
        if states.count(state)
    ]
    verdict = "ready" if report.ready else "not ready"
    nodes = f"{len(report.nodes)} node{'' if len(report.nodes) == 1 else 's'}"
    return f"{verdict}: {report.cluster}, {nodes}; {', '.join(counts) or 'nothing found'}"


def _head(report: PreflightReport) -> Text:
    seconds = (report.finished_at - report.started_at).total_seconds()
    return Text(
        f"{summary(report)}; {seconds:.0f} s, nothing was changed", "bold green" if report.ready else "bold red"
    )


def _odd(verdict: Verdict | None) -> bool:
    return verdict not in (None, Verdict.PASS)


def _matrix(report: PreflightReport, checks: list[str]) -> Group:
    """Nodes by numbered checks; of a larger ring, nodes that look alike are one row."""
    table = Table(box=None, pad_edge=False)
    table.add_column("node")
    table.add_column("place")
    for number in range(1, len(checks) + 1):
        table.add_column(str(number), justify="center")
    alike: dict[tuple[object, ...], list[NodePreflight]] = {}
    for node in report.nodes:
        own = node.address if len(report.nodes) <= MOST_ROWS else ""
        alike.setdefault((own, *(node.verdict_of(check) for check in checks)), []).append(node)
    for first, *others in alike.values():
        verdicts = [first.verdict_of(check) for check in checks]
        signs = [Text(SIGNS[v], VERDICT_STYLES[v]) if v else Text("") for v in verdicts]
        name = f"{first.address} and {len(others)} more like it" if others else first.address
        table.add_row(name, "" if others else first.place, *signs)
    names = "  ".join(f"{number} {check}" for number, check in enumerate(checks, start=1))
    return Group(table, Text(names, "dim"), Text("F failed  ? inconclusive  w warning  · passed", "dim"))


def _group(group: FindingGroup, report: PreflightReport) -> list[Text]:
    finding, nodes = group.finding, group.nodes
    line = Text(f"{state_of(group, report):<13}", VERDICT_STYLES[finding.verdict])
    line.append(f"{finding.check}  ", "default")
    if len(nodes) > 1:
        more = f" and {len(nodes) - SHOWN_NODES} more" if len(nodes) > SHOWN_NODES else ""
        line.append(f"{len(nodes)} nodes ({', '.join(nodes[:SHOWN_NODES])}{more})  ", "bold")
    elif nodes:
        line.append(f"{nodes[0]}  ", "bold")
    line.append(finding.message, "default")
    remedy = finding.remedy or (CHECKS[finding.check].remedy if finding.check in CHECKS else "")
    return [line, Text(f"{'':13}{finding.actor.value}: {remedy}", "dim")] if remedy else [line]
