"""Real parts that any test may ask for: two Temporal servers and a keyring. Each starts when first asked for."""

import shutil
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from temporalio.testing import WorkflowEnvironment

from sealring.temporal.attributes import register_search_attributes
from sealring.temporal.keyring import Keyring, create_keyring, load_keyring
from sealring.temporal.plugin import sealring_plugin
from tests import own_net  # noqa: F401 - sets the environment

# How long an example takes is the machine's business: on a loaded one a deadline fails what is right.
settings.register_profile("sealring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sealring")


_passed: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the cases that passed."""
    if report.when == "call" and report.passed and "[" in report.nodeid and "tests/badinput/" in report.nodeid:
        _passed.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, to be quoted."""
    if _passed:
        terminalreporter.write_line(f"bad input refused: cases={len(_passed)}")


def pytest_itemcollected(item: pytest.Item) -> None:
    """With `-n`: one worker has the real ring, and a file is never divided."""
    group = "ring" if item.get_closest_marker("ring") else item.nodeid.partition("::")[0]
    item.add_marker(pytest.mark.xdist_group(group))


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
