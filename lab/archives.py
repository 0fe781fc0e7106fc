"""Class-data archives: a JVM that maps its classes from a file starts with about a quarter less CPU.

Made once for each release by a node that runs alone for some seconds (JEP 350: -XX:ArchiveClassesAtExit, Java 13 and
newer, so not for the servers of 4.x). An archive is a convenience: when it can't be made, or does not fit the Java or
the jars any more, the JVM starts without it.
"""

import fcntl
import shutil
import socket
import ssl
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from lab.authority import Authority, client_identity
from lab.jars import RELEASES, Progress
from lab.node_config import Programs, server_command, write_node
from lab.spec import NATIVE_PORT, LabSpec

_ADDRESS = 250  # last octet; away from the labs
_START_S = 120
_OPTIONS = bytes.fromhex("040000000500000000")  # CQL 4: an OPTIONS request


def with_archives(spec: LabSpec, programs: Programs, cache: Path, progress: Progress) -> Programs:
    """The same programs with the flags that use the archives, which are made on first use."""
    folder = cache / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / f"{RELEASES[spec.cassandra]}.done"
    server, tool = done.with_suffix(".server.jsa"), done.with_suffix(".nodetool.jsa")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            progress("running one node for some seconds to make later starts faster (once)")
            home = folder / "training"
            shutil.rmtree(home, ignore_errors=True)
            _train(LabSpec(home, cassandra=spec.cassandra, nodes=1, first=_ADDRESS), programs, server, tool)
            shutil.rmtree(home)
            done.touch()
    return replace(programs, server_flags=programs.server_flags or _use(server), tool_flags=_use(tool))


def _use(archive: Path) -> tuple[str, ...]:
    # Logging is off because the JVM writes its complaints about an archive to standard output.
    return (f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:disable") if archive.exists() else ()


def _train(spec: LabSpec, programs: Programs, server: Path, tool: Path) -> None:
    node = spec.ring[0]
    able = spec.cassandra == "5.0" and not programs.server_flags  # a patched Java cannot
    flags = (f"-XX:ArchiveClassesAtExit={server}",) if able else programs.server_flags
    learning = replace(programs, server_flags=flags, tool_flags=(f"-XX:ArchiveClassesAtExit={tool}",))
    authority = Authority.open(spec.authority)
    write_node(spec, node, learning, "training", authority)
    with (node.logs / "console.log").open("wb") as log:
        process = subprocess.Popen(server_command(spec, node, learning), cwd=node.home, stdout=log, stderr=log)
        try:
            if _converse(node.address, client_identity(spec, authority), process):
                subprocess.run([node.bin / "nodetool", "status"], capture_output=True, check=False)
                process.terminate()
                process.wait(_START_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()


def _converse(address: str, client: Path, process: "subprocess.Popen[bytes]") -> bool:
    """Have the node answer one CQL request over TLS, so that its classes for that are loaded; whether it did."""
    context = ssl.create_default_context(cafile=client / "ca.crt")
    context.load_cert_chain(client / "tls.crt", client / "tls.key")
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with (
                socket.create_connection((address, NATIVE_PORT), timeout=5) as plain,
                context.wrap_socket(plain, server_hostname=address) as connection,
            ):
                connection.sendall(_OPTIONS)
                return bool(connection.recv(1))
        except OSError:
            time.sleep(0.1)
    return False
