"""Small rings on paper: nodes with real certificates, as the simulation of trust is given them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from sealring.models.trust import ClientTrust, Demands, Identity, NodeTrust
from sealring.pki.certificates import fingerprint
from tests.unit.pki_maker import Made, make

STRICT = Demands(client_auth=True, endpoint_verification=True)
LAX = Demands(client_auth=True, endpoint_verification=False)
ONE_WAY = Demands(client_auth=False, endpoint_verification=False)


@dataclass
class Paper:
    """Certificates by SHA-256, and nodes that name them."""

    certificates: dict[str, x509.Certificate] = field(default_factory=dict)

    def keep(self, *made: Made) -> tuple[str, ...]:
        """The certificates' names."""
        named = {fingerprint(m.certificate): m.certificate for m in made}
        self.certificates |= named
        return tuple(fingerprint(m.certificate) for m in made)

    def identity(self, leaf: Made, *chain: Made) -> Identity:
        """What is sent."""
        return Identity(leaf=self.keep(leaf)[0], chain=self.keep(*chain))

    def node(
        self,
        number: int,
        leaf: Made,
        chain: Sequence[Made],
        trust: Sequence[Made],
        *,
        internode: Demands | None = STRICT,
        native: Demands | None = ONE_WAY,
    ) -> NodeTrust:
        """Node `number` in one generation."""
        address = address_of(number)
        return NodeTrust(
            address=address,
            identity=self.identity(leaf, *chain),
            trust=self.keep(*trust),
            dialled=(address,),
            source=(address,),
            serving=(address,),
            internode=internode,
            native=native,
        )

    def client(self, name: str, *trust: Made, identity: Identity | None = None) -> ClientTrust:
        """A client of the ring."""
        return ClientTrust(name=name, identity=identity, trust=self.keep(*trust))


def address_of(number: int) -> str:
    """Of a node, as peers dial it."""
    return f"10.0.{number // 250}.{number % 250 + 1}"


def leaf_of(number: int, issuer: Made, **how: object) -> Made:
    """A leaf of node `number`."""
    chosen: Mapping[str, object] = {"addresses": [address_of(number)], "own_key": "nodes", **how}
    return make(f"n{number}", issuer, **chosen)  # type: ignore[arg-type]
