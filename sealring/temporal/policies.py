"""How long each kind of step may take, and how it is repeated. Call sites spread one of these, nothing else:

    await workflow.execute_activity("observe_cluster", request, **OBSERVE, task_queue=DEPLOY_QUEUE, summary="…")

Three clocks in each. *start_to_close* is one attempt. *schedule_to_close* is the budget for all attempts together, so
that a passing fault (class `retry`) is repeated but not for ever. *heartbeat* tells a dead worker from a slow node.
There is no attempt limit: errors that repeating cannot help are marked so where they arise (`sealring.errors`).

Loads inside the workflow sandbox.
"""

from datetime import timedelta

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType, ActivityConfig

CONTROL_QUEUE = "sealring"  # workflows
DEPLOY_QUEUE = "sealring-deploy"  # activities

# A killed Temporal server was back within 20 s, and with 3 s heartbeats every fourth step ran twice. One minute also
# covers the slowest single nodetool call that was measured (41 s under contention), during which nothing can beat.
HEARTBEAT = timedelta(minutes=1)

# 2, 4, 8 … 60 s. Lost links and full connection tables (MaxStartups) clear within seconds, a starting node within
# minutes.
BACKOFF = RetryPolicy(
    initial_interval=timedelta(seconds=2), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=60)
)

# A step that changes a node is waited for even when it is cancelled: two hands must never be on one node, and the
# rollback that follows is the second hand.
_WAIT = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED


def _reading(attempt: timedelta, budget: timedelta) -> ActivityConfig:
    """Changes nothing: on cancel, do not wait for it."""
    return ActivityConfig(
        start_to_close_timeout=attempt,
        schedule_to_close_timeout=budget,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=BACKOFF,
    )


def _changing(attempt: timedelta, budget: timedelta) -> ActivityConfig:
    return ActivityConfig(
        start_to_close_timeout=attempt,
        schedule_to_close_timeout=budget,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=BACKOFF,
        cancellation_type=_WAIT,
    )


def restart_within(start: timedelta) -> ActivityConfig:
    """Options for restarting Cassandra.

    Args:
        start: how long the server may take from its process start to answering on the native port. Replaying a large
            commit log or opening many SSTables takes real nodes far beyond the seconds of an empty one.
    """
    stop_and_return = timedelta(
        minutes=5
    )  # a stop takes seconds, up to the service manager's kill; then peers must agree
    attempt = start + stop_and_return
    # Room for one attempt that died with its worker and one that finds the work done or goes on waiting: the intent on
    # the node sees to it that Cassandra is not restarted twice.
    return _changing(attempt, attempt * 2)


OBSERVE = _reading(timedelta(minutes=3), timedelta(minutes=15))
"""Read the ring: CQL takes milliseconds, but the nodetool fallback costs up to 41 s a call, several calls."""

SIMULATE = _reading(timedelta(minutes=15), timedelta(minutes=45))
"""Read the stores of every node, some at a time, then compute: a second for 300 nodes."""

BARRIER = _reading(timedelta(minutes=20), timedelta(hours=1))
"""Every node of the ring: its files, and new connections to it from several peers."""

INSPECT = _reading(timedelta(minutes=3), timedelta(minutes=20))
"""Read one node: login, one script, a few files. The budget outlives a reboot of the node or of a jump host."""

PREFLIGHT: ActivityConfig = {
    **_reading(timedelta(minutes=5), timedelta(minutes=10)),
    # A person waits for the report, and a node that is away three times in a row is an answer too.
    "retry_policy": RetryPolicy(
        initial_interval=BACKOFF.initial_interval, maximum_interval=BACKOFF.maximum_interval, maximum_attempts=3
    ),
}
"""Look at one node for a report, its Java's word included, which may take a minute on a busy node."""

TRANSFER = _changing(timedelta(minutes=5), timedelta(minutes=30))
"""Back up and copy a few kilobytes; the time goes into logins and fsync on a loaded disk."""

ACTIVATE = _changing(timedelta(minutes=2), timedelta(minutes=10))
"""Flip a link or rename a few files: short, since an idle Cassandra may pick the new files up from now on."""

RELOAD = _changing(timedelta(minutes=3), timedelta(minutes=10))
"""`nodetool reloadssl`: one call, tens of seconds when the node is busy."""

DRAIN = _changing(timedelta(minutes=10), timedelta(minutes=30))
"""`nodetool drain` flushes every memtable: seconds in the lab, minutes on a large heap and a slow disk."""

RESTART = restart_within(timedelta(minutes=5))
"""Restart Cassandra where nobody said how long a start takes."""

VERIFY = _reading(timedelta(minutes=2), timedelta(minutes=10))
"""New handshakes with every listener from every vantage: two minutes of network, repeated while a node comes back."""

SETTLE = _reading(timedelta(minutes=10), timedelta(minutes=30))
"""Wait until peers see the node up and normal and schemas agree: gossip needs seconds, hints and streams minutes."""

COMPENSATE = ActivityConfig(
    # One attempt may hold a drain, a restart and a verification.
    start_to_close_timeout=timedelta(minutes=30),
    # Unlimited attempts for half a day: the way back must outlive the outage that made it necessary.
    schedule_to_close_timeout=timedelta(hours=12),
    heartbeat_timeout=HEARTBEAT,
    retry_policy=BACKOFF,
    cancellation_type=_WAIT,
)
"""Roll a node back."""
