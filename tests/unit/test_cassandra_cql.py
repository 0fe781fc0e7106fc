"""What a conversation over CQL trusts."""

import ssl
from pathlib import Path

from sealring.cassandra.cql import tls_context
from sealring.models.cluster import CqlSettings
from tests.unit.pki_maker import make


def test_only_the_authorities_that_the_cluster_file_names_are_trusted(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes(make("ca", ca=True).pem)
    context = tls_context(CqlSettings(ca=ca))
    assert context is not None
    assert len(context.get_ca_certs()) == 1, "the system's authorities have no say in a ring"
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN, (
        "an issuing authority may be named, whatever the Python"
    )
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_without_an_authority_there_is_no_tls() -> None:
    assert tls_context(CqlSettings()) is None
