"""A node opened for steps that follow each other: looked at once, and anew where it counts; stores opened once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from activities import rings
from activities.rings import Bench, Files, Rings
from sealring.errors import SealringError, passing
from sealring.models.node import StoreFile
from sealring.pki.stores import write_truststore
from tests.unit.pki_maker import NODE, make, material

CA = make("ca", ca=True)
MATERIAL = material(make("leaf", CA), trust=[CA])


@dataclass(frozen=True)
class Place:
    become: str = ""


def truststore(password: str) -> bytes:
    return write_truststore(MATERIAL.trust, "PKCS12", password)


class Node:
    """What a look at the node sees, and how often it was looked at."""

    def __init__(self) -> None:
        self.looks, self.pid = 0, 7
        self.fault: SealringError | None = None
        self.looking, self.hold = asyncio.Event(), asyncio.Event()
        self.hold.set()
        self.password, self.truststore = "password", truststore("password")

    async def read(self, _: str, **__: object) -> bytes:
        return self.truststore

    async def look(self, *_: object, **__: object) -> Any:
        self.looks += 1
        if self.fault:
            raise self.fault
        self.looking.set()
        await self.hold.wait()
        store = SimpleNamespace(role="truststore", path="/tls/truststore.p12", format="PKCS12")
        return SimpleNamespace(
            inventory=SimpleNamespace(pid=self.pid, stores=(store,)),
            known=self.pid,
            passwords=SimpleNamespace(
                hidden_in=lambda text: text, of=partial(lambda password, _: password, self.password)
            ),
        )


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def ring(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rings:
    async def nobody(*_: object, **__: object) -> str:
        return ""

    @asynccontextmanager
    async def host(_: str) -> AsyncIterator[Any]:
        yield SimpleNamespace(user="deploy", read=node.read)

    monkeypatch.setattr(rings, "inventory", node.look)
    monkeypatch.setattr(rings, "choose_become", nobody)
    monkeypatch.setattr(rings, "place_of", lambda _: Place())
    monkeypatch.setattr(Rings, "pool", lambda *_: SimpleNamespace(host=host))
    (tmp_path / "lab.yaml").write_text("name: lab\ncontact_points: [127.0.0.1]\n")
    return Rings(tmp_path)


async def opened(ring: Rings, **how: bool) -> Bench:
    async with ring.open("lab", NODE, **how) as bench:
        return bench


async def test_steps_that_follow_each_other_share_a_look(ring: Rings, node: Node) -> None:
    for _ in range(3):
        await opened(ring)
    assert node.looks == 1
    await opened(ring, anew=True)
    await opened(ring, running=True)
    assert node.looks == 3


async def test_an_old_look_is_not_used_again(ring: Rings, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(rings, "monotonic", lambda: now)
    await opened(ring)
    now += rings.RECENT_SECONDS - 0.1
    await opened(ring)
    assert node.looks == 1
    now += 0.2
    await opened(ring)
    assert node.looks == 2


async def test_after_an_error_and_when_told_to_forget_it_is_looked_at_anew(ring: Rings, node: Node) -> None:
    with pytest.raises(SealringError):
        async with ring.open("lab", NODE):
            raise passing("ssh.lost", "the connection was lost")
    await opened(ring)
    assert node.looks == 2
    ring.forget("lab", NODE)
    await opened(ring)
    assert node.looks == 3


async def test_a_look_that_failed_leaves_no_older_one_to_go_by(ring: Rings, node: Node) -> None:
    await opened(ring)
    node.fault = passing("ssh.lost", "the connection was lost")
    with pytest.raises(SealringError):
        await opened(ring, anew=True)
    node.fault = None
    await opened(ring)
    assert node.looks == 3


async def test_a_look_that_was_under_way_when_something_happened_is_not_used_again(ring: Rings, node: Node) -> None:
    node.hold.clear()
    looking = asyncio.create_task(opened(ring))
    await node.looking.wait()
    ring.forget("lab", NODE)
    node.hold.set()
    await looking
    await opened(ring)
    assert node.looks == 2


async def test_a_peers_trust_is_read_with_a_recent_look_and_anew_when_it_does_not_open(
    ring: Rings, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changes the truststore and its password a moment after the look."""
    now = 1000.0
    monkeypatch.setattr(rings, "monotonic", lambda: now)
    await opened(ring)
    assert await ring.trust_of("lab", NODE) == MATERIAL.trust
    assert node.looks == 1
    node.password = "another"
    node.truststore = truststore("another")
    assert await ring.trust_of("lab", NODE) == MATERIAL.trust
    assert node.looks == 2
    now += rings.RECENT_SECONDS + 1
    assert await ring.trust_of("lab", NODE) == MATERIAL.trust
    assert node.looks == 3, "where it lies may have changed"


async def test_the_trust_that_was_read_is_that_of_the_bytes_and_the_password(ring: Rings, node: Node) -> None:
    first = await ring.trust_of("lab", NODE)
    assert await ring.trust_of("lab", NODE) is first, "to open a store takes thousands of hashes"
    node.password = "wrong"
    ring.forget("lab", NODE)
    with pytest.raises(SealringError) as caught:
        await ring.trust_of("lab", NODE)
    assert caught.value.code == "store.password"


async def test_a_node_without_a_process_is_looked_at_each_time(ring: Rings, node: Node) -> None:
    node.pid = 0
    await opened(ring)
    await opened(ring)
    assert node.looks == 2


async def test_an_edit_of_the_cluster_file_counts_at_once(ring: Rings, node: Node, tmp_path: Path) -> None:
    before = ring.file("lab")
    assert ring.file("lab") is before
    await opened(ring)
    (tmp_path / "lab.yaml").write_text("name: lab\ncontact_points: [127.0.0.1, 127.0.0.2]\n")
    assert ring.file("lab").contact_points != before.contact_points
    await opened(ring)
    assert node.looks == 2
    (tmp_path / "lab.yaml").unlink()
    with pytest.raises(SealringError) as caught:
        ring.file("lab")
    assert caught.value.code == "cluster.unknown"


def test_stores_with_equal_bytes_are_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    roles = ("keystore", "keystore", "truststore", "truststore")
    stores = tuple(
        StoreFile(role=role, blocks=("server",), path=f"/tls/{number}.p12", format="PKCS12")
        for number, role in enumerate(roles)
    )
    inspection: Any = SimpleNamespace(
        inventory=SimpleNamespace(stores=stores), passwords=SimpleNamespace(of=lambda path: path[-5])
    )
    nothing: Any = None
    bench = Bench(nothing, nothing, nothing, inspection, nothing)
    asked: list[tuple[str, bytes]] = []

    def holds(_: Bench, store: StoreFile, data: bytes, __: object) -> bool:
        asked.append((store.path, data))
        return data == b"good"

    monkeypatch.setattr(Bench, "holds", holds)
    monkeypatch.setattr(Bench, "password", lambda *_: "same")
    alike: Files = {store.path: b"good" for store in stores}
    assert list(bench.differing(alike, MATERIAL)) == []
    assert [path for path, _ in asked] == ["/tls/0.p12", "/tls/2.p12"]
    bad: Files = {**alike, "/tls/1.p12": b"bad"}
    assert [store.path for store in bench.differing(bad, MATERIAL)] == ["/tls/1.p12"]
    monkeypatch.setattr(Bench, "password", lambda _, store: store.path)
    asked.clear()
    assert list(bench.differing(alike, MATERIAL)) == []
    assert len(asked) == 4, "the same bytes do not open with another password"
