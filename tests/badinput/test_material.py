"""Deliveries, each spoilt in its own way: refused when read, or by a check; none takes long or much."""

import os
import resource
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from sealring.errors import SealringError
from sealring.models.cluster import MaterialPolicy
from sealring.models.evidence import Verdict
from sealring.models.material import MaterialRef
from sealring.pki.policy import lint
from sealring.sources.files import FileSource
from tests.badinput.catalogue import Case, cases, in_time, tree
from tests.unit.pki_maker import ADDRESS, ISSUING, LEAF, NODE, NOW, OTHER_ROOT, ROOT, Made, make
from tests.unit.test_sources_files import put_pem, put_pkcs12

pytestmark = pytest.mark.criterion("G4")

MEMORY = 300 * 1024  # KiB that one case may add
SECRETS = ("tls.key", "keystore.p12", "password")


def pem(made: Made) -> dict[str, bytes]:
    return {"tls.crt": made.pem + ISSUING.pem, "tls.key": made.key_pem}


def spoilt_key(made: Made, encryption: bytes) -> bytes:
    return made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(encryption))


def x25519_pem() -> bytes:
    key = x25519.X25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def bomb(rounds_of: str) -> bytes:
    """A keystore whose password, or whose checksum, asks for 2^31-1 rounds: the numbers of a good one changed."""
    few = 12_345
    encryption = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(few).build(b"secret")
    store = pkcs12.serialize_key_and_certificates(b"x", LEAF.key, LEAF.certificate, None, encryption)
    old, new = b"\x02\x02" + few.to_bytes(2, "big"), b"\x02\x04" + (2**31 - 1).to_bytes(4, "big")
    # Both lengths differ by two bytes; the outermost ones are mended, those in between need not be for a reader of
    # shapes, but the file must still look whole.
    at = store.find(old) if rounds_of == "key" else store.rfind(old)
    changed = store[:at] + new + store[at + len(old) :]
    return b"\x30\x82" + (len(changed) - 4).to_bytes(2, "big") + changed[4:]


def cross_web() -> dict[str, bytes]:
    """Authorities that all have one name and sign each other, and a leaf below none of them."""
    names = [make("web", ca=True, own_key=f"web {i}") for i in range(30)]
    signed = [make("web", signer, ca=True, own_key=f"web {i}") for signer in names for i in range(30)]
    leaf = make("leaf", names[0])
    return {
        "tls.crt": leaf.pem,
        "tls.key": leaf.key_pem,
        "ca.crt": OTHER_ROOT.pem + b"".join(each.pem for each in signed)[:900_000].rpartition(b"-----BEGIN")[0],
    }


def huge_extension() -> bytes:
    wide = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x04" * 100_000)
    return make("wide", ISSUING, extra=[(wide, False)]).pem


def negative_serial() -> bytes:
    """The leaf with the sign of its serial changed: an INTEGER right behind the version."""
    data = bytearray(LEAF.certificate.public_bytes(Encoding.DER))
    at = data.find(b"\xa0\x03\x02\x01\x02\x02") + 7
    data[at : at + data[at - 1]] = b"\xff" * data[at - 1]  # not the shortest form of a number either
    return bytes(data)


