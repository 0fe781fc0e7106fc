"""docker-compose.yml and its Dockerfile, as far as they can be held to the truth where no container engine is."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from lab.cli import app as lab_app
from starters.cli import app as sealring_app

ROOT = Path(__file__).parents[2]
FILE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROGRAMS = {"sealring": sealring_app, "python -m lab": lab_app}


def commands() -> list[str]:
    """What services run, and what the file's head tells people to type."""
    run = [" ".join(service["command"]) for service in FILE["services"].values() if "build" in service]
    told = re.findall(r"^#   docker compose exec ring (.+)$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    parts = [part.removeprefix("sh -c ").strip() for line in run + told for part in line.split("&&")]
    return [part for part in parts if not part.startswith("exec ")]


@pytest.mark.parametrize("line", commands())
def test_every_command_is_one_of_ours(line: str) -> None:
    (name,) = [name for name in PROGRAMS if line.startswith(name)]
    command: Any = typer.main.get_command(PROGRAMS[name])
    words = shlex.split(line.removeprefix(name))
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= options


def test_nothing_listens_for_strangers() -> None:
    published = [port for service in FILE["services"].values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_workers_share_the_nodes_loopback_and_files() -> None:
    ring = FILE["services"]["ring"]
    for name in ("control", "deploy"):
        worker = FILE["services"][name]
        assert worker["network_mode"] == "service:ring"
        assert (worker["volumes"], worker["environment"]) == (ring["volumes"], ring["environment"])


def test_what_the_image_copies_exists() -> None:
    lines = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert lines
    assert all((ROOT / word).exists() for line in lines for word in line.split())
