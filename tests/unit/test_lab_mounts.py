"""In a chroot on a plain folder Java must find the mount of "/" all the same."""

from pathlib import Path

import pytest

from lab import mounts, tools


def test_nothing_is_patched_where_the_root_is_listed(tmp_path: Path) -> None:
    listed = tmp_path / "listed"
    listed.write_text("proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n")
    assert mounts.flags(tmp_path / "no-java", tmp_path, listed) == ()


@pytest.mark.parametrize("java", [tools.java17, tools.java11])
def test_without_it_java_reads_a_list_of_ours(tmp_path: Path, java: object) -> None:
    assert callable(java)
    listed = tmp_path / "listed"
    listed.write_text("proc /proc proc rw 0 0\n")
    (flag,) = mounts.flags(java(), tmp_path, listed)
    patched = Path(flag.removeprefix("--patch-module=java.base=")) / "sun/nio/fs/LinuxFileStore.class"
    code = patched.read_bytes()
    assert code.startswith(bytes.fromhex("cafebabe"))
    assert str(tmp_path / "mounts").encode() in code
    assert b"/proc/mounts" not in code
    assert (tmp_path / "mounts").read_text() == "none / rootfs rw 0 0\nproc /proc proc rw 0 0\n"
