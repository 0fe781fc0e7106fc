"""What differs on a stand-in's disk from Cassandra's: unit, `nodetool`, `systemctl`, stores that open quickly."""

import shlex
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    KeySerializationEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from lab.authority import ALIAS, LOOPBACK, Identity
from lab.spec import LabSpec, NodeSpec
from lab.supervisor import Unit

DAEMON = "org.apache.cassandra.service.CassandraDaemon"
_SLEEP = 'cd "$0" && read -r _'
_ROUNDS = 100  # of key derivation: thousands are for passwords that people choose, and cost a fleet a minute

# bash alone, no other program: hundreds of these run in a rollout. `mapfile` from a socket would read byte by byte.
_TOOL = """#!/bin/bash
# The lab's stand-in for Cassandra: {tool} of {node}, answered by `python -m lab.standin`.
{{ exec 3<>/dev/tcp/{host}/{port}; }} 2>/dev/null || {{ echo "{refusal}" >&2; exit 1; }}
(IFS=$'\\t'; printf '%s\\n' "{node}"$'\\t'"{tool}${{*:+$IFS$*}}" >&3)
read -r code complaints lines <&3 || {{ echo "{refusal}" >&2; exit 1; }}
while ((complaints-- > 0)); do read -r line <&3; printf '%s\\n' "$line" >&2; done
((lines == 0)) || cat <&3
exit "$code"
"""
# What every look at a node asks: systemd answers it in a few milliseconds, and a fleet's rollout asks it thousands of
# times. As long as the node's process runs, what its service manager wrote last is the answer, and one small shell
# gives it; all else is asked of the manager.
SHOWN = "LoadState,ActiveState,SubState,MainPID,NRestarts,ControlGroup"
_SHOW = """#!/bin/sh
case $* in
"show -p {shown} cassandra" | "show -p {shown} cassandra.service")
    {{ IFS= read -r state <{state}; }} 2>/dev/null || state=
    pid=${{state#*'"pid": '}} restarts=${{state#*'"restarts": '}}
    active=${{state#*'"active": "'}} sub=${{state#*'"sub": "'}}
    if [ -n "$state" ] && [ -d "/proc/${{pid%%,*}}" ]; then
        printf 'MainPID=%s\\nNRestarts=%s\\n' "${{pid%%,*}}" "${{restarts%%,*}}"
        printf 'LoadState=loaded\\nActiveState=%s\\nSubState=%s\\n' "${{active%%'"'*}}" "${{sub%%'"'*}}"
        exit 0
    fi
    ;;
esac
exec /bin/bash -c {ask} systemctl "$@"
"""
_REFUSALS = {
    "nodetool": "nodetool: Failed to connect to '127.0.0.1:7199' - ConnectException: 'Connection refused'.",
    "systemctl": "Failed to connect to bus: Connection refused",
}


def unit(node: NodeSpec) -> Unit:
    """The node's unit: a process that tells, as Cassandra's does, where the node lives (`lab.standin.process`)."""
    return Unit(
        argv=[
            *("/bin/sh", "-c", _SLEEP, str(node.home), "lab.standin"),
            f"-Dcassandra.config={(node.conf / 'cassandra.yaml').as_uri()}",
            f"-Dcassandra.logdir={node.logs}",
            DAEMON,
        ],
        environment={"HOME": str(node.home), "PATH": "/usr/bin:/bin"},
        directory=str(node.home),
        log=str(node.logs / "console.log"),
    )


def tool(spec: LabSpec, node: NodeSpec, name: str) -> str:
    """The node's `nodetool` or `systemctl`."""
    ask = _TOOL.format(tool=name, node=node.name, host=LOOPBACK, port=spec.ring[0].jmx_port, refusal=_REFUSALS[name])
    if name != "systemctl":
        return ask
    return _SHOW.format(shown=SHOWN, state=shlex.quote(str(node.home / "service.json")), ask=shlex.quote(ask))


def quick_stores(identity: Identity, trusted: bytes, password: str) -> tuple[bytes, bytes]:
    """Keystore and truststore as `lab.authority.pkcs12_stores` makes them, but cheap to open."""
    leaf = x509.load_pem_x509_certificate(identity.certificate)
    chain = x509.load_pem_x509_certificates(identity.chain) if identity.chain else []
    key = load_pem_private_key(identity.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    keystore = pkcs12.serialize_key_and_certificates(ALIAS.encode(), key, leaf, chain, _encryption(password))
    return keystore, _truststore(trusted, password)


@lru_cache(4)
def _truststore(trusted: bytes, password: str) -> bytes:
    entries = [
        pkcs12.PKCS12Certificate(certificate, f"ca-{at}".encode())
        for at, certificate in enumerate(x509.load_pem_x509_certificates(trusted))
    ]
    return pkcs12.serialize_java_truststore(entries, _encryption(password))


def _encryption(password: str) -> KeySerializationEncryption:
    return (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password.encode())
    )
