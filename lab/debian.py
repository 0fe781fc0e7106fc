"""Programs out of Debian packages for somebody who is not root: downloaded by apt and unpacked, never installed.

apt keeps its state in a folder of ours, so it needs no rights; it verifies signatures as always. Only packages that
the machine does not already have are fetched.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


def install(packages: Sequence[str]) -> bool:
    """Install `packages` with apt-get as root; whether that was possible and worked."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    update = ["apt-get", "update", "-q"]
    return any(
        all(subprocess.run(step, env=environment, capture_output=True, check=False).returncode == 0 for step in steps)
        for steps in ([command], [update, command])
    )


def unpack(packages: Sequence[str], folder: Path) -> bool:
    """Download `packages` with what they depend on and unpack them below `folder`; whether that worked.

    Absolute symlinks into other parts of the packages (Debian's Java keeps its configuration in /etc) are turned to
    the unpacked copies.
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return False
    apt = folder.with_name(folder.name + ".apt")
    for part in ("state/lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State": apt / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": apt / "cache",
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "",
        "Binary::apt-get::APT::Keep-Downloaded-Packages": "1",
    }
    # The machine's own apt configuration may run hooks that tidy root's caches (docker-clean): not ours to run.
    hooks = (
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
        "DPkg::Post-Invoke",
    )
    config = apt / "apt.conf"
    config.write_text(
        "".join(f'{key} "{value}";\n' for key, value in options.items())
        + "".join(f"#clear {hook};\n" for hook in hooks)
    )
    # -c is read after the machine's configuration, so that #clear and our folders win.
    apt_get = ["apt-get", "-c", str(config), "-q", "-y"]
    for arguments in (["update"], ["install", "--download-only", "--no-install-recommends", *packages]):
        if subprocess.run([*apt_get, *arguments], capture_output=True, check=False).returncode != 0:
            return False
    staging = folder.with_name(folder.name + ".unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        if subprocess.run(["dpkg", "-x", str(package), str(staging)], capture_output=True, check=False).returncode != 0:
            return False
    _turn_links(staging)
    shutil.rmtree(folder, ignore_errors=True)
    staging.rename(folder)
    shutil.rmtree(apt)
    return True


def library_path(folder: Path) -> str:
    """LD_LIBRARY_PATH with which programs unpacked below `folder` find the libraries that came with them."""
    folders = {str(library.parent) for library in folder.glob("**/lib/*-linux-gnu*/*.so*")}
    return ":".join(sorted(folders))


def _turn_links(root: Path) -> None:
    for path in root.rglob("*"):
        if path.is_symlink() and os.path.isabs(target := os.readlink(path)):
            copy = root / target.lstrip("/")
            if copy.exists():
                path.unlink()
                path.symlink_to(os.path.relpath(copy, path.parent))
