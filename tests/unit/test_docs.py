"""Documentation compared with the code. `python -m tests.unit.test_docs` writes the generated parts anew."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from sealring.hosts.refusals import MEANINGS
from sealring.models.checks import CHECKS, Where
from sealring.models.cluster import ClusterFile, CqlSettings, ServiceSettings, SshSettings
from sealring.models.rollout import RolloutRequest
from sealring.models.topology import Topology
from sealring.models.vault import VaultSettings
from sealring.settings import Settings, read_cluster
from starters.cli import app
from starters.exits import Exit

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SCHEMAS: dict[str, type[BaseModel]] = {
    "cluster.schema.json": ClusterFile,
    "rollout.schema.json": RolloutRequest,
    "topology.schema.json": Topology,
}
SECTIONS: dict[str, type[BaseModel]] = {
    "cql": CqlSettings,
    "ssh": SshSettings,
    "service": ServiceSettings,
    "vault": VaultSettings,
}
BEGIN, END = "<!-- generated: python -m tests.unit.test_docs -->", "<!-- end of what is generated -->"
ENGINE = ("sealring", "activities", "workflows", "workers", "starters")
CODE = re.compile(r"^[a-z][a-z-]*\.[a-z][a-z-]*$")


def schema(name: str) -> str:
    return json.dumps(SCHEMAS[name].model_json_schema(), indent=2) + "\n"


SECTIONS_OF_CHECKS = {
    "The delivery (`sealring material lint`, and again on each node at its own clock)": (Where.DELIVERY,),
    "The node, before": (Where.NODE, Where.JVM, Where.CQL, Where.PEERS),
    "The ring; also before every wave": (Where.RING,),
    "The node, after": (Where.AFTER,),
}


def checks_page() -> str:
    """docs/checks.md, with its tables as the list of checks has them."""
    head, _, rest = (DOCS / "checks.md").read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    parts = []
    for title, places in SECTIONS_OF_CHECKS.items():
        rows = [
            f"| `{c.code}` | {c.severity.value} | {c.where.value} | {c.what} | {c.remedy} |"
            for c in CHECKS.values()
            if c.where in places
        ]
        lines = [f"## {title}", "", "| code | severity | where | holds when | else |", "|---|---|---|---|---|", *rows]
        parts.append("\n".join(lines))
    return f"{head}{BEGIN}\n\n{chr(10).join(part + chr(10) for part in parts)}\n{END}{tail}"


def codes() -> set[str]:
    """Every error code and check in the engine's source: string constants of the shape area.what that are passed on."""
    fields = {f"{name}.{field}" for name in SECTIONS for field in SECTIONS[name].model_fields}
    found = set(MEANINGS)
    for folder in ENGINE:
        for file in (ROOT / folder).rglob("*.py"):
            for call in ast.walk(ast.parse(file.read_text())):
                if isinstance(call, ast.Call):
                    values = [*call.args, *(k.value for k in call.keywords if k.arg in ("check", "code"))]
                    texts = [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
                    found |= {t for t in texts if CODE.match(t) and t.partition(".")[0] in AREAS}
    return found - fields


AREAS = frozenset(
    [
        "activity",
        "apply",
        "barrier",
        "cluster",
        "codec",
        "codec-server",
        "config",
        "cql",
        "engine",
        "input",
        "inventory",
        "join",
        "keyring",
        "material",
        "node",
        "nodetool",
        "observe",
        "plan",
        "probe",
        "ring",
        "rollback",
        "rollout",
        "rotation",
        "settings",
        "settle",
        "ssh",
        "start",
        "steer",
        "store",
        "temporal",
        "topology",
        "trust",
        "vault",
        "verifier",
        "verify",
        "waiver",
        "workflow",
    ]
)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_schemas_are_those_of_the_models(name: str) -> None:
    assert (DOCS / name).read_text() == schema(name), "run: python -m tests.unit.test_docs"


def test_the_page_of_checks_is_that_of_the_list() -> None:
    assert (DOCS / "checks.md").read_text() == checks_page(), "run: python -m tests.unit.test_docs"


def test_each_failure_mode_of_the_handbook_has_its_line_in_the_docs() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+)\|([^|]+)\|", (DOCS / "preflight.md").read_text(), re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, 31))
    for number, _, how in rows:
        named = set(re.findall(r"`([a-z]+\.[a-z-]+)`", how))
        unknown = {code for code in named if code.partition(".")[0] in ("material", "node", "ring")} - set(CHECKS)
        assert unknown == set(), number
        assert {code for code, check in CHECKS.items() if int(number) in check.rows} <= named, number


@pytest.mark.parametrize("file", sorted((DOCS / "examples").glob("*cluster.yaml")), ids=lambda f: f.name)
def test_example_cluster_files_are_valid(file: Path) -> None:
    assert read_cluster(file).name == file.stem


def test_the_example_topology_can_be_planned() -> None:
    shown = CliRunner().invoke(app, ["rollout", "plan", "--topology", str(DOCS / "examples" / "topology.yaml")])
    assert shown.exit_code == Exit.DONE, shown.output
    assert "LOCAL_QUORUM" in shown.output


@pytest.mark.parametrize("file", sorted((DOCS / "examples").glob("*.json")), ids=lambda f: f.name)
def test_example_requests_are_valid(file: Path) -> None:
    RolloutRequest.model_validate_json(file.read_text())


@pytest.mark.criterion("G4")
def test_every_code_is_documented() -> None:
    documented = set(re.findall(r"`([a-z-]+\.[a-z-]+)`", (DOCS / "errors.md").read_text()))
    documented |= set(re.findall(r"`([a-z-]+\.[a-z-]+)`", (DOCS / "checks.md").read_text()))
    assert sorted(codes() - documented) == []


def test_every_setting_is_documented() -> None:
    text = (DOCS / "configuration.md").read_text()
    assert [name for name in Settings.model_fields if f"`{name}`" not in text] == []


def test_every_command_and_exit_code_is_documented() -> None:
    text = (DOCS / "cli.md").read_text()
    for group in ("ca", "cluster", "material", "rollout", "worker"):
        shown = CliRunner().invoke(app, [group, "--help"]).output
        for command in re.findall(r"^\s{2}([a-z]+)\s{2,}", shown, re.MULTILINE):
            assert f"{command}" in text, f"{group} {command}"
    assert all(f"| {code.value} |" in text for code in Exit)


def test_every_runtime_dependency_has_its_reason() -> None:
    text = (DOCS / "dependencies.md").read_text()
    for requirement in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        assert re.split(r"[\[<>=]", requirement)[0] in text


def test_requirements_are_locked_with_hashes_and_name_no_address() -> None:
    for file in ROOT.glob("requirements*.txt"):
        lines = file.read_text().splitlines()
        pinned = [line for line in lines if re.match(r"[a-z0-9._-]+==", line)]
        assert len(pinned) > 30
        assert "http://" not in file.read_text()
        assert "https://" not in file.read_text()
        assert all(line.rstrip().endswith("\\") for line in pinned), "a pin without a hash"


def test_links_in_the_docs_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_example_in_the_docs_is_yaml_with_the_two_keys() -> None:
    assert set(yaml.safe_load((DOCS / "examples" / "smallest-cluster.yaml").read_text())) == {"name", "contact_points"}


if __name__ == "__main__":
    for name in SCHEMAS:
        (DOCS / name).write_text(schema(name))
    (DOCS / "checks.md").write_text(checks_page())
