"""The shared ring of the tests that need real parts."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lab import lifecycle, state, tools
from lab.ring import start_node, wait_up
from lab.spec import NET, LabSpec, Line
from tests.lab.ring_bench import Bench, forget_members, opened

FIRST = 31
TEMPORAL_PORT = 17233 + 10 * NET
"""Ten ports for each of the rings that run side by side: a second lab of one run takes one of the nine above."""


def processes_below(folder: Path) -> list[str]:
    """Command lines of all processes that name `folder`: after `down` there must be none."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{folder}/" in command and int(process.name) != os.getpid():
            found.append(command[:200])
    return found


def fresh(spec: LabSpec) -> None:
    """Remove what an earlier run may have left, running or not."""
    if (spec.root / "spec.json").exists():
        lifecycle.down(state.load_spec(spec.root))
    shutil.rmtree(spec.root, ignore_errors=True)


@pytest.fixture(scope="session")
def ring(request: pytest.FixtureRequest) -> Iterator[LabSpec]:
    """Three nodes with their SSH servers, for the whole session; a test that breaks it takes `whole_ring` or heals it.

    Another version, or "stand-in": `@pytest.mark.parametrize("ring", ["4.1"], indirect=True)`; one ring runs at a time.
    The engine is not started: `lab.engine.start_engine(spec)` does.
    """
    version: Line = getattr(request, "param", "5.0")
    folder = tools.cache() / f"test-ring-{NET}"
    spec = LabSpec(folder / version, cassandra=version, first=FIRST, temporal_port=TEMPORAL_PORT)
    fresh(spec)
    lifecycle.up(spec, print, engine=False)
    forget_members()
    yield spec
    lifecycle.down(spec)
    assert processes_below(spec.root) == []


@pytest.fixture
def whole_ring(ring: LabSpec) -> LabSpec:
    """The shared ring with all nodes up, whatever the test before did to its processes."""
    for node in ring.ring:
        start_node(ring, node.name)
    wait_up(ring)
    return ring


@pytest.fixture
async def bench(whole_ring: LabSpec) -> AsyncIterator[Bench]:
    """The shared ring, and what the engine knows of it."""
    async with opened(whole_ring) as bench:
        yield bench
