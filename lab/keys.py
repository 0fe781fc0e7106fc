"""The lab's SSH keys: a CA for hosts, a CA for users, the deploy user's identity and the known_hosts that follows."""

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncssh

from lab.authority import write_file
from lab.spec import SSH_PORT, LabSpec, NodeSpec

KEY_TYPE = "ssh-ed25519"


@dataclass(frozen=True)
class HostFiles:
    """Where a node's sshd has its things."""

    folder: Path

    @property
    def key(self) -> Path:
        """The host key; its certificate is beside it."""
        return self.folder / "host_key"

    @property
    def certificate(self) -> Path:
        """The host certificate, signed by the lab's host CA."""
        return self.folder / "host_key-cert.pub"

    @property
    def configuration(self) -> Path:
        """sshd reads it anew for each connection."""
        return self.folder / "sshd_config"


def host_files(node: NodeSpec) -> HostFiles:
    """The files of a node's sshd."""
    return HostFiles(node.home / "sshd")


def user_name() -> str:
    """The account that runs the lab: sessions log in as it, for an ordinary user's sshd can serve nobody else."""
    return pwd.getpwuid(os.getuid()).pw_name


def write_user(
    spec: LabSpec,
    name: str = "deploy",
    *,
    principals: Sequence[str] | None = None,
    authority: str = "user_ca",
    valid_after: datetime | None = None,
    valid_before: datetime | None = None,
) -> Path:
    """Make a user's key <spec.ssh>/<name> and certificate <name>-cert.pub; the key's path is returned.

    Args:
        spec: the lab.
        name: file name of the key.
        principals: login names it is good for; the lab's own user when not given.
        authority: name of the CA that signs; any other than "user_ca" is one that no node trusts.
        valid_after: start of validity; always valid when not given.
        valid_before: end of validity; for ever when not given.
    """
    ca = open_ca(spec.ssh, authority)
    key = asyncssh.generate_private_key(KEY_TYPE, comment=name)
    certificate = ca.generate_user_certificate(
        key,
        name,
        principals=[user_name()] if principals is None else list(principals),
        valid_after=valid_after or 0,
        valid_before=valid_before or 0xFFFFFFFFFFFFFFFF,
    )
    _write_pair(spec.ssh / name, key, certificate)
    return spec.ssh / name


def write_host(spec: LabSpec, node: NodeSpec, *, authority: str = "host_ca") -> None:
    """Make a new host key and certificate for a node; from another authority it is a host that nobody knows."""
    ca = open_ca(spec.ssh, authority)
    key = asyncssh.generate_private_key(KEY_TYPE, comment=node.name)
    certificate = ca.generate_host_certificate(key, node.name, principals=[node.address, node.name])
    files = host_files(node)
    files.folder.mkdir(parents=True, exist_ok=True)
    _write_pair(files.key, key, certificate)


def write_known_hosts(spec: LabSpec) -> Path:
    """known_hosts with one line: the host CA speaks for every loopback address, with and without the lab's port."""
    public = open_ca(spec.ssh, "host_ca").export_public_key().decode().strip()
    path = spec.ssh / "known_hosts"
    write_file(path, f"@cert-authority 127.*,[127.*]:{SSH_PORT} {public}\n".encode(), 0o644)
    return path


def open_ca(folder: Path, name: str) -> asyncssh.SSHKey:
    """The CA key of that name, made on first use."""
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write_pair(path, asyncssh.generate_private_key(KEY_TYPE, comment=f"lab {name}"), None)
    return asyncssh.read_private_key(path)


def _write_pair(path: Path, key: asyncssh.SSHKey, certificate: asyncssh.SSHCertificate | None) -> None:
    write_file(path, key.export_private_key(), 0o600)
    write_file(path.with_name(f"{path.name}.pub"), key.export_public_key(), 0o644)
    if certificate:
        write_file(path.with_name(f"{path.name}-cert.pub"), certificate.export_certificate(), 0o644)
