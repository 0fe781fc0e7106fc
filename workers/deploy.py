"""The deploy worker: activities that reach nodes. Run it where SSH and CQL get through."""

from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from activities.activate import ActivateActivities
from activities.barrier import BarrierActivities
from activities.cluster import ClusterActivities
from activities.issuing import IssueActivities
from activities.material import MaterialActivities
from activities.planning import PlanningActivities
from activities.preflight import PreflightActivities
from activities.prepare import PrepareActivities
from activities.rings import Rings
from activities.rotation import RotationActivities
from activities.trust import TrustActivities
from activities.verify import VerifyActivities
from sealring.temporal.policies import DEPLOY_QUEUE
from workers.heartbeats import Heartbeats

AT_ONCE = 64  # an activity is an SSH session at most; logins are capped by the pool
GRACE = timedelta(seconds=30)  # a flip or a reload in hand ends well within it
PROGRESS = timedelta(seconds=5)  # how old the progress of a transfer may be in `status`


def deploy_worker(client: Client, rings: Rings) -> Worker:
    """Polls `sealring-deploy`. Needs cluster files, deliveries, SSH and CQL to the nodes."""
    ring, material = ClusterActivities(rings), MaterialActivities(rings)
    preflight = PreflightActivities(rings)
    prepare, activate, verify = PrepareActivities(rings), ActivateActivities(rings), VerifyActivities(rings)
    return Worker(
        client,
        task_queue=DEPLOY_QUEUE,
        activities=[
            ring.observe_cluster,
            ring.check_ring,
            PlanningActivities(rings).make_plan,
            material.resolve_material,
            RotationActivities(rings).resolve_rotation,
            BarrierActivities(rings).observe_barrier,
            IssueActivities(rings).issue_node,
            preflight.survey_ring,
            preflight.preflight_alone,
            prepare.validate_node,
            prepare.backup_node,
            prepare.transfer_material,
            prepare.preflight_node,
            TrustActivities(rings).simulate_trust,
            activate.activate_generation,
            activate.rollback_node,
            activate.reload_tls,
            activate.drain_node,
            activate.restart_node,
            activate.settle_node,
            verify.verify_node,
            verify.served_matrix,
        ],
        interceptors=[Heartbeats()],
        max_concurrent_activities=AT_ONCE,
        graceful_shutdown_timeout=GRACE,
        max_heartbeat_throttle_interval=PROGRESS,
    )
