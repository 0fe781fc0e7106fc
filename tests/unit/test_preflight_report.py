"""A preflight's report: equal findings together, a table for a terminal, a page that is whole, safe and by itself."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from rich.console import Console

from sealring.errors import Actor
from sealring.models.evidence import Finding, Verdict
from sealring.models.material import MaterialRef
from sealring.models.preflight import NodePreflight, PreflightReport, grouped
from sealring.models.waiver import Waiver
from sealring.planning.waivers import weigh
from starters.preflight_page import page
from starters.preflight_table import show_preflight

BEGUN = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVIL = "<script>alert('x')</script> & \"quoted\""
pytestmark = pytest.mark.criterion("F10")


def finding(check: str, verdict: Verdict, node: str = "", message: str = "seen", remedy: str = "mend it") -> Finding:
    passing = verdict is Verdict.PASS
    actor = Actor.NOBODY if passing else Actor.NODE_ADMIN
    return Finding(
        check=check, verdict=verdict, message=message, remedy="" if passing else remedy, actor=actor, node=node
    )


def report(count: int = 9, *, waive: tuple[Waiver, ...] = (), **more: object) -> PreflightReport:
    nodes = []
    for number in range(1, count + 1):
        address = f"10.0.0.{number}"
        found = [
            finding("material.expired", Verdict.PASS, address),
            finding("node.uptime", Verdict.WARN, address, "up for 400 days"),
            finding("material.chain", Verdict.FAIL, address, f"no path for {address}"),
        ]
        if number == 2:
            found.append(finding("material.key-matches-leaf", Verdict.FAIL, address, EVIL))
        nodes.append(NodePreflight(address=address, place=f"dc1/r{number % 3}", findings=tuple(found), seconds=1.5))
    ring = (finding("ring.node-down", Verdict.PASS, message="all seen up"),)
    everything = (*ring, *(f for node in nodes for f in node.findings))
    weighed = weigh(everything, waive, BEGUN)
    return PreflightReport.model_validate(
        {
            "cluster": "lab",
            "material": MaterialRef(path=f"/deliveries/{EVIL[:8]}"),
            "ring": ring,
            "nodes": tuple(nodes),
            "standing": weighed.standing,
            "waived": waive,
            "notes": weighed.notes,
            "started_at": BEGUN,
            "finished_at": BEGUN + timedelta(seconds=12),
            **more,
        }
    )


class Reader(HTMLParser):
    """Balance of tags, and what a page would fetch or run."""

    VOID = frozenset(["meta", "br"])

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.outside += [f"{n}={v}" for n, v in attrs if n in ("src", "href", "srcset", "action") or n.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def shown(made: PreflightReport) -> str:
    console = Console(width=200, record=True, color_system=None)
    with console.capture() as capture:
        console.print(show_preflight(made))
    return capture.get()


def test_equal_findings_of_many_nodes_are_one() -> None:
    groups = {(g.finding.check, g.finding.verdict): len(g.nodes) for g in grouped(report().all_findings)}
    assert groups["material.chain", Verdict.FAIL] == 9, "the node's own address does not make it another finding"
    assert groups["node.uptime", Verdict.WARN] == 9
    assert groups["material.key-matches-leaf", Verdict.FAIL] == 1
    verdicts = [group.finding.verdict for group in grouped(report().all_findings)]
    assert verdicts == sorted(verdicts, key=[Verdict.FAIL, Verdict.WARN, Verdict.PASS].index), "the worst first"


def test_the_terminal_shows_nodes_by_checks_and_each_finding_once() -> None:
    text = shown(report())
    assert text.startswith("not ready: lab, 9 nodes; 1 blocking, 1 to be mended or waived, 1 to be known; 12 s")
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith("node "))
    assert head.split() == ["node", "place", "1", "2", "3"]
    assert "1 node.uptime  2 material.chain  3 material.key-matches-leaf" in text, "not what passed everywhere"
    row = next(line.split() for line in lines if line.startswith("10.0.0.2 "))
    assert sorted(row[2:]) == ["F", "F", "w"]
    (chain,) = [line for line in lines if line.startswith("needs-waiver")]
    assert "9 nodes (10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5, 10.0.0.6 and 3 more)" in chain
    assert [line for line in lines if line.startswith("blocker")] != []
    assert "node-admin: mend it" in text


def test_nodes_of_a_large_ring_that_look_alike_are_one_row() -> None:
    rows = [line for line in shown(report(40)).splitlines() if line.startswith("10.0.0.")]
    assert [row.split("   ")[0] for row in rows] == ["10.0.0.1 and 38 more like it", "10.0.0.2"]


@pytest.mark.criterion("F9")
def test_a_waiver_leaves_the_blocker_standing_and_is_told() -> None:
    made = report(waive=(Waiver(code="material.chain", reason="both roots are out"),))
    assert {f.check for f in made.standing} == {"material.key-matches-leaf"}
    text = shown(made)
    assert "1 blocking, 1 waived" in text
    assert "both roots are out" in text
    assert not made.ready


def test_the_page_is_whole_safe_and_by_itself() -> None:
    text = page(report(3))
    reader = read(text)
    assert reader.outside == [], "nothing is fetched and nothing runs"
    assert "script" not in reader.tags
    assert not {"link", "img", "iframe", "object"} & set(reader.tags)
    assert "@import" not in text
    assert "url(" not in text
    assert EVIL in reader.text, "as text"
    assert "<script" not in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    for said in ("10.0.0.3", "dc1/r2", "material.chain", "needs-waiver", "blocker", "mend it", "nothing was changed"):
        assert said in reader.text


def test_a_large_ring_keeps_codes_of_what_passed_and_stays_small() -> None:
    checks = tuple(f"node.check-number-{i}" for i in range(45))
    nodes = tuple(
        NodePreflight(address=f"10.0.{i // 250}.{i % 250}", place="dc1/r1", passed=checks) for i in range(1000)
    )
    made = report(1, nodes=nodes, standing=(), ring=())
    assert len(made.model_dump_json()) < 2_000_000
    assert made.ready
    assert nodes[0].verdict_of(checks[3]) is Verdict.PASS
    assert nodes[0].verdict_of("node.other") is None
    assert "ready: lab, 1000 nodes; nothing found" in shown(made)


def test_a_page_without_findings_says_so() -> None:
    good = NodePreflight(address="10.0.0.1", place="dc1/r1", findings=(finding("node.stores", Verdict.PASS),))
    assert "Every check passed." in read(page(report(1, nodes=(good,), standing=(), ring=()))).text
