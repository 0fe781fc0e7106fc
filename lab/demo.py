"""`make demo`: a real ring under client load gets new certificates, refuses bad ones and takes one back.

Every step is a command that an operator would type; it is shown, run, and its exit code and effect are checked.
"""

import hashlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import lifecycle, tools
from lab.authority import Authority, Fault, deliver
from lab.load import LoadProcess
from lab.spec import UI_ABOVE, LabSpec
from sealring.errors import SealringError, refuse
from sealring.models.rollout import RolloutReport
from starters.exits import Exit

RATE = 60.0  # requests a second: 20 a node, steady enough to notice a stumble of a second


@dataclass(frozen=True)
class Demo:
    """The lab and how to speak to the engine in it."""

    spec: LabSpec
    settings: Path
    begun: float

    def say(self, text: str) -> None:
        """One line of the narration, with the seconds since the beginning."""
        print(f"[{time.monotonic() - self.begun:5.1f} s] {text}", flush=True)

    def sealring(self, *words: str, expect: Exit) -> None:
        """Type a command: show it, run it, compare its exit code.

        Raises:
            SealringError: `demo.unexpected`.
        """
        print(f"\n$ sealring {shlex.join(words)}", flush=True)
        status = subprocess.run(self._command(*words), env=self._environment(), check=False).returncode
        if status != expect:
            raise refuse("demo.unexpected", f"exit code {status}, expected {expect.value} ({expect.name})", "see above")
        print(f"(exit code {status}: {expect.name.lower()})", flush=True)

    def report(self) -> RolloutReport:
        """The last rollout's report."""
        words = ("rollout", "report", "lab", "--json")
        done = subprocess.run(self._command(*words), env=self._environment(), capture_output=True, check=False)
        return RolloutReport.model_validate_json(done.stdout)

    def deliver(self, name: str, faults: Mapping[str, Fault] | None = None) -> str:
        """New certificates for every node, as a PKI would deliver them."""
        folder = f"{name}-{time.time_ns() // 1_000_000}"
        return str(deliver(self.spec, Authority.open(self.spec.authority), folder, faults=faults or {}))

    def _command(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).parent / "sealring"), *words]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "SEALRING_CONFIG": str(self.settings)}


def main() -> None:
    """Run the demo; exit code 0 only when all went as it should and no query failed."""
    spec = LabSpec(tools.PROJECT / ".lab")
    demo = Demo(spec, spec.root / "sealring.toml", time.monotonic())
    try:
        bring_up(demo)
        load = LoadProcess(spec, rate=RATE)
        demo.say(f"client load: {RATE:.0f} reads and writes a second at LOCAL_QUORUM over TLS")
        load.start()
        try:
            tell(demo)
        finally:
            summary = load.stop()
    except SealringError as error:
        print(f"demo failed: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("\ndemo interrupted; stop the lab with: make lab down", file=sys.stderr)
        raise SystemExit(130) from None
    print()
    demo.say(
        f"the load: {summary.queries} queries, {summary.retried} retried, {summary.failed} failed, "
        f"{summary.wrong} wrong answers; p50 {summary.p50_ms:.0f} ms, p99 {summary.p99_ms:.0f} ms, "
        f"worst {summary.max_ms:.0f} ms"
    )
    print(f"look at it: http://127.0.0.1:{spec.temporal_port + UI_ABOVE} (Temporal UI)")
    print(f"go on:      export SEALRING_CONFIG={demo.settings.relative_to(tools.PROJECT)}; {_program()} --help")
    print("stop it:    make lab down")
    good = summary.failed == 0 and summary.wrong == 0
    print(
        f"demo {'ok' if good else 'failed'}: nodes={len(spec.ring)} listeners={2 * len(spec.ring)} "
        f"queries={summary.queries} retried={summary.retried} failed={summary.failed} "
        f"seconds={time.monotonic() - demo.begun:.0f}"
    )
    raise SystemExit(0 if good else 1)


def bring_up(demo: Demo) -> None:
    """Ring, SSH servers and engine; what runs already is kept."""
    demo.say(f"a real ring: {len(demo.spec.ring)} nodes of Cassandra {demo.spec.cassandra}, mutual TLS everywhere")
    lifecycle.up(demo.spec, demo.say)


def tell(demo: Demo) -> None:
    """The story."""
    demo.sealring("cluster", "inspect", "lab", expect=Exit.DONE)

    title("1. new certificates by reload, a rack at a time")
    reloaded = demo.deliver("by-reload")
    demo.sealring(
        "rollout", "start", "lab", "-m", reloaded, "--apply", "reload", "--strategy", "zone-aware", expect=Exit.DONE
    )
    proven(demo)

    title("2. new certificates by drain and restart, node by node")
    restarted = demo.deliver("by-restart")
    demo.sealring("rollout", "start", "lab", "-m", restarted, "--apply", "restart", expect=Exit.DONE)
    proven(demo)

    victim = demo.spec.ring[1].address
    title(f"3. a delivery with a wrong key for {victim}: refused, nothing is touched")
    wrong = demo.deliver("wrong-key", {victim: "wrong-key"})
    untouched(demo, lambda: demo.sealring("rollout", "start", "lab", "-m", wrong, expect=Exit.REFUSED))

    title(f"4. a certificate for {victim} that its peers refuse, with the offline checks switched off: taken back")
    foreign = demo.deliver("foreign", {victim: "foreign-ca"})
    waive = ("--waive", "material.chain", "--waive", "material.trusted-by-peers", "--waive", "trust.states")
    demo.sealring("rollout", "start", "lab", "-m", foreign, "--nodes", victim, *waive, expect=Exit.FAILED)
    taken_back(demo, victim)


def title(text: str) -> None:
    """A new chapter."""
    print(f"\n== {text}", flush=True)


def proven(demo: Demo) -> None:
    """Every listener of every node must show the intended leaf to every vantage."""
    matrix = demo.report().matrix
    if len(matrix) != len(demo.spec.ring) or not all(row.consistent and row.served for row in matrix):
        raise refuse("demo.not-proven", "the matrix shows a listener without the new certificate", "see above")


def untouched(demo: Demo, attempt: Callable[[], None]) -> None:
    """No store on any node may differ after the attempt."""
    before = _stores(demo.spec)
    attempt()
    if _stores(demo.spec) != before:
        raise refuse("demo.touched", "a store was changed by a refused delivery", "see above")
    demo.say("every store on every node is bit for bit what it was")


def taken_back(demo: Demo, victim: str) -> None:
    """The node must have been rolled back, proven by a verification."""
    node = next(n for n in demo.report().nodes if n.address == victim)
    if node.state != "rolled-back" or node.verification is None or node.verification.verdict != "pass":
        raise refuse("demo.not-taken-back", f"{victim} ended {node.state.value}", "see above")
    demo.say(f"{victim} was rolled back by itself and serves its previous certificate, seen from every vantage")


def _stores(spec: LabSpec) -> dict[str, str]:
    files = [node.tls / name for node in spec.ring for name in ("keystore.p12", "truststore.p12")]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _program() -> str:
    program = Path(sys.executable).parent / "sealring"
    return str(program.relative_to(tools.PROJECT)) if program.is_relative_to(tools.PROJECT) else "sealring"


if __name__ == "__main__":
    main()
