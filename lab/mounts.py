"""Cassandra in a chroot on a plain folder: Java's list of mounts, completed.

Cassandra asks Java for the free space of its data folder, and Java looks for the folder's mount point in /proc/mounts
(sun.nio.fs.LinuxFileStore). In a chroot whose root is not itself a mount there is no line for "/": Cassandra ends with
"Unable check disk space". There, and only there, the lab runs the JVM with that class reading a list of ours.
"""

import struct
import zlib
from pathlib import Path

_MOUNTS = Path("/proc/mounts")
_CLASS = ("sun/nio/fs", "LinuxFileStore")
_HEADER = struct.Struct("<7I")  # magic, version, flags, resources, table length, locations' size, strings' size
_MAGIC = 0xCAFEDADA
_PACKED_HEADER = 29  # bytes: magic, packed size, size, name of the packer, its settings, whether it is the last
_PACKED_MAGIC = 0xCAFEFAFA
_PARENT, _BASE, _OFFSET, _PACKED_SIZE, _SIZE = 2, 3, 5, 6, 7  # attributes of a location


def flags(java: Path, folder: Path, mounts: Path = _MOUNTS) -> tuple[str, ...]:
    """The flags with which the Java at home `java` finds every folder's mount; none where it does anyway.

    Args:
        java: the home of the Java that is to run.
        folder: where the list and the class are written, when they are needed.
        mounts: what the system says is mounted (proc(5)).
    """
    listed = mounts.read_text()
    if any(line.split()[1] == "/" for line in listed.splitlines()):
        return ()
    code = _class(java / "lib/modules")
    if code is None:
        return ()  # a Java of another build: Cassandra will say what is wrong
    ours = folder / "mounts"
    target = folder / "patch" / _CLASS[0] / f"{_CLASS[1]}.class"
    target.parent.mkdir(parents=True, exist_ok=True)
    ours.write_text(f"none / rootfs rw 0 0\n{listed}")
    target.write_bytes(code.replace(_constant(str(_MOUNTS)), _constant(str(ours))))
    return (f"--patch-module=java.base={folder / 'patch'}",)


def _constant(text: str) -> bytes:
    """A CONSTANT_Utf8 of a class file (JVM specification, 4.4.7)."""
    content = text.encode()
    return struct.pack(">BH", 1, len(content)) + content


def _class(modules: Path) -> bytes | None:
    """The class out of a runtime image (jdk.internal.jimage.BasicImageReader), where it may be packed by zip."""
    image = modules.read_bytes()
    magic, _, _, _, length, locations_size, strings_size = _HEADER.unpack_from(image)
    if magic != _MAGIC:
        return None
    table = _HEADER.size + 4 * length  # after the redirections; then come locations, strings, resources
    locations = table + 4 * length
    strings = locations + locations_size
    for offset in struct.unpack_from(f"<{length}I", image, table):
        found = _location(image, locations + offset)
        if all(
            _text(image, strings + found.get(part, 0)) == name
            for part, name in zip((_PARENT, _BASE), _CLASS, strict=True)
        ):
            start = strings + strings_size + found.get(_OFFSET, 0)
            return _unpacked(image[start : start + (found.get(_PACKED_SIZE) or found[_SIZE])])
    return None


def _location(image: bytes, at: int) -> dict[int, int]:
    """A location's attributes: each a byte of kind (high five bits) and length less one, then the value."""
    attributes = {}
    while kind := image[at] >> 3:
        end = at + 2 + (image[at] & 7)
        attributes[kind] = int.from_bytes(image[at + 1 : end], "big")
        at = end
    return attributes


def _text(image: bytes, at: int) -> str:
    return image[at : image.index(b"\0", at)].decode()


def _unpacked(content: bytes) -> bytes:
    if struct.unpack_from("<I", content)[0] != _PACKED_MAGIC:
        return content
    return zlib.decompress(content[_PACKED_HEADER:])
