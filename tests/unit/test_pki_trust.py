"""Would they accept this leaf? Every way a path fails has its reason, and good paths agree with a strict verifier."""

from datetime import datetime, timedelta
from ipaddress import ip_network

import pytest
from cryptography import x509
from cryptography.x509 import verification
from hypothesis import given
from hypothesis import strategies as st

from sealring.pki.trust import explain_path, issued, serves
from tests.unit.pki_maker import ADDRESS, ISSUING, LEAF, NOW, OTHER_ROOT, ROOT, Made, make


def explain(leaf: Made, *chain: Made, roots: list[Made], at: datetime = NOW, address: str | None = ADDRESS) -> str:
    return explain_path(
        leaf.certificate,
        [c.certificate for c in chain],
        [r.certificate for r in roots],
        at=at,
        address=address,
    )


CONSTRAINED = make(
    "constrained",
    ROOT,
    ca=True,
    extra=[(x509.NameConstraints([x509.IPAddress(ip_network("10.0.0.0/8"))], None), True)],
)
NARROW = make(
    "narrow",
    ROOT,
    ca=True,
    extra=[(x509.NameConstraints([x509.IPAddress(ip_network("192.168.0.0/16"))], None), True)],
)


@pytest.mark.criterion("K2")
@pytest.mark.parametrize(
    ("leaf", "chain", "roots"),
    [
        (LEAF, [ISSUING], [ROOT]),
        (LEAF, [ISSUING], [OTHER_ROOT, ROOT]),
        (LEAF, [], [ISSUING]),  # a truststore may hold an intermediate
        (LEAF, [], [LEAF]),  # or the leaf itself
        (LEAF, [ROOT, OTHER_ROOT, ISSUING], [ROOT]),  # order and extras do not matter to Java
        (make("direct", ROOT), [], [ROOT]),
        (make("below constrained", CONSTRAINED), [CONSTRAINED], [ROOT]),
    ],
)
def test_a_trusted_path_is_accepted(leaf: Made, chain: list[Made], roots: list[Made]) -> None:
    assert explain(leaf, *chain, roots=roots) == ""


YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)
OLD_ISSUING = make("issuing", ROOT, ca=True, end=YESTERDAY)
OLD_ROOT = make("old root", ca=True, end=YESTERDAY)
IMPOSTOR = make("issuing", OTHER_ROOT, ca=True, own_key="impostor")
NO_CA = make("no ca", ROOT)
NO_SIGN = make("no sign", ROOT, ca=True, sign=False)
SHORT = make("short", ROOT, ca=True, path_length=0)
BELOW_SHORT = make("below short", SHORT, ca=True)
SELF = make("self")


