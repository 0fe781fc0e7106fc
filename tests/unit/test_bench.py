"""The bench's own instruments: what they count, and what they refuse to call a success."""

import json
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import plots, processes
from bench.fleet import NAMES, Fleet
from lab.spec import LabSpec
from lab.tools import PROJECT

BUSY = "import time\nwhile time.process_time() < 0.5: pass"


def test_a_process_left_behind_is_ended_and_counts(tmp_path: Path) -> None:
    child = f"{BUSY}\nprint(flush=True)\ntime.sleep(60)"
    leaving = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
"""
    out, begun = tmp_path / "out.json", time.monotonic()
    command = [sys.executable, "-m", "bench.meter", str(out), sys.executable, "-c", leaving]
    assert subprocess.run(command, cwd=PROJECT, check=False).returncode == 0
    assert time.monotonic() - begun < 55
    assert json.loads(out.read_text())["cpu"] >= 0.3


def test_the_cpu_of_a_tree_outlives_its_processes() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}])\ninput()"],
        stdin=subprocess.PIPE,
    )
    try:
        end = time.monotonic() + 50
        while processes.tree_cpu(parent.pid) < 0.3 or processes.below(parent.pid):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert processes.tree_cpu(parent.pid) >= 0.3
    finally:
        parent.communicate(b"\n")


@pytest.mark.parametrize("fault", ["", "not in force", "no backup", "no reload", "two reloads"])
def test_a_delivery_is_looked_at_on_the_hosts(tmp_path: Path, fault: str) -> None:
    fleet = Fleet(LabSpec(tmp_path, nodes=1))
    (node,) = fleet.spec.ring
    node.logs.mkdir(parents=True)
    expected = fleet.begin()
    (node.tls / "backup").mkdir()
    for name in NAMES:
        if fault != "no backup":
            (node.tls / "backup" / name).write_bytes((node.tls / name).read_bytes())
        if (fault, name) != ("not in force", NAMES[1]):
            (node.tls / name).write_bytes((fleet.delivery / node.address / name).read_bytes())
    (node.logs / "reloads").write_text("reloadssl\n" * {"no reload": 0, "two reloads": 2}.get(fault, 1))
    if fault:
        with pytest.raises(AssertionError):
            expected.check(fleet)
    else:
        expected.check(fleet)


def test_plots_are_svg() -> None:
    curves = {"a <b>": [(10.0, 0.5), (1000.0, 70.0)], "c": [(100.0, 3.0)]}
    for text in (
        plots.lines("t", "x", "y", curves),
        plots.bars("t", "ms", {"a": {"p": 1.0, "q": 2.0}, "b": {"p": 3.0}}),
    ):
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
