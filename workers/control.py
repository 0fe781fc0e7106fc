"""The control worker: workflows, and nothing that reads a file of a ring or reaches one."""

from temporalio.client import Client
from temporalio.worker import Worker

from sealring.temporal.policies import CONTROL_QUEUE
from workflows.activation import NodeActivation
from workflows.doors import NoSuchWorkflow
from workflows.issuing import MaterialIssue
from workflows.preflight import RingPreflight
from workflows.preparation import NodePreparation
from workflows.rollout import CertificateRollout

WORKFLOWS = (CertificateRollout, NodePreparation, NodeActivation, MaterialIssue, RingPreflight, NoSuchWorkflow)


def control_worker(client: Client) -> Worker:
    """Polls `sealring`. Needs no cluster file and no way to the nodes."""
    return Worker(client, task_queue=CONTROL_QUEUE, workflows=WORKFLOWS)