@pytest.mark.criterion("K2", "F2")
@pytest.mark.parametrize(
    ("leaf", "chain", "roots", "reason"),
    [
        (LEAF, [ISSUING], [], "no authority is trusted"),
        (LEAF, [], [ROOT], "the issuer of CN=leaf, CN=issuing, is neither in the chain nor trusted"),
        (LEAF, [ISSUING], [OTHER_ROOT], "the issuer of CN=issuing, CN=root, is neither"),
        (LEAF, [ISSUING, ROOT], [OTHER_ROOT], "CN=root signed itself and is not trusted"),
        (SELF, [], [ROOT], "CN=self signed itself and is not trusted"),
        (LEAF, [OLD_ISSUING], [ROOT], "CN=issuing expired at 2026-04-30"),
        (make("x", OLD_ROOT), [], [OLD_ROOT], "CN=old root expired"),
        (make("x", ROOT, end=YESTERDAY), [], [ROOT], "CN=x expired"),
        (make("x", ROOT, start=TOMORROW), [], [ROOT], "CN=x is not valid before 2026-05-02 12:00:00 UTC"),
        (LEAF, [IMPOSTOR], [OTHER_ROOT], "CN=leaf was not signed by the CN=issuing at hand"),
        (make("x", NO_CA), [NO_CA], [ROOT], "CN=no ca signed a certificate but is no authority"),
        (make("x", NO_SIGN), [NO_SIGN], [ROOT], "CN=no sign may not sign certificates"),
        (make("x", BELOW_SHORT), [BELOW_SHORT, SHORT], [ROOT], "CN=short allows 0 authorities below it"),
        (make("x", NARROW), [NARROW], [ROOT], "name constraints"),
        (
            make("x", ROOT, extra=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.9.9"), b"\5\0"), True)]),
            [],
            [ROOT],
            "critical extension that is not understood (1.3.9.9)",
        ),
        (make("x", ROOT, addresses=["10.0.0.2"], names=["db"]), [], [ROOT], "is for 10.0.0.2, db, not for 10.0.0.1"),
        (make("x", ROOT, addresses=[]), [], [ROOT], "is for nothing, not for"),
    ],
)
def test_a_refused_path_says_why(leaf: Made, chain: list[Made], roots: list[Made], reason: str) -> None:
    assert reason in explain(leaf, *chain, roots=roots)


def test_one_bad_issuer_does_not_hide_a_good_one_of_the_same_name() -> None:
    assert explain(LEAF, OLD_ISSUING, IMPOSTOR, ISSUING, roots=[ROOT]) == ""


def test_names_do_not_matter_when_nobody_looks_at_them() -> None:
    assert explain(make("x", ROOT, addresses=[]), roots=[ROOT], address=None) == ""


def test_a_long_chain_is_cut_off_and_a_circle_ends() -> None:
    above = ROOT
    chain = []
    for i in range(12):
        above = make(f"level {i}", above, ca=True, own_key="level")
        chain.append(above)
    assert "longer than 10" in explain(make("deep", above), *chain, roots=[ROOT])
    one = make("one", ROOT, ca=True)
    two = make("two", one, ca=True)
    circle = make("one", two, ca=True)
    assert "no path from CN=x ends" in explain(make("x", two), two, circle, roots=[OTHER_ROOT])


@pytest.mark.parametrize(
    ("names", "address", "match"),
    [
        (["db.example"], "DB.example.", True),
        (["*.example.com"], "db.example.com", True),
        (["*.example.com"], "a.b.example.com", False),
        (["*.com"], "db.com", False),
        (["10.0.0.9"], "10.0.0.9", False),  # an address as a DNS name counts for nothing
        ([], "fd00:0::1", True),
    ],
)
def test_names_match_as_rfc_9525_says(names: list[str], address: str, match: bool) -> None:
    assert serves(make("n", ROOT, names=names, addresses=["fd00::1"]).certificate, address) is match


DAYS = st.integers(-20, 20).map(lambda days: NOW + timedelta(days=days))
SPANS = st.tuples(DAYS, DAYS).filter(lambda span: span[0] < span[1])


@given(leaf=SPANS, issuing=SPANS, root=SPANS, in_chain=st.booleans(), ca=st.booleans(), trusted=st.booleans())
def test_agrees_with_a_strict_verifier(
    leaf: tuple[datetime, datetime],
    issuing: tuple[datetime, datetime],
    root: tuple[datetime, datetime],
    in_chain: bool,
    ca: bool,
    trusted: bool,
) -> None:
    top = make("h root", ca=True, start=root[0], end=root[1])
    middle = make("h issuing", top, ca=ca, start=issuing[0], end=issuing[1])
    x = make("h leaf", middle, start=leaf[0], end=leaf[1])
    chain = [middle] if in_chain else []
    anchors = [top] if trusted else [OTHER_ROOT]
    lenient = verification.ExtensionPolicy.permit_all()
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([a.certificate for a in anchors]))
        .time(NOW)
        .extension_policies(
            ca_policy=lenient.require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, None),
            ee_policy=lenient,
        )
        .build_client_verifier()
    )
    try:
        verifier.verify(x.certificate, [c.certificate for c in chain])
        accepted = True
    except verification.VerificationError:
        accepted = False
    assert (explain(x, *chain, roots=anchors) == "") is accepted


def test_issued_is_about_name_and_signature() -> None:
    assert issued(LEAF.certificate, ISSUING.certificate)
    assert not issued(LEAF.certificate, ROOT.certificate)
    assert not issued(LEAF.certificate, IMPOSTOR.certificate)
