"""What is refused before a lab is brought up, in one line."""

import socket
from pathlib import Path

import pytest

from lab import debian, preflight, tools
from lab.spec import LabSpec
from sealring.errors import SealringError


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    spec = LabSpec(tmp_path, first=141)
    wanted = preflight.node_ports(spec, spec.ring[1])
    preflight.check_ports(wanted)
    with (
        socket.create_server(("127.0.0.142", 9042)),
        pytest.raises(SealringError, match=r"127\.0\.0\.142:9042") as refused,
    ):
        preflight.check_ports(wanted)
    assert refused.value.code == "lab.port-busy"
    assert "\n" not in str(refused.value)


def test_too_little_memory_is_refused_with_the_amounts(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       8000000 kB\nMemAvailable:   1000000 kB\n")
    preflight.check_memory(1, meminfo=meminfo)
    with pytest.raises(SealringError, match=r"3 nodes need 1\.8 GB of memory, 1\.0 GB are available") as refused:
        preflight.check_memory(3, meminfo=meminfo)
    assert refused.value.code == "lab.memory"


def test_a_missing_tool_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_is_full_java17", lambda home: False)
    monkeypatch.setattr(debian, "install", lambda packages: False)
    monkeypatch.setattr(debian, "unpack", lambda packages, folder: False)
    said: list[str] = []
    with pytest.raises(SealringError, match="openjdk-17-jre-headless") as refused:
        tools.java17(said.append)
    assert refused.value.code == "lab.missing-tool"
    assert "\n" not in str(refused.value)
    assert len(said) == 1
