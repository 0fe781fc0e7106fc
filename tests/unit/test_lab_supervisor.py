"""The lab's service manager on a fake service: it must behave as systemd does, crash loops included."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from lab.node_config import systemctl as systemctl_script
from lab.service_client import Answer, systemctl
from lab.spec import NodeSpec
from lab.state import start_ticks
from lab.supervisor import Unit

T = TypeVar("T")
STAYS = "exec sleep 60"
RESTART_S = 0.2


def until(ask: Callable[[], T], good: Callable[[T], bool], timeout: float = 60.0) -> T:
    end = time.monotonic() + timeout
    while not good(answer := ask()):
        assert time.monotonic() < end, f"still {answer!r} after {timeout} s"
        time.sleep(0.02)
    return answer


class Manager:
    """A service manager in a process of its own, and what `systemctl` says about its service."""

    def __init__(self, home: Path, script: str, stop_timeout_s: float = 5.0, restart_s: float = RESTART_S) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        Unit(
            ["sh", "-c", script], {"PATH": os.environ["PATH"]}, str(home), str(home / "log"), stop_timeout_s, restart_s
        ).save(home)
        self.process = subprocess.Popen([sys.executable, "-m", "lab.supervisor", str(home)])
        until(lambda: self("is-enabled", "cassandra").code, lambda code: code == 0)

    def __call__(self, *arguments: str) -> Answer:
        return systemctl(str(self.home), *arguments)

    def show(self, name: str) -> str:
        return self("show", "cassandra", "-p", name, "--value").out.strip()

    def pid(self) -> int:
        return int(self.show("MainPID"))


@pytest.fixture
def manage(tmp_path: Path) -> Iterator[Callable[..., Manager]]:
    managers: list[Manager] = []

    def start(script: str = STAYS, home: Path = tmp_path / "node", **options: float) -> Manager:
        managers.append(Manager(home, script, **options))
        return managers[-1]

    yield start
    for manager in managers:
        manager.process.kill()
        manager.process.wait()


def test_start_stop_restart_answer_as_systemd_does(manage: Callable[..., Manager]) -> None:
    run = manage()
    first = run.pid()
    assert run("is-active", "cassandra") == Answer(0, "active\n", "")
    assert run("restart", "cassandra.service") == Answer(0, "", "")
    assert run.pid() not in (0, first)
    assert start_ticks(first) is None
    assert run("stop", "cassandra").code == 0
    assert run("is-active", "cassandra") == Answer(3, "inactive\n", "")
    assert (run.show("MainPID"), run.show("SubState"), run.show("Result")) == ("0", "dead", "success")
    assert run("start", "cassandra").code == 0
    assert run("is-active", "cassandra.service", "--quiet") == Answer(0, "", "")


def test_what_dies_is_started_again_and_counted(manage: Callable[..., Manager]) -> None:
    run = manage()
    first = run.pid()
    began = int(run.show("ExecMainStartTimestampMonotonic"))
    assert run("kill", "-s", "KILL", "cassandra").code == 0
    second = until(run.pid, lambda pid: pid not in (0, first))
    assert run.show("NRestarts") == "1"
    assert int(run.show("ExecMainStartTimestampMonotonic")) >= began + RESTART_S * 1e6
    assert start_ticks(second) is not None
    run("restart", "cassandra")
    assert run.show("NRestarts") == "0"  # asked for, so not counted


def test_a_service_that_cannot_start_crash_loops_while_restart_says_ok(manage: Callable[..., Manager]) -> None:
    run = manage("exit 3")
    until(lambda: int(run.show("NRestarts")), lambda count: count >= 3)
    until(lambda: run("is-active", "cassandra"), lambda answer: answer == Answer(3, "activating\n", ""))
    assert run("restart", "cassandra").code == 0  # Type=simple: started is all it promises
    until(
        lambda: run("show", "cassandra", "-p", "Result,ExecMainStatus,SubState").out,
        lambda out: out == "Result=exit-code\nExecMainStatus=3\nSubState=auto-restart\n",
    )


def test_a_crash_loop_that_is_stopped_stays_stopped(manage: Callable[..., Manager]) -> None:
    rest = 3.0
    run = manage("exit 3", restart_s=rest)
    until(lambda: run("is-active", "cassandra"), lambda answer: answer == Answer(3, "activating\n", ""))
    run("stop", "cassandra")
    assert run.show("ActiveState") == "inactive"
    time.sleep(2 * rest)  # nothing to wait for: it must stay stopped
    assert run.show("MainPID") == "0"


def test_a_missing_program_crash_loops_too(manage: Callable[..., Manager], tmp_path: Path) -> None:
    run = manage()
    run.process.kill()
    run.process.wait()
    unit = json.loads((tmp_path / "node/unit.json").read_text())
    (tmp_path / "node/unit.json").write_text(json.dumps(unit | {"argv": ["/nonexistent"]}))
    run.process = subprocess.Popen([sys.executable, "-m", "lab.supervisor", str(run.home)])
    until(lambda: run.show("ExecMainStatus"), lambda status: status == "203")


def test_what_ignores_sigterm_is_killed_after_the_timeout(manage: Callable[..., Manager]) -> None:
    run = manage("trap '' TERM; echo deaf; while :; do sleep 0.05; done", stop_timeout_s=0.3)
    until(lambda: (run.home / "log").read_text(), lambda log: "deaf" in log)
    pid = run.pid()
    assert run("stop", "cassandra").code == 0
    assert start_ticks(pid) is None
    assert run.show("ActiveState") == "failed"
    assert run.show("Result") == "signal"
    assert run("start", "cassandra").code == 0
    assert run("is-active", "cassandra").code == 0


def test_the_service_dies_with_its_manager_even_by_kill_9(manage: Callable[..., Manager]) -> None:
    run = manage()
    pid = run.pid()
    run.process.kill()
    run.process.wait()
    until(lambda: start_ticks(pid), lambda ticks: ticks is None)
    answer = run("is-active", "cassandra")
    assert answer.code == 1
    assert answer.err.startswith("Failed to connect to bus: ")


def test_sigterm_stops_the_service_first(manage: Callable[..., Manager]) -> None:
    run = manage()
    pid = run.pid()
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(timeout=60) == 0
    assert start_ticks(pid) is None
    assert json.loads((run.home / "service.json").read_text())["active"] == "inactive"


def test_show_prints_key_value_lines_and_knows_its_units(manage: Callable[..., Manager]) -> None:
    run = manage()
    shown = run("show", "cassandra", "--property=ActiveState,MainPID", "-p", "NRestarts").out
    assert shown == f"MainPID={run.pid()}\nNRestarts=0\nActiveState=active\n"
    assert "LoadState=not-found" in run("show", "other").out
    assert run("restart", "other").code == 5
    assert run("status", "other").code == 4
    assert run("frobnicate", "cassandra") == Answer(1, "", "Unknown command verb frobnicate.\n")
    assert "Restart=always" in run("cat", "cassandra").out
    assert f"ExecStart=sh -c {STAYS}" in run("cat", "cassandra").out


def test_the_script_finds_the_manager_in_a_very_deep_folder(manage: Callable[..., Manager], tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 40) / "node with 'quotes'"
    run = manage(home=home)
    script = tmp_path / "systemctl"
    node = NodeSpec("n1", "127.0.0.2", "dc1", "rack1", 7102, home)
    script.write_text(systemctl_script(node))
    done = subprocess.run(
        ["sh", script, "show", "cassandra", "-p", "MainPID"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"MainPID={run.pid()}\n"
    assert subprocess.run(["sh", script, "is-active", "nothing"], capture_output=True, check=False).returncode == 3