MAKERS: dict[str, Callable[[], dict[str, bytes]]] = {
    "binary_certificate": lambda: {"tls.crt": os.urandom(500)},
    "cut_certificate": lambda: {"tls.crt": LEAF.pem[:200]},
    "key_in_certificate": lambda: {"tls.crt": LEAF.pem + LEAF.key_pem},
    "ten_megabytes": lambda: {"tls.crt": LEAF.pem * 15_000},
    "huge_extension": lambda: {"tls.crt": huge_extension()},
    "begins": lambda: {"tls.crt": b"-----BEGIN CERTIFICATE-----\n" * 30_000},
    "long_chain": lambda: {"tls.crt": LEAF.pem + ISSUING.pem * 1500},
    "negative_serial": lambda: {"tls.crt": negative_serial()},
    "two_leaves": lambda: {"tls.crt": LEAF.pem + make("leaf two", ISSUING).pem},
    "twice": lambda: {"tls.crt": LEAF.pem + LEAF.pem + ISSUING.pem},
    "wrong_order": lambda: {"tls.crt": ISSUING.pem + LEAF.pem},
    "year_9999": lambda: pem(
        make("leaf", ISSUING, start=datetime(9998, 1, 1, tzinfo=UTC), end=datetime(9999, 12, 31, tzinfo=UTC))
    ),
    "rsa_1024": lambda: pem(make("weak leaf", ISSUING, own_key="rsa-1024")),
    "ed25519": lambda: pem(make("odd leaf", ISSUING, own_key="ed25519")),
    "other_key": lambda: {"tls.key": ROOT.key_pem},
    "other_kind": lambda: {"tls.key": make("weak leaf", ISSUING, own_key="rsa-1024").key_pem},
    "key_encrypted": lambda: {"tls.key": spoilt_key(LEAF, b"word")},
    "two_keys": lambda: {"tls.key": LEAF.key_pem * 2},
    "rsa_16k": lambda: {"tls.key": b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 12_600 + b"\n-----END PRIVATE KEY-----\n"},
    "x25519": lambda: {"tls.key": x25519_pem()},
    "other_trust": lambda: {"ca.crt": OTHER_ROOT.pem},
    "cross_web": cross_web,
    "p12_password": lambda: {"password": b"other\n"},
    "p12_password_binary": lambda: {"password": b"\xff\xfe"},
    "p12_pem": lambda: {"keystore.p12": LEAF.pem},
    "p12_jks": lambda: {"keystore.p12": bytes.fromhex("feedfeed00000002")},
    "p12_no_key": lambda: {
        "keystore.p12": pkcs12.serialize_key_and_certificates(
            b"x", None, None, [ROOT.certificate], BestAvailableEncryption(b"secret")
        )
    },
    "p12_bomb": lambda: {"keystore.p12": bomb("key")},
    "p12_mac_bomb": lambda: {"keystore.p12": bomb("mac")},
    "both": lambda: {"tls.crt": LEAF.pem},
}


def spoil(case: Case, folder: Path) -> str:
    """Spoil a good delivery; the path to ask for."""
    delivery = folder.parent
    match case.input:
        case "relative":
            return "deliveries/may"
        case "nul":
            return f"{delivery}\0"
        case "climbing":
            return f"{delivery}/../../../../../../../../etc"
        case "file":
            return str(folder / "tls.crt")
        case "no_folder":
            folder.rename(delivery / "10.0.0.2")
        case "loop":
            folder.rename(delivery / "gone")
            folder.symlink_to(folder.name)
        case "link_out":
            (folder / "tls.key").unlink()
            (folder / "tls.key").symlink_to("/etc/hostname")
        case "fifo":
            (folder / "tls.crt").unlink()
            os.mkfifo(folder / "tls.crt")
        case "key_mode":
            (folder / "tls.key").chmod(0o644)
        case "p12_cut":
            store = folder / "keystore.p12"
            store.write_bytes(store.read_bytes()[:300])
        case _:
            files = (
                {n: t.encode() for n, t in case.input.items()} if isinstance(case.input, dict) else MAKERS[case.input]()
            )
            for name, content in files.items():
                (folder / name).write_bytes(content)
                (folder / name).chmod(0o600 if name in SECRETS else 0o644)
    return str(delivery)


@pytest.mark.parametrize("case", cases("material"))
async def test_a_bad_delivery_is_refused(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "delivery" / ADDRESS
    (put_pkcs12 if str(case.input).startswith(("p12", "both")) else put_pem)(folder)
    path = spoil(case, folder)
    before, peak = tree(tmp_path), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told: list[SealringError | str] = []
    with in_time():
        try:
            material = await FileSource().load(MaterialRef.model_construct(provider="files", path=path), NODE)
            clocks = {"worker": NOW}
            judged = lint(
                material,
                MaterialPolicy(),
                node=NODE,
                addresses=(ADDRESS,),
                clocks=clocks,
                endpoint_verification=True,
                client_auth=True,
            )
            failed = [f for f in judged if f.verdict is Verdict.FAIL and f.check == case.code]
            told += [str(finding) for finding in failed]
        except SealringError as error:
            assert error.node == ADDRESS
            told.append(error)
    assert told, "it was taken for good"
    case.expects(told[0])
    assert tree(tmp_path) == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < MEMORY
