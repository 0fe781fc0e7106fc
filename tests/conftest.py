"""Real parts that any test may ask for: two Temporal servers and a keyring. Each starts when first asked for."""

import shutil
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from temporalio.testing import WorkflowEnvironment
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from sealring.temporal.attributes import register_search_attributes
from sealring.temporal.keyring import Keyring, create_keyring, load_keyring
from sealring.temporal.plugin import sealring_plugin
from tests import own_net  # noqa: F401 - sets the environment

# How long an example takes is the machine's business: on a loaded one a deadline fails what is right.
settings.register_profile("sealring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sealring")


ON_REAL_RING = tuple(f"tests/lab/test_{name}.py" for name in ("ring", "rollouts", "lab_load", "logins", "older_lines"))

_passed: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the cases that passed."""
    if report.when == "call" and report.passed and "[" in report.nodeid and "tests/badinput/" in report.nodeid:
        _passed.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, to be quoted."""
    if _passed:
        terminalreporter.write_line(f"bad input refused: cases={len(_passed)}")


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # untyped
    """With `-n`: a file is never divided, and one worker has the real ring.

    Not by xdist's own groups: they are written into the ids of tests, which pytest 9.2 does not let happen.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "ring" if file.startswith(ON_REAL_RING) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """See `ByFile`."""
    return ByFile(config, log)


# The ring takes longest, so it comes first; the others are dealt to whoever has nothing to do.
_FIRST = ("tests/chaos/", "tests/lab/test_standin_rollouts", "tests/hosts/", "tests/lab/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins early."""

    def turn(item: pytest.Item) -> int:
        if item.get_closest_marker("ring"):
            return 0
        return next((i for i, start in enumerate(_FIRST, 1) if item.nodeid.startswith(start)), len(_FIRST) + 1)

    items.sort(key=turn)


STARTING = timedelta(minutes=2)
"""For a Temporal server to start; the SDK gives up after 5 s, which says nothing about our code."""


def installed_program(name: str) -> str:
    """The program that the packages of this environment brought along."""
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        pytest.fail(f"{name} is not installed in this environment: make test installs it")
    return path


@pytest.fixture(scope="session")
def temporal_cli() -> str:
    """Path of the stock `temporal` CLI."""
    return installed_program("temporal")


@pytest.fixture(scope="session")
def keyring_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the keyring that the Temporal fixtures encrypt with."""
    path = tmp_path_factory.mktemp("keys") / "keyring.json"
    create_keyring(path)
    return path


@pytest.fixture(scope="session")
def keyring(keyring_path: Path) -> Keyring:
    """The keyring that the Temporal fixtures encrypt with."""
    return load_keyring(keyring_path)


@pytest.fixture(scope="session")
async def temporal_dev(temporal_cli: str, keyring: Keyring) -> AsyncIterator[WorkflowEnvironment]:
    """The real Temporal server, in memory, in real time; its client has the product's plugin."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_cli,
        dev_server_startup_timeout=STARTING,
        plugins=[sealring_plugin(keyring)],
    )
    async with environment:
        await register_search_attributes(environment.client)
        yield environment


@pytest.fixture(scope="session")
async def temporal_skipping(keyring: Keyring) -> AsyncIterator[WorkflowEnvironment]:
    """The test server that skips time while a result is awaited. It cannot list, count, schedule or reset."""
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=installed_program("temporal-test-server"),
        test_server_startup_timeout=STARTING,
        plugins=[sealring_plugin(keyring)],
    )
    async with environment:
        await register_search_attributes(environment.client)  # without, an upsert hangs its workflow
        yield environment
