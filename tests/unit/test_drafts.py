"""Stores that were not sent whole: kept while they fit, in this process, and not for ever."""

from types import SimpleNamespace
from typing import Any

import pytest

from activities import drafts
from activities.drafts import Drafts
from activities.rings import Bench
from sealring.models.node import StoreFile
from tests.unit.pki_maker import make, material

CA = make("ca", ca=True)
MATERIAL = material(make("leaf", CA), trust=[CA])
KEY = ("ring", "10.0.0.1", "a" * 64)


def bench(password: str = "password") -> Bench:
    stores = (
        StoreFile(role="keystore", blocks=("server",), path="/tls/keystore.p12", format="PKCS12"),
        StoreFile(role="truststore", blocks=("server",), path="/tls/truststore.p12", format="PKCS12"),
    )
    passwords = SimpleNamespace(of=lambda _path: password)
    inspection: Any = SimpleNamespace(inventory=SimpleNamespace(stores=stores), passwords=passwords)
    nothing: Any = None
    return Bench(nothing, nothing, nothing, inspection, nothing)


@pytest.fixture(autouse=True)
def _all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "WORTH_BYTES", 1)


@pytest.mark.criterion("H16")
def test_an_interrupted_transfer_goes_on_with_the_same_bytes_until_it_arrives() -> None:
    kept = Drafts()
    first = kept.stores(KEY, bench(), MATERIAL)
    assert kept.stores(KEY, bench(), MATERIAL) == first, "PKCS#12 would differ"
    assert kept.stores((*KEY[:2], "b" * 64), bench(), MATERIAL) != first
    kept.forget(KEY)
    assert kept.stores(KEY, bench(), MATERIAL) != first


@pytest.mark.criterion("H16")
def test_stores_of_another_password_or_material_are_not_gone_on_with() -> None:
    kept = Drafts()
    first = kept.stores(KEY, bench(), MATERIAL)
    changed = kept.stores(KEY, bench("another"), MATERIAL)
    assert all(changed[path] != first[path] for path in first)
    other = material(make("other", CA), trust=[CA])
    renewed = kept.stores(KEY, bench("another"), other)
    assert renewed["/tls/keystore.p12"] != changed["/tls/keystore.p12"]
    assert renewed["/tls/truststore.p12"] == changed["/tls/truststore.p12"], "the same authorities"


def test_small_ones_and_too_many_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "KEPT", 2)
    kept = Drafts()
    first, second, third = [(f"ring{i}", *KEY[1:]) for i in range(3)]
    made = {key: kept.stores(key, bench(), MATERIAL) for key in (first, second, third)}
    assert kept.stores(third, bench(), MATERIAL) == made[third]
    assert kept.stores(second, bench(), MATERIAL) == made[second]
    assert kept.stores(first, bench(), MATERIAL) != made[first]
    monkeypatch.setattr(drafts, "WORTH_BYTES", 64 * 1024)
    small = Drafts()
    assert small.stores(KEY, bench(), MATERIAL) != small.stores(KEY, bench(), MATERIAL)
