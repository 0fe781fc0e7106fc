"""Real OpenSSH for every node: own address, own host key and certificate, own configuration, one process in all.

Start reading at `start_hosts`. `lab.keys` makes the keys, `lab.superserver` is the process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab import state
from lab.authority import write_file
from lab.keys import host_files, open_ca, user_name, write_host, write_known_hosts, write_user
from lab.spec import SSH_PORT, LabSpec, NodeSpec
from sealring.errors import refuse

Link = Literal["up", "refuse", "freeze"]

ROLE = "sshd"
START_SECONDS = 60.0
STOP_SECONDS = 60.0
_POLL_SECONDS = 0.01
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class HostOptions:
    """How a node's sshd departs from the usual.

    Args:
        sftp: whether there is an SFTP subsystem.
        max_sessions: sshd's MaxSessions; an SFTP channel counts.
        authorized_keys: a file of public keys that may log in without a certificate.
        restrictions: further lines, a Match block for instance.
        user_ca: a file of the authorities whose user certificates are good; the lab's own when not given.
    """

    sftp: bool = True
    max_sessions: int = 10
    authorized_keys: Path | None = None
    restrictions: str = ""
    user_ca: Path | None = None


def start_hosts(spec: LabSpec, sshd: Path) -> None:
    """Make what is missing of keys and configuration, and serve SSH on every node's address.

    Args:
        spec: the lab.
        sshd: the OpenSSH daemon to run.

    Raises:
        SealringError: `lab.port-busy`, or `lab.sshd-failed` when the process did not come up.
    """
    prepare_hosts(spec)
    for node in spec.ring:
        _require_free(node)
    command = [str(sshd.resolve()), "-i"]
    hosts = [
        {
            "name": node.name,
            "address": node.address,
            "port": SSH_PORT,
            "command": [*command, "-f", str(host_files(node).configuration), "-E", str(node.logs / "sshd.log")],
        }
        for node in spec.ring
    ]
    settings = {"links": str(_links(spec)), "applied": str(_applied(spec)), "hosts": hosts}
    configuration = spec.ssh / "superserver.json"
    write_file(configuration, json.dumps(settings, indent=1).encode(), 0o600)
    write_file(_links(spec), b"{}", 0o600)
    _applied(spec).unlink(missing_ok=True)
    log = spec.ssh / "superserver.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.superserver", str(configuration)],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    state.record(spec.root, ROLE, process.pid)
    if not _applies(spec, {}, START_SECONDS):
        stop_hosts(spec)
        words = log.read_text().strip().splitlines()[-1:] or ["it said nothing"]
        raise refuse("lab.sshd-failed", f"the lab's SSH server did not start: {words[0]}", f"read {log}")


def stop_hosts(spec: LabSpec) -> None:
    """End the SSH server with every session and every command that sessions left behind."""
    state.stop(spec.root, ROLE, STOP_SECONDS)


def prepare_hosts(spec: LabSpec) -> None:
    """Write what is missing of CAs, the deploy user's identity, known_hosts, and each node's key and configuration."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd refuses to separate privileges without it
    open_ca(spec.ssh, "user_ca")
    write_known_hosts(spec)
    if not (spec.ssh / "deploy").exists():
        write_user(spec)
    for node in spec.ring:
        node.logs.mkdir(parents=True, exist_ok=True)
        if not host_files(node).key.exists():
            write_host(spec, node)
        if not host_files(node).configuration.exists():
            configure_host(spec, node)


def configure_host(spec: LabSpec, node: NodeSpec, options: HostOptions = HostOptions()) -> None:
    """Write a node's sshd configuration; it holds for the next connection, with no restart."""
    files = host_files(node)
    lines = [
        f'HostKey "{files.key}"',
        f'HostCertificate "{files.certificate}"',
        f'TrustedUserCAKeys "{options.user_ca or spec.ssh / "user_ca.pub"}"',
        f'AuthorizedKeysFile "{options.authorized_keys or "none"}"',
        f"AllowUsers {user_name()}",
        "AuthenticationMethods publickey",
        "PermitRootLogin prohibit-password",
        "UsePAM no",  # an ordinary user's sshd has no right to it
        "StrictModes no",  # the lab may lie below folders that others can write to
        "UseDNS no",
        "PidFile none",
        "PrintMotd no",
        "PrintLastLog no",
        "LogLevel VERBOSE",
        f"MaxSessions {options.max_sessions}",
        # SHLVL: bash under sshd would read the account's .bashrc, which may put its own tools before the node's
        f'SetEnv SHLVL=1 "PATH={node.bin}:{_SYSTEM_PATH}" SEALRING_LAB_NODE={node.name}',
        *(["Subsystem sftp internal-sftp"] if options.sftp else []),
        *options.restrictions.splitlines(),  # last: a Match block holds until the end
    ]
    write_file(files.configuration, "".join(f"{line}\n" for line in lines).encode(), 0o600)


def cut(spec: LabSpec, node: NodeSpec, link: Link = "refuse") -> None:
    """Cut a node's SSH and return when it is cut.

    `refuse`: connections end at once and new ones are refused. `freeze`: nothing ends, but no byte passes.

    Raises:
        SealringError: `lab.sshd-failed` when the SSH server does not answer.
    """
    links: dict[str, str] = json.loads(_links(spec).read_text())
    links[node.name] = link
    write_file(_links(spec), json.dumps(links).encode(), 0o600)
    if server := state.alive(spec.root).get(ROLE):
        os.kill(server, signal.SIGHUP)
    if not _applies(spec, links, STOP_SECONDS):
        raise refuse("lab.sshd-failed", f"the lab's SSH server did not {link} {node.name}", "start the lab again")


def restore(spec: LabSpec, node: NodeSpec) -> None:
    """Make a cut link whole; what was frozen goes on where it stood."""
    cut(spec, node, "up")


def _applies(spec: LabSpec, links: dict[str, str], timeout: float) -> bool:
    """Wait until the server says that these links hold."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if _applied(spec).exists() and json.loads(_applied(spec).read_text()) == links:
            return True
        if ROLE not in state.alive(spec.root):
            return False
        time.sleep(_POLL_SECONDS)
    return False


def _require_free(node: NodeSpec) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((node.address, SSH_PORT))
        except OSError as error:
            place = f"{node.address}:{SSH_PORT}"
            raise refuse(
                "lab.port-busy",
                f"{place} cannot be bound for SSH: {error.strerror}",
                f"end what listens there (ss -ltnp | grep {place}), or choose another first address",
                node=node.address,
            ) from error


def _links(spec: LabSpec) -> Path:
    return spec.ssh / "links.json"


def _applied(spec: LabSpec) -> Path:
    return spec.ssh / "links.applied.json"
