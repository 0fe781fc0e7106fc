"""A preflight as one HTML file: no script, nothing from elsewhere, for light, dark and paper. All text is escaped."""

from html import escape

from sealring.models.checks import CHECKS
from sealring.models.evidence import Finding, Verdict
from sealring.models.preflight import FindingGroup, NodePreflight, PreflightReport, grouped
from starters.preflight_table import state_of, summary

_WORDS = {Verdict.PASS: "✓", Verdict.WARN: "!", Verdict.FAIL: "✗", Verdict.INCONCLUSIVE: "?"}
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5c6670; --paper: #ffffff; --line: #d5dae0; --soft: #f4f6f8;
  --pass: #1a7f37; --warn: #8a6100; --fail: #b3261e; --inconclusive: #7a4fb5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --dim: #9aa5b1; --paper: #14181d; --line: #353c45;
  --soft: #1d232a; --pass: #57c470; --warn: #e0b03f; --fail: #ff8a80; --inconclusive: #c5a3f5; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 90rem; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.about { color: var(--dim); margin: 0 0 1.5rem; }
p.verdict { border-left: .4rem solid; padding: .6rem 1rem; background: var(--soft); font-weight: 600; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; color: var(--dim); }
.matrix thead th.check { writing-mode: vertical-rl; transform: rotate(180deg); padding: .6rem .1rem; font-size: .85rem;
  white-space: nowrap; font-weight: 400; }
.matrix thead th { vertical-align: bottom; } .matrix table { width: auto; }
.matrix td.sign { text-align: center; font-weight: 700; padding: .35rem .2rem; }
code { font: .9em ui-monospace, monospace; } .dim { color: var(--dim); }
.pass { color: var(--pass); } .warn { color: var(--warn); } .fail { color: var(--fail); }
.inconclusive { color: var(--inconclusive); }
td.state { font-weight: 600; white-space: nowrap; }
td.words { overflow-wrap: anywhere; min-width: 16rem; }
details { margin: .3rem 0; } summary { cursor: pointer; }
@media print { body { margin: 0; max-width: none; font-size: 9pt; } tr { break-inside: avoid; }
  .wide { overflow: visible; } .matrix { font-size: 7pt; } details::details-content { content-visibility: visible; } }
"""


def page(report: PreflightReport) -> str:
    """The whole page."""
    verdict = Verdict.PASS if report.ready else Verdict.FAIL
    title = f"Preflight of {report.cluster}"
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f"<h1>{escape(title)}</h1>",
            _about(report),
            f'<p class="verdict {verdict.value}">{escape(summary(report))}</p>',
            _findings(report),
            _matrix(report),
            _evidence(report),
            "</body>\n</html>\n",
        ]
    )


def _about(report: PreflightReport) -> str:
    seconds = (report.finished_at - report.started_at).total_seconds()
    facts = [
        f"{report.started_at:%Y-%m-%d %H:%M:%S} UTC, {seconds:.0f} s",
        f"delivery {report.material.path}" + (f" (digest {report.material.digest})" if report.material.digest else ""),
        *([f"asked for by {report.requester}"] if report.requester else []),
        "nothing was changed on any node",
    ]
    return f'<p class="about">{escape("; ".join(facts))}</p>'


def _findings(report: PreflightReport) -> str:
    groups = [group for group in grouped(report.all_findings) if group.finding.verdict is not Verdict.PASS]
    if not groups and not report.notes:
        return '<h2>Findings</h2>\n<p class="pass">Every check passed.</p>'
    rows = [_finding(group, report) for group in groups]
    rows += [
        f'<tr><td class="state warn">waiver</td><td><code>{escape(note.check)}</code></td>'
        f'<td>{escape(note.node)}</td><td class="words">{escape(note.message)}</td><td></td></tr>'
        for note in report.notes
    ]
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", "check", "where", "found", "what to do"))
    body = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody>"
    return f'<h2>Findings</h2>\n<div class="wide"><table>{body}</table></div>'


def _finding(group: FindingGroup, report: PreflightReport) -> str:
    finding, nodes = group.finding, group.nodes
    where = escape(", ".join(nodes)) if nodes else "the ring"
    if len(nodes) > 1:
        where = f'<strong>{len(nodes)} nodes</strong><br><span class="dim">{where}</span>'
    remedy = (
        f'{escape(finding.remedy)} <span class="dim">({escape(finding.actor.value)})</span>' if finding.remedy else ""
    )
    state = state_of(group, report)
    colour = Verdict.WARN if state == "waived" else finding.verdict
    return (
        f'<tr><td class="state {colour.value}">{escape(state)}</td>'
        f"<td><code>{escape(finding.check)}</code></td><td>{where}</td>"
        f'<td class="words">{escape(finding.message)}</td><td class="words">{remedy}</td></tr>'
    )


def _matrix(report: PreflightReport) -> str:
    checks = report.checks
    if not checks:
        return ""
    head = '<th scope="col">node</th><th scope="col">place</th>' + "".join(
        f'<th scope="col" class="check" title="{escape(_meaning(check))}">{escape(check)}</th>' for check in checks
    )
    rows = "\n".join(
        f'<tr><th scope="row">{escape(node.address)}</th><td class="dim">{escape(node.place)}</td>'
        + "".join(_sign(node.verdict_of(check)) for check in checks)
        + "</tr>"
        for node in report.nodes
    )
    key = " · ".join(f'<span class="{v.value}">{word}</span> {v.value}' for v, word in _WORDS.items())
    return (
        f'<h2>Nodes and checks</h2>\n<p class="dim">{key}; empty: not asked there</p>\n'
        f'<div class="wide matrix"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    )


def _sign(verdict: Verdict | None) -> str:
    if verdict is None:
        return '<td class="sign"></td>'
    return f'<td class="sign {verdict.value}" title="{verdict.value}">{_WORDS[verdict]}</td>'


def _evidence(report: PreflightReport) -> str:
    ring = _list(report.ring)
    nodes = "\n".join(_node(node) for node in report.nodes)
    shown = f"<details><summary>the ring</summary>{ring}</details>" if report.ring else ""
    return f"<h2>Evidence</h2>\n{shown}\n{nodes}"


def _node(node: NodePreflight) -> str:
    also = f'<p class="dim">passed: {escape(", ".join(node.passed))}</p>' if node.passed else ""
    head = f'{escape(node.address)} <span class="dim">{escape(node.place)}, {node.seconds:.1f} s</span>'
    return f"<details><summary>{head}</summary>{_list(node.findings)}{also}</details>"


def _list(findings: tuple[Finding, ...]) -> str:
    rows = "".join(
        f'<tr><td class="state {f.verdict.value}">{_WORDS[f.verdict]}</td><td><code>{escape(f.check)}</code></td>'
        f'<td class="words">{escape(f.message)}</td></tr>'
        for f in findings
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _meaning(check: str) -> str:
    return CHECKS[check].what if check in CHECKS else ""
