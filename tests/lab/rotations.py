"""What tests of CA rotations share: starting one, and asking listeners whom they go on talking to."""

import asyncio
import hashlib
import ssl
from pathlib import Path

from lab.authority import LOOPBACK, Authority, Identity, write_identity
from lab.spec import INTERNODE_PORT, NATIVE_PORT, LabSpec
from sealring.cassandra.probe import ClientIdentity, probe
from sealring.models.cluster import Listener
from sealring.models.rollout import RolloutReport
from tests.lab.engine import Engine


def rotate(engine: Engine, delivery: Path, *words: str) -> None:
    started = engine.cli("ca", "rotate", "lab", "-m", str(delivery), "--no-watch", *words)
    assert started.returncode == 0, started.stderr


def end_of(engine: Engine) -> RolloutReport:
    done = engine.cli("rollout", "watch", "lab", "--json")
    assert done.stdout, done.stderr
    return RolloutReport.model_validate_json(done.stdout)


def accepted(spec: LabSpec, folder: Path) -> dict[str, bool | None]:
    """Whether each listener of each node goes on talking to whoever presents this identity."""

    async def look() -> dict[str, bool | None]:
        identity = ClientIdentity(folder / "tls.crt", folder / "tls.key")
        found = {}
        for node in spec.ring:
            native = Listener(kind="native", address=node.address, port=NATIVE_PORT)
            for listener in (native, Listener(kind="internode", address=node.address, port=INTERNODE_PORT)):
                found[str(listener)] = (await probe(listener, identity=identity)).accepted
        return found

    return asyncio.run(look())


def leaves(delivery: Path, spec: LabSpec) -> dict[str, str]:
    """Fingerprint of each node's leaf in a delivery."""
    pems = {node.address: (delivery / node.address / "tls.crt").read_text() for node in spec.ring}
    return {address: hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest() for address, pem in pems.items()}


def trust(client: Path, trusted: bytes) -> None:
    """The client trusts these (PEM) from now on, and keeps its identity."""
    identity = Identity((client / "tls.crt").read_bytes(), b"", (client / "tls.key").read_bytes())
    write_identity(client, identity, trusted)


def follow(client: Path, authority: Authority, trusted: bytes) -> None:
    """The client gets an identity of another authority."""
    write_identity(client, authority.issue([LOOPBACK], common_name="sealring client"), trusted)


def hand_over(spec: LabSpec, authority: Authority) -> None:
    """From now on it is the lab's authority: other tests go on with the ring."""
    for name in ("ca.crt", "ca.key"):
        (authority.folder / name).replace(spec.authority / name)
