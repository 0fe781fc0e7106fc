"""Handshakes with an identity that a worker holds in memory: a node's own, presented to its peers from where it is."""

import os
import ssl

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealring.cassandra.probe import client_context
from sealring.cassandra.tls import no_password
from sealring.pki.keys import PrivateKey
from sealring.pki.material import Material


def borrowed_context(material: Material) -> ssl.SSLContext | None:
    """What probes with this identity are made with; None when its key is not here, because it stays on its node.

    OpenSSL's binding reads files only: it is given one that has no name and lies in memory (memfd_create(2)).
    """
    if not isinstance(material.key, PrivateKey):
        return None
    context = client_context(None)
    secret = material.key.use().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in (material.leaf, *material.chain))
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret + public)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=no_password)
    return context
