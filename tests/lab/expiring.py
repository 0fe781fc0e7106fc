"""Leaves that are over, on every node of a ring and served by it."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from lab.authority import LOOPBACK, Authority
from lab.spec import LabSpec, NodeSpec
from tests.lab.ring_bench import install

ENDED = timedelta(seconds=1)  # validity has whole seconds: a leaf is good until the second that it names is over


def serve_until(spec: LabSpec, end: datetime) -> None:
    """All nodes serve leaves that end then, by reload."""
    authority, start = Authority.open(spec.authority), min(end, datetime.now(UTC)) - timedelta(days=1)
    for node in spec.ring:
        leaf = authority.issue([node.address, LOOPBACK], not_before=start, not_after=end)
        install(spec, node, leaf)

    def reload(node: NodeSpec) -> None:
        subprocess.run([node.bin / "nodetool", "reloadssl"], check=True, capture_output=True)

    with ThreadPoolExecutor(len(spec.ring)) as pool:
        list(pool.map(reload, spec.ring))


def wait_until_over(end: datetime) -> None:
    """Time passes."""
    time.sleep(max(0.0, (end + ENDED - datetime.now(UTC)).total_seconds()))
