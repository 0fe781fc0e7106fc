"""Every activity a workflow may call, as a typed function: name, argument, answer, budget and summary in one place.

The activities themselves are in the top-level package `activities`; a test compares both sides.
"""

from typing import TypeVar

from temporalio import workflow
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from sealring.models.base import short
    from sealring.models.evidence import Verification
    from sealring.models.issuing import Issued, IssueOrder
    from sealring.models.material import ResolvedMaterial, RotationMaterial
    from sealring.models.node import ClusterView
    from sealring.models.plan import Plan
    from sealring.models.preflight import PreflightRequest, PreflightSurvey
    from sealring.models.rollout import (
        Activated,
        Applied,
        BarrierQuestion,
        ClusterQuestion,
        Drained,
        FlipOrder,
        MaterialQuestion,
        MatrixQuestion,
        MatrixRows,
        NodeOrder,
        PlanQuestion,
        Readiness,
        RestartOrder,
        RingAnswer,
        RingQuestion,
        Transferred,
        VerifyOrder,
    )
    from sealring.models.trust import TrustQuestion
    from sealring.temporal import policies

Answer = TypeVar("Answer")


async def _call(
    name: str, argument: object, answer: type[Answer], config: ActivityConfig, summary: str, queue: str
) -> Answer:
    options: ActivityConfig = {**config, "task_queue": queue, "summary": summary}
    result = await workflow.execute_activity(name, argument, result_type=answer, **options)
    assert isinstance(result, answer)
    return result


# -- the ring as a whole


async def observe_cluster(question: ClusterQuestion) -> ClusterView:
    """Read the ring over CQL and every host over SSH."""
    summary = f"observe {question.cluster}"
    return await _call("observe_cluster", question, ClusterView, policies.OBSERVE, summary, policies.DEPLOY_QUEUE)


async def resolve_material(question: MaterialQuestion) -> ResolvedMaterial:
    """Look at a delivery: digests, subjects, validity, findings; no keys."""
    summary = f"resolve {question.ref.path}"
    return await _call("resolve_material", question, ResolvedMaterial, policies.OBSERVE, summary, policies.DEPLOY_QUEUE)


async def resolve_rotation(question: MaterialQuestion) -> RotationMaterial:
    """Look at a delivery of a new authority beside what every node has in force."""
    summary = f"resolve {question.ref.path} beside what is in force"
    return await _call("resolve_rotation", question, RotationMaterial, policies.OBSERVE, summary, policies.DEPLOY_QUEUE)


async def observe_barrier(question: BarrierQuestion) -> Readiness:
    """Whether what the stages so far were for holds on every node."""
    summary = f"does every node hold what {question.before} needs?"
    return await _call("observe_barrier", question, Readiness, policies.BARRIER, summary, policies.DEPLOY_QUEUE)


async def make_plan(question: PlanQuestion) -> Plan:
    """Decide; an activity so that a later version of the planner cannot change a rollout that runs."""
    return await _call("make_plan", question, Plan, policies.OBSERVE, "make the plan", policies.DEPLOY_QUEUE)


async def check_ring(question: RingQuestion) -> RingAnswer:
    """Whether every node is up and normal now, and whether the wave may still begin."""
    summary = f"is {question.cluster} whole?"
    return await _call("check_ring", question, RingAnswer, policies.OBSERVE, summary, policies.DEPLOY_QUEUE)


async def served_matrix(question: MatrixQuestion) -> MatrixRows:
    """Probe every listener of every node for the report."""
    summary = f"served certificates of {question.cluster}"
    return await _call("served_matrix", question, MatrixRows, policies.OBSERVE, summary, policies.DEPLOY_QUEUE)


async def simulate_trust(question: TrustQuestion) -> Readiness:
    """Whether all nodes could talk to each other in every state of the plan."""
    summary = f"trust in every state of {len(question.plan.waves)} waves"
    return await _call("simulate_trust", question, Readiness, policies.SIMULATE, summary, policies.DEPLOY_QUEUE)


