"""Cassandra's jars from Maven Central, resolved and downloaded in Python (PyPI `jgo`), kept in the cache.

There is no binary tarball of Cassandra 4.0 or newer on Maven Central, but `org.apache.cassandra:cassandra-all` with its
dependencies (about 100 jars, 67 MB) is the whole server.
"""

import fcntl
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from sealring.errors import Actor, refuse

Progress = Callable[[str], None]

RELEASES = {"5.0": "5.0.9", "4.1": "4.1.10", "4.0": "4.0.18"}
"""The release that stands for a version line."""

_SYSTEM_TRUST = Path("/etc/ssl/certs/ca-certificates.crt")
_DOWNLOAD_TIMEOUT_S = 60
_AT_A_TIME = 8


def classpath(version: str, cache: Path, progress: Progress) -> tuple[Path, ...]:
    """The jars of Cassandra `version` (a line, "5.0") in a stable order; downloads them on first use.

    The list is written last, under a lock: an interrupted download starts over, a second process waits for the first.

    Raises:
        SealringError: lab.missing-tool, when the jars can't be had.
    """
    release = RELEASES[version]
    home = cache / "jars" / release
    listing = home.with_name(f"{release}.list")
    if not listing.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with (home.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not listing.exists():
                shutil.rmtree(home, ignore_errors=True)
                names = _download(release, home, progress)
                part = listing.with_name(f"{release}.part")
                part.write_text("".join(f"{name}\n" for name in names))
                part.rename(listing)
    return tuple(home / name for name in listing.read_text().splitlines())


def _download(release: str, home: Path, progress: Progress) -> list[str]:
    """Fill `home`; the jars' paths relative to it, sorted."""
    try:
        from jgo.maven import MavenContext
    except ImportError as e:
        raise refuse(
            "lab.missing-tool",
            "The Python package jgo is missing: it downloads Cassandra.",
            'pip install "sealring[lab]"',
        ) from e
    # requests brings a list of authorities of its own; what this computer trusts shall count, as it does for apt.
    if _SYSTEM_TRUST.exists():
        os.environ.setdefault("REQUESTS_CA_BUNDLE", str(_SYSTEM_TRUST))
    progress(f"Cassandra {release}: resolving what to download")
    try:
        maven = MavenContext(repo_cache=home, timeout=_DOWNLOAD_TIMEOUT_S)
        wanted = maven.create_dependency(f"org.apache.cassandra:cassandra-all:{release}")
        inputs, transitive = maven.resolver.resolve([wanted])
        artifacts = [d.artifact for d in [*inputs, *(d for d in transitive if d.scope in ("compile", "runtime"))]]
        paths: list[Path] = []
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for done in as_completed([pool.submit(artifact.resolve) for artifact in artifacts]):
                paths.append(done.result())
                if len(paths) % 20 == 0 or len(paths) == len(artifacts):
                    megabytes = sum(path.stat().st_size for path in paths) / 1e6
                    progress(f"Cassandra {release}: {len(paths)} of {len(artifacts)} jars, {megabytes:.0f} MB")
    except (OSError, RuntimeError) as e:  # requests' errors are OSErrors; jgo's own are RuntimeErrors
        raise refuse(
            "lab.missing-tool",
            f"Cassandra {release} could not be downloaded from Maven Central ({type(e).__name__}).",
            "check the network (and the proxy settings) and run the same command again",
            actor=Actor.NETWORK_ADMIN,
        ) from e
    return sorted(str(path.relative_to(home)) for path in paths)
