"""What Temporal does, as far as our workflows can tell: tasks, timers, children, signals, updates, cancels.

Left out, for nothing of ours depends on it: workflow timeouts, schedules, Nexus, local activities, memos, headers.
"""

from collections.abc import Callable, Generator
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.child_workflow import StartChildWorkflowExecutionFailedCause
from temporalio.bridge.proto.workflow_activation import (
    InitializeWorkflow,
    ResolveActivity,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands import ActivityCancellationType, ScheduleActivity, WorkflowCommand

from tests.twin import jobs
from tests.twin.run import Run
from tests.twin.tasks import Task
from tests.twin.world import World
from workers.control import WORKFLOWS

ALREADY_EXISTS = (
    StartChildWorkflowExecutionFailedCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
)

Handler = Callable[[Any], Generator[Any, None, Any]]


class Server:
    """Runs, by workflow id and run id, and the two workers."""

    def __init__(self, world: World, handlers: dict[str, Handler], *, suggest_at: int) -> None:
        """`handlers`: the activities by name. `suggest_at`: events from which continue-as-new is suggested."""
        self.world = world
        self.handlers = handlers
        self.suggest_at = suggest_at
        self.open: dict[str, Run] = {}
        self.runs: dict[str, Run] = {}  # by run id; children that are over are dropped with their histories
        self.latest: dict[str, str] = {}  # run id of a workflow id, open or not
        self.tasks: list[Task] = []
        self.updates: dict[str, jobs.Update] = {}
        self.on_attempt: Callable[[str, str], None] = lambda step, owner: None
        self.control_up = self.deploy_up = 0.0  # when each worker is (or was) back
        self.away_until = 0.0  # and the server itself
        self.definitions = {d.name: d for d in map(workflow._Definition.must_from_class, WORKFLOWS)}
        self._number = 0

    # -- from outside

    def start(
        self,
        kind: str,
        workflow_id: str,
        arguments: list[Payload],
        *,
        parent: tuple[Run, int] | None = None,
        before: Run | None = None,
    ) -> Run:
        """Start a workflow; its id is free."""
        assert workflow_id not in self.open
        self._number += 1
        run_id = f"run-{self._number:05d}"
        first = before.first_run_id if before else run_id
        run = Run(workflow_id, run_id, first, self.definitions[kind], arguments, self.world.now, parent)
        self.open[workflow_id] = self.runs[run_id] = run
        self.latest[workflow_id] = run_id
        job = WorkflowActivationJob(
            initialize_workflow=InitializeWorkflow(
                workflow_type=kind,
                workflow_id=workflow_id,
                arguments=arguments,
                first_execution_run_id=first,
                attempt=1,
            )
        )
        if before:
            job.initialize_workflow.continued_from_execution_run_id = before.run_id
        self.send(run, job)
        return run

    def cancel(self, run: Run, reason: str = "") -> None:
        """Ask a run to end. The real server takes only the first request too."""
        if not run.closed and not run.cancel_asked:
            run.cancel_asked = True
            self.world.tell(f"cancel {run}")
            self.send(run, jobs.cancel(reason))

    def signal(self, run: Run, name: str, *payloads: Payload) -> None:
        """Send a signal."""
        self.world.tell(f"signal {name} to {run}")
        self.send(run, jobs.signal(name, payloads))

    def update(self, run: Run, name: str, *payloads: Payload) -> jobs.Update:
        """Send an update."""
        self.world.tell(f"update {name} to {run}")
        self._number += 1
        identity = f"update-{self._number}"
        self.updates[identity] = told = jobs.Update(name)
        self.send(run, jobs.update(identity, name, payloads))
        return told

    def terminate(self, run: Run) -> None:
        """End a run without asking it."""
        failure = Failure(message="terminated")
        failure.terminated_failure_info.SetInParent()
        self._close(run, failure=failure)

    def kill_control(self, seconds: float) -> None:
        """The worker with the workflows dies, and is started again after a while."""
        self.world.tell(f"control worker dies for {seconds:.1f} s")
        self.control_up = max(self.control_up, self.world.now + seconds)
        for run in self.open.values():
            run.evict()

    def kill_deploy(self, seconds: float, *, frozen: bool) -> None:
        """The worker with the activities dies, or stands still: what it had begun goes on later, and is too late."""
        self.world.tell(f"deploy worker {'freezes' if frozen else 'dies'} for {seconds:.1f} s")
        self.deploy_up = max(self.deploy_up, self.world.now + seconds)
        for task in self.tasks:
            task.worker_lost(seconds if frozen else None)

    def lose(self, seconds: float) -> None:
        """The Temporal server is away: nothing is begun, answers wait, and silence is counted when it is back."""
        self.world.tell(f"Temporal server away for {seconds:.1f} s")
        self.away_until = max(self.away_until, self.world.now + seconds)
        self.control_up, self.deploy_up = max(self.control_up, self.away_until), max(self.deploy_up, self.away_until)
        for task in self.tasks:
            task.server_lost(seconds)

    def running(self, workflow_id: str, first_run: str | None = None) -> bool:
        """Whether a workflow with this id, of this chain of runs, is open."""
        run = self.open.get(workflow_id)
        return run is not None and first_run in (None, run.first_run_id)

    # -- tasks of workflows

    def send(self, run: Run, job: WorkflowActivationJob) -> None:
        """Put a job before a run; a task for it is on its way."""
        if run.closed:
            return
        run.inbox.append(job)
        if not run.awake:
            run.awake = True
            self.world.after(self.world.between(0.002, 0.1), lambda: self._task(run))

    def _task(self, run: Run) -> None:
        if run.closed:
            return
        if self.control_up > self.world.now:
            self.world.after(self.control_up - self.world.now + self.world.between(0, 0.5), lambda: self._task(run))
            return
        run.awake = False
        if self.world.chance(0.02):
            run.evict()  # of the sticky cache
        kinds = ",".join(str(job.WhichOneof("variant")) for job in run.inbox)
        try:
            commands = run.activate(self.world.time(), suggest=run.events >= self.suggest_at)
        except RuntimeError as error:
            self.world.violate(str(error))
            self.terminate(run)
            return
        done = ",".join(str(command.WhichOneof("variant")) for command in commands)
        self.world.tell(f"{run} [{kinds}] -> [{done}]")
        for command in commands:
            self._obey(run, command)

    def _obey(self, run: Run, command: WorkflowCommand) -> None:
        kind = command.WhichOneof("variant")
        match kind:
            case "start_timer":
                seq = command.start_timer.seq
                seconds = command.start_timer.start_to_fire_timeout.ToTimedelta().total_seconds()
                run.timers[seq] = self.world.after(seconds, lambda: self._fire(run, seq))
            case "cancel_timer":
                run.timers.pop(command.cancel_timer.seq).off = True
            case "schedule_activity":
                self._schedule(run, command.schedule_activity)
            case "request_cancel_activity":
                task = run.activities.get(command.request_cancel_activity.seq)
                if task is not None:
                    task.cancel()
            case "start_child_workflow_execution":
                self._start_child(run, command)
            case "cancel_child_workflow_execution":
                child = run.children.get(command.cancel_child_workflow_execution.child_workflow_seq)
                if child is not None:
                    self.cancel(child, command.cancel_child_workflow_execution.reason)
            case "signal_external_workflow_execution":
                self._signal_child(run, command)
            case "update_response":
                self._updated(command)
            case "complete_workflow_execution":
                self._close(run, result=command.complete_workflow_execution.result)
            case "fail_workflow_execution":
                self._close(run, failure=command.fail_workflow_execution.failure)
            case "cancel_workflow_execution":
                run.cancelled = True
                failure = Failure(message="Workflow execution canceled")
                failure.canceled_failure_info.SetInParent()
                self._close(run, failure=failure)
            case "continue_as_new_workflow_execution":
                again = command.continue_as_new_workflow_execution
                self._close(run, tell=False)
                self.start(
                    again.workflow_type or run.definition.name,
                    run.workflow_id,
                    list(again.arguments),
                    parent=run.parent,
                    before=run,
                )
            case "upsert_workflow_search_attributes" | "set_patch_marker":
                pass
            case _:
                raise NotImplementedError(f"the twin's server has no {kind}")

    def _fire(self, run: Run, seq: int) -> None:
        if self.away_until > self.world.now:
            run.timers[seq] = self.world.after(self.away_until - self.world.now, lambda: self._fire(run, seq))
        elif run.timers.pop(seq, None) is not None:
            job = WorkflowActivationJob()
            job.fire_timer.seq = seq
            self.send(run, job)

    def _schedule(self, run: Run, asked: ScheduleActivity) -> None:
        if asked.activity_type not in self.handlers:
            raise NotImplementedError(
                f"the twin has no activity {asked.activity_type}: add it to tests/twin/activities"
            )

        def resolve(resolution: Any) -> None:
            if run.activities.pop(asked.seq, None) is not None:
                job = WorkflowActivationJob(resolve_activity=ResolveActivity(seq=asked.seq, result=resolution))
                self.send(run, job)

        task = run.activities[asked.seq] = Task(self, asked, self.handlers[asked.activity_type], str(run), resolve)
        self.tasks.append(task)
        task.try_cancel = asked.cancellation_type == ActivityCancellationType.TRY_CANCEL
        task.begin()

    # -- children

    def _start_child(self, run: Run, command: WorkflowCommand) -> None:
        asked = command.start_child_workflow_execution
        job = WorkflowActivationJob()
        answer = job.resolve_child_workflow_execution_start
        answer.seq = asked.seq
        if asked.workflow_id in self.open:
            answer.failed.workflow_id, answer.failed.workflow_type = asked.workflow_id, asked.workflow_type
            answer.failed.cause = ALREADY_EXISTS
        else:
            child = self.start(asked.workflow_type, asked.workflow_id, list(asked.input), parent=(run, asked.seq))
            run.children[asked.seq] = child
            answer.succeeded.run_id = child.run_id
        self.send(run, job)

    def _signal_child(self, run: Run, command: WorkflowCommand) -> None:
        asked = command.signal_external_workflow_execution
        child = self.open.get(asked.child_workflow_id)
        job = WorkflowActivationJob()
        job.resolve_signal_external_workflow.seq = asked.seq
        if child is None:
            failure = job.resolve_signal_external_workflow.failure
            failure.message = "Unable to signal external workflow because it was not found"
            failure.application_failure_info.SetInParent()
        else:
            self.signal(child, asked.signal_name, *asked.args)
        self.send(run, job)

    def _updated(self, command: WorkflowCommand) -> None:
        answer = command.update_response
        update = self.updates[answer.protocol_instance_id]
        update.outcome = str(answer.WhichOneof("response"))
        self.world.tell(f"update {update.name} {update.outcome}")

    def _close(
        self, run: Run, *, result: Payload | None = None, failure: Failure | None = None, tell: bool = True
    ) -> None:
        run.closed, run.result, run.failure = True, result, failure
        run.evict()
        if run.parent is not None:
            run.history.clear()
        del self.open[run.workflow_id]
        for task in list(run.activities.values()):
            task.orphaned()
        for timer in run.timers.values():
            timer.off = True
        for child in run.children.values():
            self.cancel(child, "by parent close policy")  # REQUEST_CANCEL, the only one that we use
        if run.parent is None or not tell:
            return
        parent, seq = run.parent
        parent.children.pop(seq, None)
        self.send(parent, jobs.child_ended(run, seq, result, failure))
