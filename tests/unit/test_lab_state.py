"""The lab's memory of what runs: a pid is ours only when its start time matches."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from lab import state
from lab.spec import LabSpec
from sealring.errors import SealringError


def test_a_recorded_process_is_alive_until_it_ends(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        state.record(tmp_path, "sshd", process.pid)
        assert state.alive(tmp_path) == {"sshd": process.pid}
        process.kill()
    assert state.alive(tmp_path) == {}


def test_a_recycled_pid_is_not_ours_and_is_not_killed(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        state.record(tmp_path, "sshd", process.pid)
        remembered = json.loads((tmp_path / "lab.json").read_text())
        remembered["sshd"]["start_ticks"] -= 1
        (tmp_path / "lab.json").write_text(json.dumps(remembered))
        state.stop(tmp_path, "sshd", timeout=1)
        assert process.poll() is None
        process.kill()


def test_stop_kills_what_ignores_sigterm(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        state.record(tmp_path, "temporal", process.pid)
        begun = time.monotonic()
        state.stop(tmp_path, "temporal", timeout=0.3)
        assert time.monotonic() - begun >= 0.3
        assert state.start_ticks(process.pid) is None
    assert json.loads((tmp_path / "lab.json").read_text()) == {}


def test_a_spec_is_remembered_whole(tmp_path: Path) -> None:
    spec = LabSpec(tmp_path, cassandra="4.1", nodes=5, datacenters=2, first=90, layout="slots", temporal_port=9000)
    state.save_spec(spec)
    assert state.load_spec(tmp_path) == spec


def test_another_spec_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    state.save_spec(LabSpec(tmp_path))
    with pytest.raises(SealringError, match="another lab") as refused:
        state.save_spec(LabSpec(tmp_path, nodes=2))
    assert refused.value.code == "lab.other-spec"
    assert state.load_spec(tmp_path) == LabSpec(tmp_path)


def test_a_folder_without_a_lab_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SealringError, match="python -m lab up"):
        state.load_spec(tmp_path)
