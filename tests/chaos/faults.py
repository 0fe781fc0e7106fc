"""The rows of the table: what is done to a rollout while one of its steps is held, and how it is undone."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab import hosts, ring
from lab.authority import write_file
from lab.faults import corrupt
from lab.keys import host_files, write_host
from lab.spec import NodeSpec
from starters.exits import Exit
from tests.chaos.gates import worker_folder
from tests.chaos.judge import stores
from tests.chaos.scene import HEARTBEAT, Scene

Until = Literal["felt", "end"]
SMALL = "size=2m,mode=0755"
DAYS_AHEAD = 4000  # no certificate of the lab is valid then
NOBODY = 65534


@dataclass(frozen=True)
class Fault:
    """One row.

    Args:
        name: the row's head.
        strike: done while the step is held; it is released right after.
        heal: what whoever is on call does about it.
        lasts: seconds from the release until it is healed; `felt`: until a step failed and is tried again; `end`:
            until the rollout has ended.
        mend: puts the ring back for the next cell, when there is more to it than `heal`.
        early: strikes before the step began on the node, not in the middle of it.
        starts: how often the fault itself starts the victim's service.
        root: needs root.
        note: for the reader of the table.
    """

    name: str
    strike: Callable[[Scene, NodeSpec], None]
    heal: Callable[[Scene, NodeSpec], None] = lambda scene, node: None
    lasts: float | Until = 0.0
    mend: Callable[[Scene, NodeSpec], None] = lambda scene, node: None
    early: bool = False
    starts: int = 0
    root: bool = False
    note: str = ""


def _kill(process: str) -> Callable[[Scene, NodeSpec], None]:
    return lambda scene, node: scene.engine.kill(process)


def _start(process: str) -> Callable[[Scene, NodeSpec], None]:
    return lambda scene, node: scene.engine.start(process)


def _kill_cassandra(scene: Scene, node: NodeSpec) -> None:
    ring.kill_node(scene.spec, node.name)


def _wait_up(scene: Scene, node: NodeSpec) -> None:
    ring.wait_up(scene.spec)


def _cut(link: hosts.Link) -> Callable[[Scene, NodeSpec], None]:
    return lambda scene, node: hosts.cut(scene.spec, node, link)


def _restore(scene: Scene, node: NodeSpec) -> None:
    hosts.restore(scene.spec, node)


def _on_small_disk(node: NodeSpec) -> None:
    """The folder of the stores becomes a disk of its own, 2 MB, with the same content."""
    aside = node.home / "tls-aside"
    shutil.rmtree(aside, ignore_errors=True)
    subprocess.run(["cp", "-a", node.tls, aside], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", SMALL, "sealring-chaos", node.tls], check=True)
    subprocess.run(["cp", "-a", f"{aside}/.", node.tls], check=True)


def _off_small_disk(scene: Scene, node: NodeSpec) -> None:
    if not os.path.ismount(node.tls):
        return
    aside = node.home / "tls-aside"
    subprocess.run(["mount", "-o", "remount,rw", node.tls], check=True)
    shutil.rmtree(aside, ignore_errors=True)
    subprocess.run(["cp", "-a", node.tls, aside], check=True)
    subprocess.run(["umount", "-l", node.tls], check=True)
    for path in node.tls.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    subprocess.run(["cp", "-a", f"{aside}/.", node.tls], check=True)
    shutil.rmtree(aside)


def _fill_disk(scene: Scene, node: NodeSpec) -> None:
    _on_small_disk(node)
    with (node.tls / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"\0" * 512)
        except OSError:
            pass


def _empty_disk(scene: Scene, node: NodeSpec) -> None:
    (node.tls / "filler").unlink(missing_ok=True)


def _read_only(scene: Scene, node: NodeSpec) -> None:
    _on_small_disk(node)
    subprocess.run(["mount", "-o", "remount,ro", node.tls], check=True)


def _writable(scene: Scene, node: NodeSpec) -> None:
    subprocess.run(["mount", "-o", "remount,rw", node.tls], check=True)


def _give_away(scene: Scene, node: NodeSpec) -> None:
    for path in node.tls.rglob("*.p12"):
        os.chown(path, NOBODY, NOBODY)


def _take_back(scene: Scene, node: NodeSpec) -> None:
    for path in node.tls.rglob("*"):
        os.chown(path, os.getuid(), os.getgid(), follow_symlinks=False)


def _stop_worker(scene: Scene, node: NodeSpec) -> None:
    scene.engine.processes["deploy"].send_signal(signal.SIGSTOP)


def _wake_worker(scene: Scene, node: NodeSpec) -> None:
    scene.engine.processes["deploy"].send_signal(signal.SIGCONT)


def _second_worker(scene: Scene, node: NodeSpec) -> None:
    scene.engine.start("deploy-2")
    _stop_worker(scene, node)


def _wrong_clock(scene: Scene, node: NodeSpec) -> None:
    (worker_folder(scene.spec) / "clock").write_text(str(DAYS_AHEAD * 86400))


def _right_clock(scene: Scene, node: NodeSpec) -> None:
    (worker_folder(scene.spec) / "clock").unlink(missing_ok=True)


def _second_rollout(scene: Scene, node: NodeSpec) -> None:
    told = scene.engine.cli("rollout", "start", "lab", "--no-watch", "-m", str(scene.engine.deliver()))
    assert told.returncode == Exit.MISTAKE, f"a second rollout was not refused: {told.stdout}{told.stderr}"
    assert "rollout.running" in told.stderr, told.stderr


def _reload_by_hand(scene: Scene, node: NodeSpec) -> None:
    subprocess.run([node.bin / "nodetool", "reloadssl"], capture_output=True, check=False)


def _restart_by_hand(scene: Scene, node: NodeSpec) -> None:
    ring.restart_node(scene.spec, node.name)


def _other_host_key(scene: Scene, node: NodeSpec) -> None:
    files = host_files(node)
    kept = node.home / "sshd-kept"
    if not kept.exists():
        shutil.copytree(files.folder, kept)
    write_host(scene.spec, node, authority="stranger_ca")
    hosts.cut(scene.spec, node)
    hosts.restore(scene.spec, node)


def _own_host_key(scene: Scene, node: NodeSpec) -> None:
    kept = node.home / "sshd-kept"
    for path in kept.iterdir() if kept.exists() else ():
        if path.name.startswith("host_key"):
            write_file(host_files(node).folder / path.name, path.read_bytes(), path.stat().st_mode & 0o777)


def _foreign_intent(scene: Scene, node: NodeSpec) -> None:
    state = node.tls / ".sealring"
    state.mkdir(exist_ok=True)
    link = node.tls / "current"
    current = Path(os.readlink(link)).name if link.is_symlink() else ""
    words = {"rollout": "somebody-elses", "step": "activate", "to": current, "from": current, "previous": ""}
    (state / "intent.json").write_text(json.dumps(words, separators=(",", ":")) + "\n")


def _no_intent(scene: Scene, node: NodeSpec) -> None:
    (node.tls / ".sealring" / "intent.json").unlink(missing_ok=True)


def _change_by_hand(scene: Scene, node: NodeSpec) -> None:
    corrupt(node, str((stores(node) / "keystore.p12").resolve()))


def _damage_staged(scene: Scene, node: NodeSpec) -> None:
    """The generation that is about to be put in force: the youngest that is not."""
    current = Path(os.readlink(node.tls / "current")).name
    others = [path for path in (node.tls / "generations").iterdir() if path.name != current]
    corrupt(node, str(max(others, key=lambda path: path.stat().st_mtime) / "keystore.p12"))


def _change_password(scene: Scene, node: NodeSpec) -> None:
    """In cassandra.yaml only: a process that runs does not read it again."""
    configuration = node.conf / "cassandra.yaml"
    shutil.copy2(configuration, node.home / "cassandra.yaml.kept")
    text = configuration.read_text().replace(ring.store_password(scene.spec), "not-the-password")
    configuration.write_text(text)


def _right_password(scene: Scene, node: NodeSpec) -> None:
    kept = node.home / "cassandra.yaml.kept"
    if kept.exists():
        kept.replace(node.conf / "cassandra.yaml")


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("deploy worker killed", _kill("deploy"), _start("deploy")),
        Fault("control worker killed", _kill("control"), _start("control")),
        Fault("Temporal server killed", _kill("temporal"), _start("temporal"), 2.0),
        Fault("Cassandra killed", _kill_cassandra, _wait_up, starts=1),
        Fault("SSH cut (RST)", _cut("refuse"), _restore, "felt"),
        Fault("SSH frozen", _cut("freeze"), _restore, "felt"),
        Fault("disk full", _fill_disk, _empty_disk, "felt", _off_small_disk, early=True, root=True),
        Fault("disk read-only", _read_only, _writable, "felt", _off_small_disk, early=True, root=True),
        Fault("files of somebody else", _give_away, mend=_take_back, early=True, root=True),
        Fault("worker paused", _stop_worker, _wake_worker, 1.5 * HEARTBEAT),
        Fault("second worker takes over, first wakes", _second_worker, _wake_worker, 1.5 * HEARTBEAT),
        Fault("worker's clock wrong", _wrong_clock, _right_clock, "end"),
        Fault("second rollout by hand", _second_rollout),
        Fault("reload by hand", _reload_by_hand),
        Fault("restart by hand", _restart_by_hand, _wait_up, starts=1),
        Fault("host key changed", _other_host_key, _own_host_key, "end", early=True),
        Fault("another rollout's intent", _foreign_intent, _no_intent, "end", early=True),
        Fault("a file in force changed by hand", _change_by_hand, _change_by_hand, "end", early=True),
        Fault("the staged generation damaged", _damage_staged, lasts="end", early=True),
        # A node that cannot start is started again and again by its service manager.
        Fault("store password changed", _change_password, _right_password, "end", early=True, starts=1000),
    )
}
