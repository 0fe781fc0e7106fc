"""How long it would take to open something encrypted, read before it is tried: the rounds of its password derivation.

A file says itself how often its password is hashed; with 2^31 rounds a thread would be busy for an hour, and nothing
can stop it.
"""

from collections.abc import Iterator

MAX_ROUNDS = 5_000_000
"""Java's own limit (MAX_ITERATION_COUNT in sun.security.pkcs12.PKCS12KeyStore); `keytool` writes 10,000."""

MAX_KEY_BYTES = 6 * 1024
"""Of a private key (DER). RSA 8192 has 4.7 KiB. The library proves the primes of a key when it loads it, which took
150 s for RSA 16384 (measured, two busy cores) and cannot be stopped."""

_MAX_DEPTH = 20
_MAX_PARTS = 50_000
_INTEGER, _OCTETS, _SEQUENCE, _CONSTRUCTED = 0x02, 0x04, 0x30, 0x20


def cost(data: bytes) -> tuple[int, int]:
    """What opening a DER structure would cost, as (rounds, bytes of the largest encrypted key).

    Rounds are the most that any derivation asks for: PBKDF2, PKCS#12's own, scrypt's cost, a MAC's. Looked for by
    shape, not by name: an INTEGER right behind a salt (OCTET STRING), as in RFC 8018 A.2 and A.3, RFC 7292 appendix B
    and its MacData, RFC 7914 section 7.1. What is itself encrypted cannot be looked into.
    """
    rounds, key, parts, stack = 0, 0, 0, [(data, 0)]
    while stack:
        content, depth = stack.pop()
        before = 0
        for tag, value in _parts(content):
            parts += 1
            if tag == _INTEGER and before == _OCTETS:
                rounds = max(rounds, int.from_bytes(value[:16], "big"))
            # The content of PKCS#12 is wrapped in octet strings, in several of them where it was written as BER.
            inside = tag & _CONSTRUCTED or (tag == _OCTETS and value[:1] in (b"\x30", b"\x04"))
            # EncryptedPrivateKeyInfo (RFC 5958): the algorithm, then the key; encrypted certificates have another tag.
            if tag == _OCTETS and before == _SEQUENCE and not inside:
                key = max(key, len(value))
            before = tag
            if inside and depth < _MAX_DEPTH and parts < _MAX_PARTS:
                stack.append((value, depth + 1))
    return rounds, key


def _parts(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and value of each element; the last one takes what is left, where its length says more or nothing."""
    at = 0
    while at + 2 <= len(content):
        tag, size, at = content[at], content[at + 1], at + 2
        if size == 0x80:  # BER without a length
            size = len(content)
        elif size > 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(content[at : at + count], "big"), at + count
        yield tag, content[at : at + size]
        at += size
