"""Keys made on the nodes of a ring: issued by a real OpenBao, brought into force, and never seen outside their node.

The workers run in this process, so that everything which crosses SSH can be listened to.
"""

import asyncio
import base64
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import openbao
from lab.authority import Authority, write_file
from lab.openbao import OpenBao
from lab.ring import find
from lab.scan import Needle, needles, scan_files, search
from lab.secret_places import BELONGS
from lab.spec import LabSpec
from sealring.hosts.session import talk
from sealring.hosts.shell import Feed
from sealring.models.issuing import IssueReport
from sealring.models.rollout import NodeState, Phase, RolloutReport
from sealring.settings import Settings
from sealring.temporal.keyring import create_keyring
from starters.exits import Exit
from tests.lab.engine import Engine
from workers.runtime import working

pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("ring", ["stand-in"], indirect=True)]
HOST = "127.0.0.1"


@dataclass
class Ears:
    """Everything that crossed SSH, both ways."""

    heard: list[bytes] = field(default_factory=list)

    def listen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def listening(connection: Any, command: str, script: bytes, secret: Any, pay: Any) -> Any:
            self.heard.append(script)
            if isinstance(secret, bytes):
                self.heard.append(secret)
            elif isinstance(secret, Feed):
                secret = Feed(partial(self._noted, secret.make), secret.progress)
            status, stdout, stderr = await talk(connection, command, script, secret, pay)
            self.heard += [stdout, stderr]
            return status, stdout, stderr

        monkeypatch.setattr("sealring.hosts.ssh.talk", listening)

    def _noted(self, make: Callable[[str], bytes], lines: str) -> bytes:
        self.heard.append(make(lines))
        return self.heard[-1]

    @property
    def everything(self) -> bytes:
        return b"\n".join(self.heard)


@pytest.fixture(scope="module")
def bao(ring: LabSpec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    server = OpenBao(tmp_path_factory.mktemp("vault"), HOST, *openbao.free_ports(HOST))
    openbao.start(server, Authority.open(server.root / "authority"))
    yield server
    openbao.stop(server)


@pytest.fixture(scope="module")
def engine(ring: LabSpec, bao: OpenBao) -> Iterator[Engine]:
    """Temporal as a process; the ring's cluster file with `vault` and `pki`."""
    engine = Engine(ring)
    keyring = ring.root / "engine" / "keyring.json"
    if not keyring.exists():
        keyring.parent.mkdir(mode=0o700, exist_ok=True)
        create_keyring(keyring)
    role = openbao.found_pki(bao, Authority.open(ring.authority), "pki-nodes")
    openbao.write(bao, "sys/policies/acl/issuing", {"policy": openbao.issuing_policy(role)})
    token = openbao.write(bao, "auth/token/create", {"policies": ["issuing"], "no_parent": True})
    write_file(bao.root / "token", token["auth"]["client_token"].encode(), 0o600)
    cluster = yaml.safe_load(ring.cluster_file.read_text())
    cluster["rollout"] = {"settle": 0, "vantages": 1}
    cluster["vault"] = {"address": bao.address, "ca": str(bao.ca), "token_file": str(bao.root / "token")}
    cluster["pki"] = {"vault_role": role, "ttl": "P30D"}
    ring.cluster_file.write_text(yaml.safe_dump(cluster))
    engine.start("temporal")
    yield engine
    engine.stop("temporal")


@asynccontextmanager
async def at_work(engine: Engine) -> AsyncIterator[None]:
    async with working(Settings(**tomllib.loads(engine.settings.read_text())), ("control", "deploy")):
        yield


async def issued(engine: Engine, path: Path, *words: str) -> tuple[int, IssueReport]:
    done = await asyncio.to_thread(engine.cli, "material", "issue", "lab", "-m", str(path), "--json", *words)
    assert done.stdout, done.stderr
    return done.returncode, IssueReport.model_validate_json(done.stdout)


async def rolled(engine: Engine, *words: str) -> tuple[int, RolloutReport]:
    done = await asyncio.to_thread(engine.cli, *words, "--json")
    assert done.stdout, done.stderr
    return done.returncode, RolloutReport.model_validate_json(done.stdout)


def keys_on(spec: LabSpec) -> dict[str, bytes]:
    """The keys that wait on the nodes, by node."""
    return {node.name: file.read_bytes() for node in spec.ring for file in node.tls.glob(".sealring/issue/*/key.pem")}


def pieces(spec: LabSpec) -> tuple[Needle, ...]:
    """The bodies of the keystores in force: encrypted with a password that the worker knows, so they must stay too."""
    return tuple(
        needle
        for node in spec.ring
        for needle in needles(f"keystore of {node.name}", (node.tls / "keystore.p12").read_bytes()[200:248])
    )


@pytest.mark.criterion("V1")
async def test_keys_are_made_used_and_taken_back_without_leaving_their_node(
    engine: Engine, whole_ring: LabSpec, bao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ears, path, first = Ears(), tmp_path / "june", find(whole_ring, "n1")
    ears.listen(monkeypatch)
    secrets = list(pieces(whole_ring))
    async with at_work(engine):
        code, report = await issued(engine, path, "--nodes", first.address)
        assert (code, [node.address for node in report.nodes]) == (Exit.DONE, [first.address])
        code, rollout = await rolled(engine, "rollout", "start", "lab", "-m", str(path))
        assert (code, rollout.problem and rollout.problem.code) == (Exit.REFUSED, "material.missing-file")
        assert list(keys_on(whole_ring)) == [first.name], "a refused rollout keeps the key for the next one"

        code, report = await issued(engine, path)
        assert (code, report.complete) == (Exit.DONE, True), report
        made = {node.address: node.issued for node in report.nodes if node.issued}
        assert {address for address, issued in made.items() if not issued.anew} == {first.address}
        assert len(openbao.listed(bao, "pki-nodes/certs")) == len(whole_ring.ring), "nothing was signed twice"
        keys = keys_on(whole_ring)
        assert set(keys) == {node.name for node in whole_ring.ring}
        secrets += [needle for name, key in keys.items() for needle in needles(f"key of {name}", key)]

        code, rollout = await rolled(engine, "rollout", "start", "lab", "-m", str(path), "--apply", "reload")
        assert (code, rollout.outcome) == (Exit.DONE, Phase.DONE), rollout.problem or rollout.findings
        assert {node.state for node in rollout.nodes} == {NodeState.SERVING}
        assert {row.address: row.intended for row in rollout.matrix} == {a: i.leaf.sha256 for a, i in made.items()}
        assert all(row.consistent for row in rollout.matrix)
        assert keys_on(whole_ring) == {}, "the folder of a key goes when its node is settled"
        secrets += pieces(whole_ring)

        code, rollout = await rolled(engine, "rollback", "lab", "--nodes", first.address)
        assert (code, rollout.outcome) == (Exit.DONE, Phase.DONE), rollout.problem or rollout.findings
    crossed = ears.everything
    assert base64.b64encode((path / first.address / "tls.csr").read_bytes()) in crossed, "what did cross was heard"
    assert search(crossed, secrets) == set()
    assert scan_files(whole_ring.root, secrets, BELONGS) | scan_files(path, secrets) == set()
    assert search(crossed + base64.b64encode(keys[first.name]), secrets), "a key that crossed would be found"
