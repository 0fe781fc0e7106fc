"""The lint: one finding for each check, and exactly the right one fails for each fault."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import example, given
from hypothesis import strategies as st

from lab.authority import Authority
from sealring.errors import Actor, SealringError
from sealring.models.cluster import MaterialPolicy
from sealring.models.evidence import Finding, Verdict
from sealring.pki.certificates import load_certificates
from sealring.pki.material import Material, read_pem_material
from sealring.pki.policy import CHECKS, lint, trusted_by
from tests.unit.pki_maker import ADDRESS, GOOD, ISSUING, LEAF, NODE, NOW, OTHER_ROOT, ROOT, key, make, material

ALL = [
    "material.expired",
    "material.validity",
    "material.clock",
    "material.chain",
    "material.key-matches-leaf",
    "material.key-strength",
    "material.usage",
    "material.names",
    "material.lifetime",
    "material.signature",
    "material.chain-order",
    "material.ca-flag",
]


def judged(delivered: Material, **changes: Any) -> dict[str, Finding]:
    how: dict[str, Any] = {
        "policy": MaterialPolicy(),
        "node": NODE,
        "addresses": [ADDRESS],
        "clocks": {"worker": NOW},
        "endpoint_verification": True,
        "client_auth": True,
    }
    findings = lint(delivered, **(how | changes))
    assert [finding.check for finding in findings] == ALL
    for finding in findings:
        assert finding.message
        assert finding.node == ADDRESS
        assert (finding.verdict is Verdict.PASS) == (finding.remedy == "") == (finding.actor is Actor.NOBODY)
    return {finding.check: finding for finding in findings}


def complaints(findings: dict[str, Finding]) -> dict[str, str]:
    return {f.check.removeprefix("material."): f.verdict.value for f in findings.values() if f.verdict != "pass"}


def test_good_material_passes_every_check() -> None:
    assert complaints(judged(GOOD)) == {}
    assert len(CHECKS) == len(ALL)


def below(**how: Any) -> Material:
    return material(make("x", ISSUING, **how), ISSUING, trust=[ROOT])


DAY = timedelta(days=1)
K1_ROOT = make("k1 root", ca=True)
NOT_CA = make("not ca", ROOT)
EXPIRED_ISSUING = make("issuing", ROOT, ca=True, end=NOW - DAY)
LATE_ISSUING = make("issuing", ROOT, ca=True, start=NOW + DAY)
EXPIRED_ROOT = make("old", ca=True, end=NOW - DAY)


@pytest.mark.criterion("F1", "F2", "F3", "K2", "K3")
@pytest.mark.parametrize(
    ("delivered", "expected", "says"),
    [
        (below(end=NOW - DAY), {"expired": "fail"}, "CN=x expired by the clock of worker"),
        (below(end=NOW + DAY / 2), {"validity": "fail"}, "has only 12 hours left"),
        (material(LEAF, EXPIRED_ISSUING, trust=[ROOT]), {"expired": "fail", "chain": "fail"}, "CN=issuing expired"),
        (material(LEAF, ISSUING, trust=[ROOT, EXPIRED_ROOT]), {"validity": "warn"}, "authority CN=old expired"),
        (below(start=NOW + DAY), {"clock": "fail"}, "CN=x starts at 2026-05-02"),
        (below(start=NOW), {"clock": "fail"}, "margin of 60 seconds"),
        (material(LEAF, LATE_ISSUING, trust=[ROOT]), {"clock": "fail", "chain": "fail"}, "CN=issuing starts at"),
        (material(LEAF, trust=[ROOT]), {"chain": "fail", "chain-order": "warn"}, "the issuer of CN=leaf, CN=issuing"),
        (material(LEAF, ISSUING, trust=[OTHER_ROOT]), {"chain": "fail", "chain-order": "warn"}, "nor trusted"),
        (material(LEAF, trust=[ROOT, ISSUING]), {"chain-order": "warn"}, "a peer that trusts only the root"),
        (material(LEAF, ISSUING, trust=[ROOT], own_key=key("?")), {"key-matches-leaf": "fail"}, "does not belong"),
        (below(own_key="rsa-1024"), {"key-strength": "fail"}, "RSA 1024; the policy wants 2048 bits"),
        (below(own_key="rsa-2048"), {}, "RSA 2048"),
        (below(own_key="k1"), {"key-strength": "fail"}, "EC secp256k1; the policy allows secp256r1"),
        (below(own_key="ed25519"), {"key-strength": "fail"}, "Ed25519; Cassandra on Java"),
        (below(usages=[ExtendedKeyUsageOID.SERVER_AUTH]), {"usage": "fail"}, "lacks clientAuth;"),
        (below(usages=[ExtendedKeyUsageOID.CLIENT_AUTH]), {"usage": "fail"}, "lacks serverAuth;"),
        (below(usages=[ExtendedKeyUsageOID.TIME_STAMPING]), {"usage": "fail"}, "serverAuth and clientAuth"),
        (below(usages=None), {"usage": "warn"}, "no extendedKeyUsage"),
        (below(sign=False), {"usage": "fail"}, "no digitalSignature"),
        (below(addresses=["10.0.0.2"]), {"names": "fail"}, "is for 10.0.0.2; missing"),
        (below(addresses=[]), {"names": "fail"}, "no name at all"),
        (below(end=NOW + 1000 * DAY), {"lifetime": "warn", "chain": "pass"}, "valid for 1010 days"),
        (material(LEAF, ISSUING, ISSUING, trust=[ROOT]), {"chain-order": "fail"}, "twice"),
        (material(LEAF, LEAF, ISSUING, trust=[ROOT]), {"chain-order": "fail"}, "twice"),
        (material(LEAF, ISSUING, OTHER_ROOT, trust=[ROOT]), {"chain-order": "fail"}, "not above the leaf: CN=other"),
        (material(LEAF, ROOT, ISSUING, trust=[ROOT]), {"chain-order": "fail"}, "not in order"),
        (material(LEAF, ISSUING, ROOT, trust=[ROOT]), {"chain-order": "warn"}, "the root is in tls.crt"),
        (material(ISSUING, trust=[ROOT]), {"ca-flag": "fail", "names": "fail", "usage": "fail"}, "not a leaf"),
        (
            material(make("x", NOT_CA), NOT_CA, trust=[ROOT]),
            {"ca-flag": "fail", "chain": "fail"},
            "CN=not ca is in the chain but is no authority",
        ),
        (material(LEAF, ISSUING, trust=[ROOT, LEAF]), {"ca-flag": "warn"}, "which is no authority"),
    ],
)
def test_each_fault_is_found_by_its_check(delivered: Material, expected: dict[str, str], says: str) -> None:
    findings = judged(delivered)
    assert complaints(findings) == {check: v for check, v in expected.items() if v != "pass"}
    assert any(says in finding.message for finding in findings.values()), findings


@pytest.mark.criterion("F1")
def test_a_weak_signature_is_refused(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path, key="rsa-2048")
    identity = authority.issue([ADDRESS], signature="sha1", not_before=NOW - DAY, key="ec-p256")
    delivered = read_pem_material(identity.certificate, identity.key, authority.trusted, where="/d")
    findings = judged(delivered, clocks={"worker": delivered.trust[0].not_valid_before_utc + 2 * timedelta(hours=1)})
    assert findings["material.signature"].verdict is Verdict.FAIL
    assert "sha1" in findings["material.signature"].message


@pytest.mark.criterion("F1")
def test_the_earliest_clock_decides_about_the_start_and_the_latest_about_the_end() -> None:
    delivered = below(start=NOW - timedelta(minutes=5), end=NOW + 2 * DAY)
    slow = judged(delivered, clocks={"worker": NOW, "10.0.0.7": NOW - timedelta(minutes=4, seconds=30)})
    assert complaints(slow) == {"clock": "fail"}
    assert "10.0.0.7" in slow["material.clock"].message
    fast = judged(delivered, clocks={"worker": NOW, "10.0.0.8": NOW + timedelta(hours=30)})
    assert complaints(fast) == {"validity": "fail"}
    assert "10.0.0.8" in fast["material.validity"].message


def test_an_authority_that_ends_before_the_policy_allows_fails_the_chain() -> None:
    soon = make("soon", ca=True, end=NOW + DAY / 2)
    assert complaints(judged(material(make("x", soon), trust=[soon]))) == {"chain": "fail"}


def test_what_nobody_looks_at_is_a_warning() -> None:
    assert complaints(judged(below(addresses=[]), endpoint_verification=False)) == {"names": "warn"}
    server_only = below(usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    assert complaints(judged(server_only, client_auth=False)) == {"usage": "warn"}
    client_only = below(usages=[ExtendedKeyUsageOID.CLIENT_AUTH])
    assert complaints(judged(client_only, client_auth=False)) == {"usage": "fail"}


def test_every_address_and_every_name_of_the_policy_must_be_there() -> None:
    wanted = MaterialPolicy(names=("db.example",))
    assert complaints(judged(GOOD, addresses=[ADDRESS, "10.9.9.9"])) == {"names": "fail"}
    assert complaints(judged(GOOD, policy=wanted, endpoint_verification=False)) == {"names": "fail"}
    assert complaints(judged(below(names=["db.example"]), policy=wanted)) == {}


@given(
    start=st.integers(-3000, 3000),
    length=st.integers(1, 5000),
    skews=st.lists(st.integers(-3000, 3000), min_size=1, max_size=4),
    margin=st.integers(0, 600),
)
@example(start=-10, length=70, skews=[0], margin=10)  # just enough of both
def test_dates_are_judged_by_every_clock(start: int, length: int, skews: list[int], margin: int) -> None:
    begin = NOW + timedelta(minutes=start)
    end = begin + timedelta(minutes=length)
    clocks = {f"n{i}": NOW + timedelta(minutes=skew) for i, skew in enumerate(skews)}
    policy = MaterialPolicy(clock_margin=timedelta(minutes=margin), min_remaining=timedelta(hours=1))
    found = complaints(judged(below(start=begin, end=end), clocks=clocks, policy=policy))
    started = all(begin + timedelta(minutes=margin) <= clock for clock in clocks.values())
    lasting = all(clock + timedelta(hours=1) <= end for clock in clocks.values())
    assert ("clock" in found, bool({"validity", "expired"} & set(found))) == (not started, not lasting)


DER = make("odd", ROOT, names=["a.b"]).certificate.public_bytes(Encoding.DER)


@given(st.lists(st.tuples(st.integers(0, len(DER) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_damaged_certificate_that_can_be_read_can_be_judged(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(DER)
    for at, value in changes:
        damaged[at] = value
    try:
        (leaf,) = load_certificates(bytes(damaged), "x")
    except SealringError:
        return
    if leaf.public_bytes(Encoding.DER) != DER:
        judgement = judged(Material(leaf, (ISSUING.certificate, leaf), GOOD.key, (ROOT.certificate, leaf)))
        assert Verdict.FAIL in {finding.verdict for finding in judgement.values()}


@pytest.mark.criterion("K2", "K24")
def test_a_peer_accepts_or_refuses_by_its_own_truststore() -> None:
    accepted = trusted_by(GOOD, "10.0.0.2", [ROOT.certificate], at=NOW, address=ADDRESS)
    assert (accepted.check, accepted.verdict, accepted.node) == ("material.trusted-by-peers", Verdict.PASS, "10.0.0.2")
    refused = trusted_by(GOOD, "10.0.0.2", [OTHER_ROOT.certificate], at=NOW)
    assert refused.verdict is Verdict.FAIL
    assert "CN=root" in refused.message
    assert trusted_by(GOOD, "p", [ROOT.certificate], at=NOW, address="10.0.0.3").verdict is Verdict.FAIL
