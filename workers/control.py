"""The control worker: workflows, and the planning that reaches no node."""

from temporalio.client import Client
from temporalio.worker import Worker

from activities.planning import PlanningActivities
from activities.rings import Rings
from sealring.temporal.policies import CONTROL_QUEUE
from workflows.activation import NodeActivation
from workflows.doors import NoSuchWorkflow
from workflows.issuing import MaterialIssue
from workflows.preflight import RingPreflight
from workflows.preparation import NodePreparation
from workflows.rollout import CertificateRollout

WORKFLOWS = (CertificateRollout, NodePreparation, NodeActivation, MaterialIssue, RingPreflight, NoSuchWorkflow)


def control_worker(client: Client, rings: Rings) -> Worker:
    """Polls `sealring`. Needs the cluster files, no way to the nodes."""
    planning = PlanningActivities(rings)
    return Worker(client, task_queue=CONTROL_QUEUE, workflows=WORKFLOWS, activities=[planning.make_plan])
