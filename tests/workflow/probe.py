"""Small workflows that show how the plugin behaves. In a module of their own: the sandbox loads it for each run."""

import os
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError

from sealring.errors import refuse
from sealring.models.base import Fact, Input
from sealring.models.problem import Problem
from sealring.temporal.attributes import TLS_CLUSTER, TLS_NODES_FAILED, TLS_NOT_AFTER, TLS_PHASE, TLS_REQUESTER
from sealring.temporal.failures import problem_of
from sealring.temporal.policies import INSPECT

QUEUE = "probe"


class ProbeRequest(Input):
    """What a person writes."""

    cluster: str
    wait: bool = False
    activity: str = ""
    child: str = ""


class Release(Input):
    """Lets a waiting probe go on."""

    comment: str


class ProbeResult(Fact):
    """What a probe saw."""

    cluster: str
    comments: tuple[str, ...] = ()
    answer: str = ""
    problem: Problem | None = None


@workflow.defn(name="Probe")
class Probe:
    """Runs one activity or one child and tells what came of it."""

    def __init__(self) -> None:
        self.comments: tuple[str, ...] = ()

    @workflow.run
    async def run(self, request: ProbeRequest) -> ProbeResult:
        workflow.upsert_search_attributes(
            [
                TLS_CLUSTER.value_set(request.cluster),
                TLS_PHASE.value_set("Probing"),
                TLS_REQUESTER.value_set("test@localhost"),
                TLS_NOT_AFTER.value_set(workflow.now() + timedelta(days=90)),
                TLS_NODES_FAILED.value_set(0),
            ]
        )
        if request.wait:
            await workflow.wait_condition(lambda: bool(self.comments))
        try:
            answer = await self._act(request)
        except FailureError as error:
            return ProbeResult(cluster=request.cluster, comments=self.comments, problem=problem_of(error))
        return ProbeResult(cluster=request.cluster, comments=self.comments, answer=answer)

    async def _act(self, request: ProbeRequest) -> str:
        answer: str
        if request.activity == "strict" and not request.child:
            raise refuse("plan.no-slack", "the range has no replica to spare", "repair node-c first")
        if request.child:
            child = ProbeRequest(cluster=request.cluster, activity=request.activity)
            answer = (await workflow.execute_child_workflow(Probe.run, child, id=request.child)).answer
        elif request.activity == "misled":
            answer = await workflow.execute_activity("echo", {"clutser": 1}, result_type=str, **INSPECT)
        elif request.activity == "slow":
            once = RetryPolicy(maximum_attempts=1)
            answer = await workflow.execute_activity(
                "slow", result_type=str, start_to_close_timeout=timedelta(seconds=1), retry_policy=once
            )
        elif request.activity:
            answer = await workflow.execute_activity(request.activity, request, result_type=str, **INSPECT)
        else:
            answer = ""
        return answer

    @workflow.signal
    def release(self, release: Release) -> None:
        """Go on."""
        self.comments += (release.comment,)

    @workflow.update
    def release_and_count(self, release: Release) -> int:
        """Go on, and tell how often that was said."""
        self.comments += (release.comment,)
        return len(self.comments)


@workflow.defn(name="Impure")
class Impure:
    """Does what the sandbox must not allow."""

    @workflow.run
    async def run(self) -> str:
        return os.getcwd()
