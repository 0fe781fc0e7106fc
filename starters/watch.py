"""Follow a rollout until it ends, or until the person looks away."""

import asyncio
from collections.abc import AsyncIterator

from rich.console import Console
from rich.live import Live
from temporalio.client import Client, WorkflowExecutionStatus

from sealring.models.rollout import NodeState, Phase, RolloutReport
from sealring.models.steering import NodeStep, RolloutStatus
from starters import rollouts
from starters.show import show_report, show_status

LOOK_SECONDS = 0.5
KINDS = {NodeState.PREPARING: "tls-prepare", NodeState.ACTIVATING: "tls-node"}


async def watch(client: Client, cluster: str, out: Console) -> RolloutReport:
    """Draw the rollout until its end, then its report. In a terminal the picture is redrawn; else changes are lines.

    Raises:
        SealringError: `rollout.unknown`, `rollout.no-worker`.
    """
    rollout = rollouts.rollout_of(client, cluster)
    if out.is_terminal:
        with Live(console=out, auto_refresh=False, transient=True) as live:
            async for status, steps in _looks(client, rollout, cluster):
                live.update(show_status(status, steps), refresh=True)
    else:
        seen: set[str] = set()
        async for status, steps in _looks(client, rollout, cluster):
            for line in _lines(status, steps):
                if line not in seen:
                    seen.add(line)
                    out.print(line, soft_wrap=True)
    report = await rollouts.result(rollout)
    out.print(show_report(report))
    return report


async def _looks(
    client: Client, rollout: rollouts.Rollout, cluster: str
) -> AsyncIterator[tuple[RolloutStatus, dict[str, NodeStep]]]:
    while True:
        status = await rollouts.status(rollout)
        running = [(n.address, KINDS[n.state]) for n in status.nodes if n.state in KINDS][:20]
        found = await asyncio.gather(*(rollouts.node_step(client, cluster, a, kind) for a, kind in running))
        yield status, {a: step for (a, _), step in zip(running, found, strict=True) if step}
        if (await rollout.describe()).status is not WorkflowExecutionStatus.RUNNING:
            return
        await asyncio.sleep(LOOK_SECONDS)


def _lines(status: RolloutStatus, steps: dict[str, NodeStep]) -> list[str]:
    place = f"wave {status.wave}/{status.waves}" if status.waves else ""
    head = f"{status.phase.value} {place}".rstrip()
    lines = [f"{head}: {status.waiting_for}" if status.waiting_for else head]
    lines += [f"  {step.step}: {step}" for step in status.pending if step.problem]
    if status.phase is Phase.NEEDS_DECISION:
        lines += list(status.commands)
    for node in status.nodes:
        if node.state not in (NodeState.WAITING, NodeState.PREPARED):
            step = steps.get(node.address)
            lines.append(f"  {node.address} {node.state.value} {step.step if step else ''} {node.problem}".rstrip())
            lines += [f"  {node.address} {waits}" for waits in (step.pending if step else ()) if waits.problem]
    return lines
