"""One activity of a workflow: its attempts on the worker, and the clocks that the server holds against them."""

from collections.abc import Callable, Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_type_hints

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import RetryState, TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.activity_result import ActivityResolution
from temporalio.bridge.proto.workflow_commands import ScheduleActivity

from sealring.temporal.failures import for_the_wire
from tests.twin.run import CONVERTER, FAILURES
from tests.twin.world import Event

if TYPE_CHECKING:
    from tests.twin.server import Server

FOR_EVER = 10.0 * 365 * 86400
BEAT = 48.0  # seconds: the SDK throttles heartbeats to 0.8 of the timeout; a cancel is heard with one


class Attempt:
    """One try on the worker. It is a generator: it yields how long the next stretch of its work takes.

    A worker that dies ends it at that point: what it had done by then is done.
    """

    def __init__(self, work: Generator[Any, None, Any]) -> None:
        self.work = work
        self.ended = False  # answered, or lost with its worker
        self.thaws: float | None = None  # its worker stands still until then


class Task:
    """An activity, from schedule to close."""

    def __init__(
        self,
        server: "Server",
        asked: ScheduleActivity,
        handler: Callable[[Any], Generator[Any, None, Any]],
        owner: str,
        resolve: Callable[[ActivityResolution], None],
    ) -> None:
        self.server, self.world = server, server.world
        self.asked, self.handler, self.resolve = asked, handler, resolve
        self.owner = owner
        hints = [kind for name, kind in get_type_hints(handler).items() if name != "return"][:1]
        (self.argument,) = CONVERTER.from_payloads(asked.arguments, hints)
        self.number = 0
        self.attempt: Attempt | None = None
        self.try_cancel = False
        self.cancelling = False
        self.closed = False
        self.last: Failure | None = None
        self.deadline = self.world.now + _seconds(asked.schedule_to_close_timeout)
        self._clocks: list[Event] = []

    def __str__(self) -> str:
        return f"{self.asked.activity_type} of {self.owner}"

    def begin(self) -> None:
        """It is scheduled."""
        if self.deadline < FOR_EVER:
            self.world.after(
                self.deadline - self.world.now, lambda: self._timeout(TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE)
            )
        self.world.after(self.world.between(0.002, 0.05), self._start)

    def cancel(self) -> None:
        """The workflow does not want it any more. Its attempt hears of it with its next heartbeat."""
        if self.try_cancel or self.attempt is None:
            self._cancelled()
            return
        self.cancelling = True
        attempt = self.attempt
        self.world.after(self.world.between(0, BEAT), lambda: self._heard(attempt))

    def orphaned(self) -> None:
        """Its workflow is over; the attempt under way ends when it hears of it."""
        self._close()
        if self.attempt is not None:
            attempt = self.attempt
            self.world.after(self.world.between(0, BEAT), lambda: self._stop(attempt))

    def worker_lost(self, frozen: float | None) -> None:
        """The worker died with the attempt under way, or stands still for so many seconds."""
        attempt = self.attempt
        if attempt is None or attempt.ended or attempt.thaws is not None:
            return
        if frozen is None:
            self._stop(attempt)
        else:
            attempt.thaws = self.world.now + frozen
        beat = _seconds(self.asked.heartbeat_timeout)
        if frozen is not None and frozen < beat:
            return
        if beat < FOR_EVER:
            self._clocks.append(
                self.world.after(
                    beat * self.world.between(0.2, 1),
                    lambda: self._timeout_of(attempt, TimeoutType.TIMEOUT_TYPE_HEARTBEAT),
                )
            )

    def server_lost(self, seconds: float) -> None:
        """Heartbeats do not arrive for so long: the attempt may be given up though it goes on."""
        attempt = self.attempt
        if attempt is not None and seconds > _seconds(self.asked.heartbeat_timeout):
            self._clocks.append(
                self.world.after(seconds + 0.1, lambda: self._timeout_of(attempt, TimeoutType.TIMEOUT_TYPE_HEARTBEAT))
            )

    # -- attempts

    def _start(self) -> None:
        if self.closed:
            return
        if self.server.deploy_up > self.world.now:
            self.world.after(self.server.deploy_up - self.world.now + self.world.between(0, 0.5), self._start)
            return
        self.number += 1
        self.server.on_attempt(self.asked.activity_type, self.owner)
        attempt = self.attempt = Attempt(self.handler(self.argument))
        limit = _seconds(self.asked.start_to_close_timeout)
        if limit < FOR_EVER:
            self._clocks.append(
                self.world.after(limit, lambda: self._timeout_of(attempt, TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE))
            )
        self._go(attempt)

    def _go(self, attempt: Attempt) -> None:
        """The next stretch of work."""
        if attempt.ended:
            return
        if attempt.thaws is not None:
            if attempt.thaws > self.world.now:
                self.world.after(attempt.thaws - self.world.now, lambda: self._go(attempt))
                return
            attempt.thaws = None
        try:
            seconds = next(attempt.work)
        except StopIteration as done:
            self._answer(attempt, done.value)
        except Exception as error:
            self._answer(attempt, error)
        else:
            self.world.after(seconds, lambda: self._go(attempt))

    def _answer(self, attempt: Attempt, answer: Any) -> None:
        attempt.ended = True
        away = self.server.away_until - self.world.now
        if away > 0:  # the client tries again until the server takes it, if nobody was quicker
            self.world.after(away + self.world.between(0, 2), lambda: self._answer(attempt, answer))
            return
        if self.closed or self.attempt is not attempt:
            self.world.tell(f"{self}: a late answer is dropped")
            return
        self.attempt = None
        if not isinstance(answer, Exception):
            resolution = ActivityResolution()
            resolution.completed.result.CopyFrom(CONVERTER.to_payloads([answer])[0])
            self._close(resolution)
            return
        failure = Failure()
        FAILURES.to_failure(for_the_wire(answer), CONVERTER, failure)
        self.world.tell(f"{self}, attempt {self.number}: {answer}")
        self._failed(failure)

    def _failed(self, failure: Failure) -> None:
        """Try again, or give up."""
        self.last = failure
        told = failure.application_failure_info
        policy = self.asked.retry_policy
        if failure.HasField("application_failure_info") and told.non_retryable:
            self._give_up(failure, RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE)
        elif policy.maximum_attempts and self.number >= policy.maximum_attempts:
            self._give_up(failure, RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED)
        elif self.cancelling:
            self._cancelled()
        else:
            pause = _seconds(policy.initial_interval) * policy.backoff_coefficient ** min(self.number - 1, 30)
            pause = min(pause, _seconds(policy.maximum_interval))
            if told.HasField("next_retry_delay"):
                pause = told.next_retry_delay.ToTimedelta().total_seconds()
            if self.world.now + pause >= self.deadline:
                self._give_up(failure, RetryState.RETRY_STATE_TIMEOUT)
            else:
                self.world.after(pause, self._start)

    def _timeout_of(self, attempt: Attempt, kind: TimeoutType.ValueType) -> None:
        """An attempt takes too long, or is silent. It may go on until it hears that nobody waits for it."""
        if self.closed or self.attempt is not attempt:
            return
        self.attempt = None
        self.world.after(self.world.between(0, BEAT), lambda: self._stop(attempt))
        self.world.tell(f"{self}, attempt {self.number}: timeout {kind}")
        self._failed(_timed_out(kind, None))

    def _timeout(self, kind: TimeoutType.ValueType) -> None:
        if self.closed:
            return
        attempt = self.attempt
        if attempt is not None:
            self.world.after(self.world.between(0, BEAT), lambda: self._stop(attempt))
        self._give_up(_timed_out(kind, self.last), RetryState.RETRY_STATE_TIMEOUT)

    def _heard(self, attempt: Attempt) -> None:
        if self.attempt is attempt and not attempt.ended and attempt.thaws is None:
            self._stop(attempt)
            self._cancelled()

    def _stop(self, attempt: Attempt) -> None:
        if not attempt.ended and attempt.thaws is None:
            self._end(attempt)
        elif not attempt.ended:  # it cannot hear before it thaws, and goes one stretch further by then
            assert attempt.thaws is not None
            self.world.after(max(0.0, attempt.thaws - self.world.now) + 0.5, lambda: self._end(attempt))

    def _end(self, attempt: Attempt) -> None:
        if not attempt.ended:
            attempt.ended = True
            attempt.work.close()

    # -- the end

    def _cancelled(self) -> None:
        resolution = ActivityResolution()
        failure = resolution.cancelled.failure
        failure.message = "Activity cancelled"
        failure.cause.message = "Activity cancelled"
        failure.cause.canceled_failure_info.SetInParent()
        self._wrap(failure, RetryState.RETRY_STATE_CANCEL_REQUESTED)
        attempt = self.attempt
        self._close(resolution)
        if attempt is not None:
            self.world.after(self.world.between(0, BEAT), lambda: self._stop(attempt))

    def _give_up(self, cause: Failure, state: RetryState.ValueType) -> None:
        resolution = ActivityResolution()
        failure = resolution.failed.failure
        failure.message = "Activity task failed"
        failure.cause.CopyFrom(cause)
        self._wrap(failure, state)
        self._close(resolution)

    def _wrap(self, failure: Failure, state: RetryState.ValueType) -> None:
        info = failure.activity_failure_info
        info.activity_type.name, info.activity_id, info.retry_state = (
            self.asked.activity_type,
            self.asked.activity_id,
            state,
        )

    def _close(self, resolution: ActivityResolution | None = None) -> None:
        self.closed = True
        for clock in self._clocks:
            clock.off = True
        self.server.tasks.remove(self) if self in self.server.tasks else None
        if resolution is not None:
            self.resolve(resolution)


def _timed_out(kind: TimeoutType.ValueType, last: Failure | None) -> Failure:
    failure = Failure(message="activity timeout")
    failure.timeout_failure_info.timeout_type = kind
    if last is not None:
        failure.cause.CopyFrom(last)
    return failure


def _seconds(duration: Duration) -> float:
    """Zero stands for no limit."""
    told: timedelta = duration.ToTimedelta()
    return told.total_seconds() or FOR_EVER
