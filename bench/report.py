"""docs/performance.md and docs/plots/*.svg, from what `bench.results` keeps."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench import plots, results
from bench.competitors.environments import version
from bench.measure import Figure, Measured
from lab.tools import PROJECT

PAGE = PROJECT / "docs" / "performance.md"
PLOTS = PROJECT / "docs" / "plots"

Runs = Mapping[str, Sequence[Measured]]

_HEAD = """# Performance

Written by `make bench`; the figures are in [performance.json](performance.json). Medians, with the least and the
greatest run in brackets. Clients, servers and hosts share the cores of one machine, with whatever else runs there:
read ratios and CPU; wall times follow the machine.
"""

_BESIDE = f"""
## Beside what people use

Every host is a real OpenSSH server with an address, a host key and a configuration of its own. Each tool brings four
files of 3–4 KB to each host: keeps the old ones, checks SHA-256 digests on the host after fsync, replaces them by
renames and calls the reload command once; this is checked after every run. Tools run in turns.

- `sealring`: Temporal server, codec, workers as processes of their own, every check and verification on; timed from
  `sealring rollout start` to its end. A [stand-in](lab.md) speaks TLS and CQL for the nodes; its CPU is the ring's. Its
  hosts are as many others, of the same kind. Faster than its defaults in this: waves by rack, 64 nodes and 32
  logins at once, no wait after a wave ([source](../bench/own.py)).
- `bare`: a script with asyncssh, one command a host, 32 hosts at once ([source](../bench/competitors/bare.py)).
- `pyinfra` {version("pyinfra", "pyinfra")}, 32 hosts at once ([source](../bench/competitors/pyinfra_deploy.py)).
- `ansible` (ansible-core {version("ansible", "ansible-core")}), 20 forks, pipelining, ControlPersist
  ([source](../bench/competitors/playbook.yml)).

Controller CPU is all processes of the tool; target CPU is sshd and every command in its sessions; `others` is the
share of the machine that went to whatever else ran there meanwhile.
"""


MEASURED_AT = 100
"""Hosts, at which the targets are stated."""

_WHY = """
Where these are missed, this is where it goes. The others deliver and are done; here each host is looked at before
(configuration, rights, room, clock, every listener from every vantage) and after (every listener from every vantage,
twice), and the whole ring before each wave: 18 TLS handshakes and 23 short scripts a host, each in its own session.
Two child workflows with eight activities a host (`temporal` and `control` above) are half of the controller's CPU:
they are what a step is resumed from, and what the Temporal UI shows. Fewer and larger activities, and one script a
phase, are the levers that are left.
"""


def write_report() -> None:
    """Write page and plots anew."""
    kept = results.kept()
    PLOTS.mkdir(exist_ok=True)
    fleets = {int(n): fleet for n, fleet in kept.get("fleets", {}).items()}
    text = [_HEAD]
    if fleets:
        text += _beside({n: fleets[n] for n in sorted(fleets)})
    for name, part in sorted(kept.get("parts", {}).items()):
        text += [f"\n## {name}\n", f"`{part['command']}` on {part['on']}.\n", "| what | measured | |", "|---|---|---|"]
        text += [
            f"| {line['what']} | {Figure(tuple(line['runs']))} {line['unit']} | {line['note']} |"
            for line in part["lines"]
        ]
    PAGE.write_text("\n".join(text) + "\n")


def _beside(fleets: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Everything about the fleets."""
    races = {n: {name: [Measured(**m) for m in each] for name, each in f["runs"].items()} for n, f in fleets.items()}
    text = [_BESIDE]
    for n, race in races.items():
        text += [f"\n### {n} hosts\n", f"`{fleets[n]['command']}` on {fleets[n]['on']}.\n", *_table(n, race)]
        if n == MEASURED_AT and "sealring" in race:
            text += _targets(race)
    text += _growth(races)
    _draw(races)
    text += ["\n![wall time by fleet size](plots/fleet-wall.svg)\n", "![CPU per host](plots/fleet-cpu.svg)"]
    return text


def _table(nodes: int, race: Runs) -> list[str]:
    names = sorted({name for runs in race.values() for m in runs for name in m.more})
    head = ["tool", "runs", "wall s", "× bare", "controller CPU ms/host", "target CPU ms/host"]
    head += ["largest process MiB", "others"]
    bare = _median(race, "bare", lambda m: m.seconds)
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, runs in race.items():
        seconds = Figure(tuple(m.seconds for m in runs))
        cells = [
            name,
            str(len(runs)),
            str(seconds),
            f"{seconds.median / bare:.1f}" if bare else "",
            str(Figure(tuple(1000 * m.controller / nodes for m in runs))),
            str(Figure(tuple(1000 * m.target / nodes for m in runs))),
            f"{max(m.rss for m in runs) / 2**20:.0f}",
            f"{statistics.median(m.others for m in runs):.0%}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    more = [
        f"| {name} | {tool} | {Figure(tuple(m.more[name] for m in runs if name in m.more))} |"
        for tool, runs in race.items()
        for name in names
        if any(name in m.more for m in runs)
    ]
    return rows + (["\n| of that | tool | |", "|---|---|---|", *more] if more else [])


def _targets(race: Runs) -> list[str]:
    """What was wanted beside what is."""
    own = _seconds(race, "sealring")
    cpu = 1000 * _median(race, "sealring", lambda m: m.controller) / MEASURED_AT
    rows = [f"| controller CPU, ms/host | ≤ 200 | {cpu:.0f} |"]
    if "bare" in race:
        rows.append(f"| wall time, times that of the bare script | ≤ 2.5 | {own / _seconds(race, 'bare'):.1f} |")
    if "pyinfra" in race:
        rows.append(f"| wall time, times that of pyinfra | ≤ 1 | {own / _seconds(race, 'pyinfra'):.1f} |")
    if "ansible" in race:
        rows.append(f"| times faster than Ansible | ≥ 25 | {_seconds(race, 'ansible') / own:.1f} |")
    return ["\n| target | wanted | measured |", "|---|---|---|", *rows, _WHY]


def _growth(races: Mapping[int, Runs]) -> list[str]:
    """How wall time grows from the hundred to the thousand."""
    if not {100, 1000} <= set(races):
        return []
    both = [name for name in races[1000] if name in races[100]]
    rows = [f"| {name} | {_seconds(races[1000], name) / _seconds(races[100], name):.1f} |" for name in both]
    return ["\n### t1000 / t100\n", "| tool | |", "|---|---|", *rows]


def _draw(races: Mapping[int, Runs]) -> None:
    names = list(dict.fromkeys(name for race in races.values() for name in race))
    curves = {name: [(float(n), _seconds(race, name)) for n, race in races.items() if name in race] for name in names}
    (PLOTS / "fleet-wall.svg").write_text(plots.lines("One generation to a fleet", "hosts", "wall time, s", curves))
    largest = 100 if 100 in races else max(races)
    race = races[largest]
    columns = {
        name: {
            "controller": 1000 * _median(race, name, lambda m: m.controller) / largest,
            "target": 1000 * _median(race, name, lambda m: m.target) / largest,
        }
        for name in race
        if name != "ansible"  # forty times the others: they would be lines on the floor
    }
    title = f"CPU a host, {largest} hosts (without Ansible)"
    (PLOTS / "fleet-cpu.svg").write_text(plots.bars(title, "ms", columns))


def _seconds(race: Runs, name: str) -> float:
    return _median(race, name, lambda m: m.seconds)


def _median(race: Runs, name: str, what: Callable[[Measured], float]) -> float:
    return statistics.median(map(what, race[name])) if name in race else 0.0
