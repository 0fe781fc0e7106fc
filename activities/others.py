"""Whether somebody else is at work on the nodes of a wave: another rollout, or a tool whose lock file is there."""

import asyncio

from activities.rings import Rings
from sealring.errors import Actor, SealringError
from sealring.hosts.generations import read_disk
from sealring.models.cluster import ClusterFile, NodeRef
from sealring.models.evidence import Finding, Verdict
from sealring.models.rollout import RingQuestion

THERE = """for file; do if [ -e "$file" ] || [ -L "$file" ]; then printf '%s\\n' "$file"; fi; done"""
SCRIPT_SECONDS = 60.0


async def others_at_work(rings: Rings, cluster: ClusterFile, question: RingQuestion) -> tuple[Finding, ...]:
    """`node.busy` and `node.held` of nodes where somebody is. A host that cannot be read now says nothing."""
    room = asyncio.Semaphore(cluster.rollout.max_parallel)

    async def look(node: NodeRef) -> tuple[Finding, ...]:
        async with room:
            try:
                return await _look(rings, cluster, question, node)
            except SealringError:
                return ()  # the step that works on it tries for longer, and says why not

    return tuple(finding for found in await asyncio.gather(*map(look, question.wave)) for finding in found)


async def _look(rings: Rings, cluster: ClusterFile, question: RingQuestion, node: NodeRef) -> tuple[Finding, ...]:
    found = []
    async with rings.open(cluster.name, node) as bench:
        intent = (await read_disk(bench.host, bench.place)).intent
        if intent not in ("", question.rollout):
            message = f"another rollout ({intent}) has its intent in {bench.place.state_dir}"
            remedy = "let that rollout end, or take its node back with `sealring rollback`"
            found.append(_finding("node.busy", message, remedy, node))
        if cluster.service.hold_files:
            done = await bench.host.run(
                THERE, arguments=cluster.service.hold_files, timeout=SCRIPT_SECONDS, become=bench.place.become
            )
            for path in done.stdout.splitlines():
                remedy = "wait until that tool is done; a file that was left behind is removed by hand"
                found.append(_finding("node.held", f"{path} is there: another tool is at work", remedy, node))
    return tuple(found)


def _finding(check: str, message: str, remedy: str, node: NodeRef) -> Finding:
    return Finding(
        check=check,
        verdict=Verdict.FAIL,
        message=message,
        remedy=remedy,
        actor=Actor.NODE_ADMIN,
        node=node.address,
    )
