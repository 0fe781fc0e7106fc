"""Environments of their own for tools that are no dependencies of ours: made on first use, from hashed requirements."""

import subprocess
import sys
from pathlib import Path

from lab import tools

_HERE = Path(__file__).parent


def program(environment: str, name: str) -> Path:
    """A program of the environment `environment`, which bench/competitors/requirements-<environment>.txt describes.

    Raises:
        subprocess.CalledProcessError: it could not be installed; pip has said why.
    """
    requirements = _HERE / f"requirements-{environment}.txt"
    folder = tools.cache() / "competitors" / environment
    ready = folder / "installed.txt"
    if not ready.is_file() or ready.read_bytes() != requirements.read_bytes():
        print(f"installing {environment} into {folder.relative_to(tools.cache().parent)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip: list[str | Path] = [
            folder / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--require-hashes", "-r", requirements], check=True)
        ready.write_bytes(requirements.read_bytes())
    return folder / "bin" / name


def version(environment: str, package: str) -> str:
    """The version that the requirements of an environment pin."""
    lines = (_HERE / f"requirements-{environment}.txt").read_text().splitlines()
    return next(line.split("==")[1].split()[0] for line in lines if line.startswith(f"{package}=="))
