"""One run of a workflow: the SDK's own instance of it, driven in process, and the way to rebuild it by replay."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.common import Priority, TypedSearchAttributes
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails
from temporalio.workflow import ParentInfo

from sealring.temporal.converter import SealringFailureConverter, SealringPayloadConverter
from sealring.temporal.plugin import WORKFLOW_FAILURES
from sealring.temporal.policies import CONTROL_QUEUE

CONVERTER = SealringPayloadConverter()
FAILURES = SealringFailureConverter()
_LOOP = asyncio.new_event_loop()  # an instance wants one to be running while it is made, and never again


@dataclass
class Run:
    """What the server knows of a run, and the instance in the worker's cache."""

    workflow_id: str
    run_id: str
    first_run_id: str
    definition: Any
    arguments: list[Payload]
    started: float
    parent: "tuple[Run, int] | None" = None
    inbox: list[WorkflowActivationJob] = field(default_factory=list)
    awake: bool = False  # a workflow task is scheduled
    closed: bool = False
    result: Payload | None = None
    failure: Failure | None = None
    cancel_asked: bool = False
    cancelled: bool = False
    history: list[tuple[bytes, bytes]] = field(default_factory=list)  # activation, its commands
    events: int = 0
    activities: dict[int, Any] = field(default_factory=dict)
    timers: dict[int, Any] = field(default_factory=dict)
    children: "dict[int, Run]" = field(default_factory=dict)
    instance: WorkflowInstance | None = None

    def __str__(self) -> str:
        return self.workflow_id

    def activate(self, now: datetime, *, suggest: bool) -> list[WorkflowCommand]:
        """Hand the inbox over; returns the commands.

        Raises:
            RuntimeError: the workflow task failed, or replay came to other commands.
        """
        if self.instance is None and self.history:
            self._replay()
        if self.instance is None:
            self.instance = self._made(now)
        task = WorkflowActivation(
            run_id=self.run_id,
            timestamp=_timestamp(now),
            history_length=self.events,
            continue_as_new_suggested=suggest,
            jobs=self.inbox,
        )
        self.inbox = []
        commands = self._given(task)
        self.history.append((task.SerializeToString(deterministic=True), _bytes(commands)))
        self.events += 3 + len(task.jobs) + len(commands)
        return commands

    def ask(self, query: str, now: datetime) -> Payload:
        """The answer to a query; not part of the history."""
        if self.instance is None:
            self._replay()
        assert self.instance is not None
        task = WorkflowActivation(run_id=self.run_id, timestamp=_timestamp(now), history_length=self.events)
        task.jobs.add().query_workflow.query_type = query
        task.jobs[0].query_workflow.query_id = "1"
        (command,) = self._given(task)
        if command.respond_to_query.HasField("failed"):
            raise RuntimeError(f"query {query} failed: {command.respond_to_query.failed.message}")
        return command.respond_to_query.succeeded.response

    def evict(self) -> None:
        """The worker dies, or needs the room."""
        if self.instance is not None:
            task = WorkflowActivation(run_id=self.run_id)
            task.jobs.add().remove_from_cache.message = "evicted"
            self.instance.activate(task)
            self.instance = None

    def _given(self, task: WorkflowActivation) -> list[WorkflowCommand]:
        assert self.instance is not None
        completion = self.instance.activate(task)
        if completion.HasField("failed"):
            error = FAILURES.from_failure(completion.failed.failure, CONVERTER)
            raise RuntimeError(f"workflow task of {self} failed: {error!r} {completion.failed.failure.stack_trace}")
        return list(completion.successful.commands)

    def _replay(self) -> None:
        """The same activations again must lead to the same commands."""
        for number, (task, commands) in enumerate(self.history):
            activation = WorkflowActivation.FromString(task)
            activation.is_replaying = True
            if self.instance is None:
                self.instance = self._made(activation.timestamp.ToDatetime().replace(tzinfo=UTC))
            if _bytes(self._given(activation)) != commands:
                raise RuntimeError(f"replay of {self}: other commands in task {number + 1}")

    def _made(self, now: datetime) -> WorkflowInstance:
        parent = self.parent[0] if self.parent else None
        info = workflow.Info(
            attempt=1,
            continued_run_id=None,
            cron_schedule=None,
            execution_timeout=None,
            first_execution_run_id=self.first_run_id,
            headers={},
            namespace="default",
            original_execution_run_id=self.run_id,
            parent=ParentInfo("default", parent.run_id, parent.workflow_id) if parent else None,
            root=None,
            priority=Priority.default,
            raw_memo={},
            retry_policy=None,
            run_id=self.run_id,
            run_timeout=None,
            search_attributes={},
            start_time=now,
            task_queue=CONTROL_QUEUE,
            task_timeout=timedelta(seconds=10),
            typed_search_attributes=TypedSearchAttributes.empty,
            workflow_id=self.workflow_id,
            workflow_start_time=now,
            workflow_type=self.definition.name,
        )
        details = WorkflowInstanceDetails(
            payload_converter_factory=SealringPayloadConverter,
            failure_converter_class=SealringFailureConverter,
            interceptor_classes=[],
            defn=self.definition,
            info=info,
            randomness_seed=1,
            extern_functions={},
            disable_eager_activity_execution=True,
            worker_level_failure_exception_types=WORKFLOW_FAILURES,
            patch_activation_callback=None,
            last_completion_result=Payloads(),
            last_failure=None,
        )

        async def make() -> WorkflowInstance:
            return UnsandboxedWorkflowRunner().create_instance(details)

        return _LOOP.run_until_complete(make())


def _timestamp(now: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(now.replace(tzinfo=None))
    return stamp


def _bytes(commands: list[WorkflowCommand]) -> bytes:
    return b"".join(command.SerializeToString(deterministic=True) for command in commands)
