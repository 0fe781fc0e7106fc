"""N real OpenSSH hosts to deliver to: their files before and after, and what a delivery must have done to each."""

import base64
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from lab import state, tools
from lab.authority import write_file
from lab.hosts import ROLE, start_hosts, stop_hosts
from lab.keys import host_files
from lab.spec import SSH_PORT, LabSpec, NodeSpec

FIRST = 21  # a thousand hosts end within four nets
NAMES = ("keystore.p12", "truststore.p12", "node.pem", "ca.pem")
_BYTES = {"keystore.p12": 3700, "truststore.p12": 3300, "node.pem": 4000, "ca.pem": 3200}
_NODETOOL = """#!/bin/sh
# The reload command of a host that has no Cassandra: it writes down that it was called.
echo "$@" >> "{log}"
"""


@dataclass(frozen=True)
class Fleet:
    """The hosts, and the delivery that is to be brought to them."""

    spec: LabSpec

    @property
    def delivery(self) -> Path:
        """<address>/<name> for every file, <address>/SHA256SUMS beside them."""
        return self.spec.deliveries / "now"

    @property
    def known_hosts(self) -> Path:
        """Host keys one by one, for clients that do not know certificate authorities (paramiko)."""
        return self.spec.root / "known_hosts"

    @property
    def superserver(self) -> int:
        """The process below which every SSH session runs."""
        return state.alive(self.spec.root)[ROLE]

    def begin(self) -> "Expected":
        """Bring every host to an old generation and write a new delivery; both differ from all before."""
        self.delivery.mkdir(parents=True, exist_ok=True)
        return Expected({node.name: self._begin(node) for node in self.spec.ring})

    def _begin(self, node: NodeSpec) -> "Pair":
        old, new = _generation(), _generation()
        shutil.rmtree(node.tls, ignore_errors=True)
        node.tls.mkdir(parents=True)
        delivered = self.delivery / node.address
        delivered.mkdir(exist_ok=True)
        for name in NAMES:
            write_file(node.tls / name, old[name], 0o600)
            write_file(delivered / name, new[name], 0o600)
        sums = "".join(f"{_digest(new[name])}  {name}\n" for name in NAMES)
        write_file(delivered / "SHA256SUMS", sums.encode(), 0o600)
        _reloads(node).unlink(missing_ok=True)
        return Pair({name: _digest(old[name]) for name in NAMES}, {name: _digest(new[name]) for name in NAMES})


@dataclass(frozen=True)
class Pair:
    """Digests by file name."""

    old: dict[str, str]
    new: dict[str, str]


@dataclass(frozen=True)
class Expected:
    """What a delivery must leave behind, by node name."""

    nodes: dict[str, Pair]

    def check(self, fleet: Fleet) -> None:
        """The intended files are in force, what was in force before is kept, reload was called once: on every host.

        Raises:
            AssertionError: naming the host and what is wrong.
        """
        for node in fleet.spec.ring:
            pair = self.nodes[node.name]
            there = {path: _digest(path.read_bytes()) for path in node.tls.rglob("*") if path.is_file()}
            for name in NAMES:
                assert there.get(node.tls / name) == pair.new[name], f"{node.name}: {name} in force is not the new one"
            lost = set(pair.old.values()) - set(there.values())
            assert not lost, f"{node.name}: {len(lost)} of the old files are kept nowhere"
            calls = _reloads(node).read_text().splitlines() if _reloads(node).exists() else []
            assert calls == ["reloadssl"], f"{node.name}: reload was called {len(calls)} times"


@contextmanager
def hosts(nodes: int) -> Iterator[Fleet]:
    """Hosts that serve SSH, for as long as the block runs; nothing of them is left afterwards."""
    fleet = Fleet(LabSpec(tools.cache() / "bench" / "fleet", nodes=nodes, first=FIRST))
    spec = fleet.spec
    shutil.rmtree(spec.root, ignore_errors=True)
    for node in spec.ring:
        node.bin.mkdir(parents=True)
        nodetool = node.bin / "nodetool"
        nodetool.write_text(_NODETOOL.format(log=_reloads(node)))
        nodetool.chmod(0o755)
    start_hosts(spec, tools.sshd(print))
    try:
        keys = [(node, asyncssh.read_public_key(host_files(node).key.with_suffix(".pub"))) for node in spec.ring]
        lines = (f"[{node.address}]:{SSH_PORT} {key.export_public_key().decode()}" for node, key in keys)
        fleet.known_hosts.write_text("".join(lines))
        yield fleet
    finally:
        stop_hosts(spec)
        shutil.rmtree(spec.root, ignore_errors=True)


def _generation() -> dict[str, bytes]:
    """Four files that are like no others; stores are bytes, PEMs are text."""
    return {
        name: base64.encodebytes(os.urandom(size * 3 // 4)) if name.endswith(".pem") else os.urandom(size)
        for name, size in _BYTES.items()
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _reloads(node: NodeSpec) -> Path:
    return node.logs / "reloads"
