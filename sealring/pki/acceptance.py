"""Would this truststore accept that identity in that role? Answered once for each question, however many nodes ask it.

The rules are those of Java's trust manager, as Cassandra uses it (`SSLFactory`: TrustManagerFactory of the JDK's
default algorithm, PKIX): a path from what is sent to anything in the truststore, validity, basicConstraints and
keyUsage of the authorities (`sealring.pki.trust`, which says why it is not `cryptography.x509.verification`); then
`sun.security.validator.EndEntityChecker`: digitalSignature where there is a keyUsage, serverAuth or clientAuth (or any)
where there is an extendedKeyUsage, of the leaf alone; then the addresses in the subject alternative name. A test asks a
JDK the same questions.

What makes it fast: of a truststore only the certificates count that the names of issuers lead to, so nodes whose
truststores differ in what does not matter share an answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealring.models.trust import Identity, Kind, TlsRole
from sealring.pki.certificates import Certificates, alternative_names, fingerprint, name_of
from sealring.pki.trust import find_path, serves

_ByName = Mapping[x509.Name, Sequence[str]]
_USAGE = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True)
class Refusal:
    """Why somebody would refuse an identity, and the first instant at which that is so."""

    kind: Kind
    reason: str
    at: datetime
    later: bool = False  # accepted at the start of the time that was asked about


class Judge:
    """Answers for a time from `start` to `end`, over a store of certificates by SHA-256."""

    def __init__(self, certificates: Mapping[str, x509.Certificate], start: datetime, end: datetime) -> None:
        """Every certificate that is asked about must be in `certificates`."""
        self._certificates = certificates
        self._start, self._end = start, max(start, end)
        self._identities: dict[Identity, int] = {}
        self._trusts: dict[tuple[str, ...], int] = {}
        self._of_number: list[tuple[Identity, _ByName]] = []
        self._of_trust: list[tuple[tuple[str, ...], _ByName]] = []
        self._names: dict[str, tuple[x509.Name, x509.Name]] = {}
        self._met: dict[tuple[int, int], Refusal | None] = {}
        self._paths: dict[tuple[int, frozenset[str], bool], Refusal | None] = {}
        self._leaves: dict[tuple[str, TlsRole, tuple[str, ...]], Refusal | None] = {}

    def identity(self, identity: Identity) -> int:
        """A number for what is sent: the same for the same."""
        if identity not in self._identities:
            self._identities[identity] = len(self._of_number)
            self._of_number.append((identity, self._index(identity.chain)))
        return self._identities[identity]

    def trust(self, trust: Iterable[str]) -> int:
        """A number for everything in a truststore, whose order says nothing."""
        content = tuple(sorted(set(trust)))
        if content not in self._trusts:
            self._trusts[content] = len(self._of_trust)
            self._of_trust.append((content, self._index(content)))
        return self._trusts[content]

    def refusal(self, identity: int, trust: int, role: TlsRole, addresses: tuple[str, ...] = ()) -> Refusal | None:
        """Why `identity` would be refused by who trusts `trust`; None when it is accepted all the time.

        Args:
            identity: what is sent, by its number.
            trust: the truststore, by its number.
            role: in which the identity is shown.
            addresses: all of them must be in the leaf; empty when nobody looks at them.
        """
        met = identity, trust
        if met not in self._met:
            self._met[met] = self._path(identity, trust)
        path, leaf = self._met[met], self._leaf(self._of_number[identity][0].leaf, role, addresses)
        return path if path and not (path.later and leaf) else leaf

    def _path(self, identity: int, trust: int) -> Refusal | None:
        relevant = self._reachable(identity, trust)
        content = self._of_trust[trust][0]
        key = identity, relevant, bool(content)
        if key not in self._paths:
            # With nothing that leads anywhere, any of its certificates makes the reason the right one.
            self._paths[key] = self._first_refusal(self._of_number[identity][0], relevant or content[:1])
        return self._paths[key]

    def _first_refusal(self, identity: Identity, trust: Iterable[str]) -> Refusal | None:
        leaf, *chain = (self._certificates[sha256] for sha256 in (identity.leaf, *identity.chain))
        roots = [self._certificates[sha256] for sha256 in trust]
        for at in self._instants([leaf, *chain, *roots]):
            found = find_path(leaf, chain, roots, at=at)
            if isinstance(found, str):
                return Refusal("path", found, at, later=at > self._start)
        return None

    def _instants(self, certificates: Iterable[x509.Certificate]) -> list[datetime]:
        """Start and end, and the instants in between at which something stops to be valid: nothing else can hurt."""
        ends = {c.not_valid_after_utc + timedelta(seconds=1) for c in certificates}
        between = {at for at in ends if self._start < at < self._end}
        return sorted({self._start, self._end} | between)

    def _reachable(self, identity: int, trust: int) -> frozenset[str]:
        """Of a truststore, what the names of issuers lead to from the leaf, and the leaf itself."""
        sent, chain = self._of_number[identity]
        content, trusted = self._of_trust[trust]
        found, reached = {sent.leaf}, {sent.leaf}.intersection(content)
        todo = [sent.leaf]
        while todo:
            issuer = self._naming(todo.pop())[1]
            trusting = trusted.get(issuer, ())
            reached.update(trusting)
            fresh = {*trusting, *chain.get(issuer, ())} - found
            found |= fresh
            todo += fresh
        return frozenset(reached)

    def _index(self, certificates: Iterable[str]) -> _ByName:
        index: dict[x509.Name, list[str]] = {}
        for sha256 in certificates:
            index.setdefault(self._naming(sha256)[0], []).append(sha256)
        return index

    def _naming(self, sha256: str) -> tuple[x509.Name, x509.Name]:
        """Subject and issuer."""
        if sha256 not in self._names:
            certificate = self._certificates[sha256]
            self._names[sha256] = certificate.subject, certificate.issuer
        return self._names[sha256]

    def _leaf(self, sha256: str, role: TlsRole, addresses: tuple[str, ...]) -> Refusal | None:
        key = sha256, role, addresses
        if key not in self._leaves:
            leaf = self._certificates[sha256]
            self._leaves[key] = self._usage(leaf, role) or self._address(leaf, addresses)
        return self._leaves[key]

    def _usage(self, leaf: x509.Certificate, role: TlsRole) -> Refusal | None:
        for extension in leaf.extensions:
            if isinstance(extension.value, x509.KeyUsage) and not extension.value.digital_signature:
                reason = f"{name_of(leaf)} may sign no handshake (keyUsage has no digitalSignature)"
                return Refusal("usage", reason, self._start)
            if isinstance(extension.value, x509.ExtendedKeyUsage):
                wanted = {_USAGE[role], ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
                if wanted.isdisjoint(extension.value):
                    reason = f"{name_of(leaf)} is not for the side of the {role} (extendedKeyUsage has no {role}Auth)"
                    return Refusal("usage", reason, self._start)
        return None

    def _address(self, leaf: x509.Certificate, addresses: tuple[str, ...]) -> Refusal | None:
        lost = [address for address in addresses if not serves(leaf, address)]
        if not lost:
            return None
        names, listed = alternative_names(leaf)
        has = ", ".join([*listed, *names]) or "nothing"
        return Refusal("address", f"{name_of(leaf)} is for {has}, not for {', '.join(lost)}", self._start)


@dataclass(frozen=True)
class Presented:
    """A leaf with its chain, the address that its listeners are dialled by, and the role in which it is shown."""

    node: str
    leaf: x509.Certificate
    chain: Certificates
    address: str | None = None  # where nobody compares
    role: TlsRole = "server"


@dataclass(frozen=True)
class Refused:
    """Somebody would not accept a leaf."""

    acceptor: str
    presenter: str
    reason: str


def refusals(
    presented: Sequence[Presented], trusting: Mapping[str, Sequence[x509.Certificate]], at: datetime
) -> Iterator[Refused]:
    """Every ordered pair of which one would not accept the other, at one instant.

    Args:
        presented: what is presented, by whom.
        trusting: authorities by the name of who trusts them.
        at: the instant to judge at (aware).
    """
    sent = [certificate for each in presented for certificate in (each.leaf, *each.chain)]
    trusted = {name: tuple(map(fingerprint, roots)) for name, roots in trusting.items()}
    known = {fingerprint(c): c for c in (*sent, *(root for roots in trusting.values() for root in roots))}
    judge = Judge(known, at, at)
    alike: dict[int, list[str]] = {}
    for name, roots in trusted.items():
        alike.setdefault(judge.trust(roots), []).append(name)
    for trust, names in alike.items():
        for each in presented:
            identity = judge.identity(Identity(leaf=fingerprint(each.leaf), chain=tuple(map(fingerprint, each.chain))))
            addresses = (each.address,) if each.address else ()
            if refusal := judge.refusal(identity, trust, each.role, addresses):
                yield from (Refused(name, each.node, refusal.reason) for name in names)