async def issue_node(order: IssueOrder) -> Issued:
    """Let a node make a key, the vault sign its request, and the node keep both."""
    return await _node_call("issue_node", order, Issued, policies.TRANSFER, f"issue for {order.node}")


# -- a preflight alone


async def survey_ring(request: PreflightRequest) -> PreflightSurvey:
    """The ring, the delivery, and what each node would be brought to."""
    summary = f"survey {request.cluster} for {request.material.path}"[:200]
    return await _call("survey_ring", request, PreflightSurvey, policies.OBSERVE, summary, policies.DEPLOY_QUEUE)


async def preflight_alone(order: NodeOrder) -> Readiness:
    """Every check of one node and of its part of the delivery; nothing is changed."""
    return await _node_call("preflight_alone", order, Readiness, policies.PREFLIGHT, f"look at {order.node}")


# -- one node, before anything in force is changed


async def validate_node(order: NodeOrder) -> Readiness:
    """Can this node be worked on: reachable, healthy, space, rights, configuration understood?"""
    return await _node_call("validate_node", order, Readiness, policies.INSPECT, f"validate {order.node}")


async def backup_node(order: NodeOrder) -> Readiness:
    """Keep what is in force as a generation, unless it is one already."""
    return await _node_call("backup_node", order, Readiness, policies.TRANSFER, f"back up {order.node}")


async def transfer_material(order: NodeOrder) -> Transferred:
    """Bring the target generation to the node's disk, beside the one in force."""
    summary = f"transfer {short(order.target.generation)} to {order.node}"
    return await _node_call("transfer_material", order, Transferred, policies.TRANSFER, summary)


async def preflight_node(order: NodeOrder) -> Readiness:
    """Check the generation as it lies on the node: digests, stores open, clock, trust of the peers."""
    return await _node_call("preflight_node", order, Readiness, policies.INSPECT, f"preflight {order.node}")


# -- one node, activation


async def activate_generation(order: FlipOrder) -> Activated:
    """Put a generation in force with one rename."""
    summary = f"activate {short(order.generation)} on {order.order.node}"
    return await _node_call("activate_generation", order, Activated, policies.ACTIVATE, summary)


async def reload_tls(order: NodeOrder) -> Applied:
    """Ask Cassandra to read its stores again."""
    return await _node_call("reload_tls", order, Applied, policies.RELOAD, f"reload {order.node}")


async def drain_node(order: NodeOrder) -> Drained:
    """Stop new connections and flush, within a bound."""
    return await _node_call("drain_node", order, Drained, policies.DRAIN, f"drain {order.node}")


async def restart_node(order: RestartOrder) -> Applied:
    """Restart the service, once, and wait until the node is back in the ring."""
    config = policies.restart_within(order.order.start_timeout)
    return await _node_call("restart_node", order, Applied, config, f"restart {order.order.node}")


async def verify_node(order: VerifyOrder) -> Verification:
    """New handshakes with every listener, from the worker and through peers."""
    summary = f"verify {order.order.node} serves {short(order.leaf_sha256)}"
    return await _node_call("verify_node", order, Verification, policies.VERIFY, summary)


async def settle_node(order: NodeOrder) -> Readiness:
    """Watch that the node stays well, then tidy up: intent removed, old generations pruned."""
    return await _node_call("settle_node", order, Readiness, policies.SETTLE, f"settle {order.node}")


async def rollback_node(order: FlipOrder) -> Activated:
    """Put the generation back that was in force before; repeated for hours if the node cannot be reached."""
    summary = f"roll {order.order.node} back to {short(order.generation)}"
    return await _node_call("rollback_node", order, Activated, policies.COMPENSATE, summary)


async def _node_call(name: str, argument: object, answer: type[Answer], config: ActivityConfig, summary: str) -> Answer:
    return await _call(name, argument, answer, config, summary, policies.DEPLOY_QUEUE)
