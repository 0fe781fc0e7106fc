"""The same delivery by sealring and by what people use, on the same hosts, in turns: `make bench FLEET=100`."""

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial

from bench.competitors.tools import run_ansible, run_bare, run_pyinfra
from bench.fleet import Fleet, hosts
from bench.measure import Figure, Measured
from bench.own import sealring
from bench.report import write_report
from bench.results import keep_fleet

ANSIBLE_AGAIN = 20
"""Up to this many hosts Ansible runs as often as the others."""


def race(nodes: int, left_out: Collection[str] = ()) -> None:
    """Run all tools in turns, print every run, and one line at the end."""
    runs: dict[str, list[Measured]] = {}
    with ExitStack() as stack:
        fleet = stack.enter_context(hosts(nodes))
        tools = {"sealring": stack.enter_context(sealring(nodes))}
        tools |= {name: partial(compete, fleet, tool) for name, tool in RIVALS.items() if name not in left_out}
        for turn in range(rounds(nodes)):
            for name, tool in tools.items():
                if name == "ansible" and turn and nodes > ANSIBLE_AGAIN:
                    continue  # many minutes, and the ratio needs no decimals
                measured = tool()
                runs.setdefault(name, []).append(measured)
                tell(nodes, turn, name, measured)
    words = " ANSIBLE=0" if "ansible" in left_out else ""
    keep_fleet(nodes, f"make bench FLEET={nodes}{words}", runs)
    write_report()
    print(last_line(nodes, runs))


def rounds(nodes: int) -> int:
    """How often each tool runs."""
    return 3 if nodes <= 300 else 2


def tell(nodes: int, turn: int, name: str, measured: Measured) -> None:
    """One run in one line."""
    print(
        f"n={nodes} round {turn + 1} {name}: {measured.seconds:.1f} s, a host: "
        f"controller {1000 * measured.controller / nodes:.0f} ms CPU, "
        f"target {1000 * measured.target / nodes:.0f} ms CPU; "
        f"largest controller process {measured.rss / 2**20:.0f} MiB",
        flush=True,
    )


def last_line(nodes: int, runs: Mapping[str, list[Measured]]) -> str:
    """The line that others read: medians of wall seconds; `-` for a tool that did not run."""

    def seconds(name: str) -> str:
        return f"{Figure(tuple(m.seconds for m in runs[name])).median:.1f}s" if name in runs else "-"

    own = [1000 * m.controller / nodes for m in runs.get("sealring", ())]
    cpu = f"{Figure(tuple(own)).median:.0f}" if own else "-"
    words = " ".join(f"{name}={seconds(name)}" for name in ("sealring", "bare", "pyinfra", "ansible"))
    return f"fleet n={nodes} {words} controller_cpu_ms_per_host={cpu}"


def compete(fleet: Fleet, tool: Callable[[Fleet], Measured]) -> Measured:
    """One run of a rival on hosts that serve an old generation; what it did to them is looked at."""
    expected = fleet.begin()
    measured = tool(fleet)
    expected.check(fleet)
    return measured


RIVALS: Mapping[str, Callable[[Fleet], Measured]] = {"bare": run_bare, "pyinfra": run_pyinfra, "ansible": run_ansible}
