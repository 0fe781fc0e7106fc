"""The details page of the Temporal UI: what is waited for, and the exact command that answers it."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from sealring.models.base import short
    from sealring.models.rollout import NodeState
    from sealring.models.steering import NodeStatus, RolloutStatus

ROWS = 20  # a page, not a dump: a thousand nodes are shown by `sealring rollout status`
_NEWS_FIRST = (NodeState.BROKEN, NodeState.ROLLED_BACK, NodeState.REFUSED, NodeState.UNTOUCHED, NodeState.ACTIVATING)


def render(status: RolloutStatus, remarks: tuple[str, ...] = ()) -> str:
    """Markdown, bounded in length."""
    lines = [f"**{status.phase.value}**: {status.goal} on `{status.cluster}`, {status.percent} %"]
    if status.stage:
        lines.append(f"stage: {status.stage}")
    if status.waves:
        lines.append(f"wave {status.wave} of {status.waves}, plan `{short(status.plan_digest)}`")
    if status.seconds_left is not None:
        lines.append(f"about {status.seconds_left:.0f} s of activation left")
    lines += [f"**WAIVED**: {waiver}" for waiver in status.waived]
    if status.waiting_for:
        lines += ["", f"Now: {status.waiting_for}"]
    if status.decision is not None:
        question = status.decision
        lines += ["", f"Decision about {question.node} until {question.deadline:%H:%M:%SZ}, else {question.default}:"]
        lines.append(str(question.problem))
    if status.problem is not None:
        lines += ["", str(status.problem)]
    lines += ["", *(f"    {command}" for command in status.commands)]
    lines += ["", *(f"    {line}" for line in status.by_hand)]
    lines += ["", *(f"- {remark}" for remark in remarks)]
    nodes = sorted(status.nodes, key=_interest)
    lines += [f"- `{node.address}` {node.state.value} {node.problem}".rstrip() for node in nodes[:ROWS]]
    if len(nodes) > ROWS:
        lines.append(f"- and {len(nodes) - ROWS} more")
    return "\n".join(lines)


def _interest(node: NodeStatus) -> int:
    return _NEWS_FIRST.index(node.state) if node.state in _NEWS_FIRST else len(_NEWS_FIRST)
