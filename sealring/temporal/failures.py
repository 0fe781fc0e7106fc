"""How an error travels: from an exception to Temporal's failure, and from there to a `Problem`.

Outwards, `for_the_wire` turns every exception into one that is safe to store: a `SealringError` becomes an
`ApplicationError` whose type is its code, a refused model names its fields and not their content, and any other text
passes `redact`. Inwards, `problem_of` unwraps what a workflow or a client caught. Decide on `Problem.code`, never on
its text.

Loads inside the workflow sandbox.
"""

import asyncio
import re

from pydantic import ValidationError
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    RetryState,
    TemporalError,
    TerminatedError,
    TimeoutError,  # the only one that is meant in this module
    TimeoutType,
    WorkflowAlreadyStartedError,
)

from sealring.errors import Actor, ErrorClass, SealringError, refuse
from sealring.models.problem import Problem

_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL)
# `keystore_password: x`, `"password": "x"`, `-Djavax.net.ssl.keyStorePassword=x`, `-storepass x`
_PASSWORD = re.compile(
    r"""(?<![\w.-])((?:[\w.-]*(?:password|passwd|passphrase|secret)\w*["']?\s*[:=]\s*)|(?:-(?:storepass|keypass|pw)\s+))"""
    r"""("[^"]*"|'[^']*'|[^\s,;}]+)""",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(@)")
_LONG_RUN = re.compile(r"[A-Za-z0-9+/=_-]{64,}")
_DIGEST_OR_WORD = re.compile(r"[0-9a-f]{0,128}|[a-z0-9_-]*|[A-Za-z_-]{0,40}")


MOST_CHARACTERS = 20_000
"""Of one error's text: histories and pages keep it, and patterns are looked for in it."""


def redact(text: str) -> str:
    """The text without PEM blocks, passwords and long base64.

    Digests in lower-case hexadecimal and file paths stay: they are what makes an error useful. Where in doubt it goes.
    """
    if len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]} [and {len(text) - MOST_CHARACTERS} characters more]"
    text = _PEM.sub("[redacted PEM]", text)
    text = _LONG_RUN.sub(_redact_run, text)
    text = _URL_PASSWORD.sub(r"\1[redacted]\2", text)
    return _PASSWORD.sub(r"\1[redacted]", text)


def _redact_run(match: re.Match[str]) -> str:
    run = match.group()
    return run if all(_DIGEST_OR_WORD.fullmatch(part) for part in run.split("/")) else "[redacted base64]"


def for_the_wire(error: BaseException) -> BaseException:
    """The exception as it may leave the process: same meaning, no secret, and its code as the failure's type."""
    told: BaseException
    match error:
        # What the SDK says before our code is reached, around what our converter or codec said.
        case ApplicationError(type=None, __cause__=ValidationError() | SealringError() as cause):
            told = for_the_wire(cause)
        case FailureError():
            return error
        # Code and message say where to look. With the way that our code came there, the failure would often be longer
        # than Temporal keeps of a step that is repeated (2 KB): it drops the details, and with them who must act.
        case SealringError():
            return _application_error(error)
        case ValidationError():
            return _application_error(_refused_input(error))
        case Exception():
            told = ApplicationError(redact(str(error)), type=type(error).__name__)
            told.__cause__ = error.__cause__
        case _:
            return error
    return told.with_traceback(error.__traceback__)


def _application_error(error: SealringError) -> ApplicationError:
    details = {
        "code": error.code,
        "class": error.error_class.value,
        "actor": error.actor.value,
        "remedy": redact(error.remedy),
        "node": error.node,
    }
    return ApplicationError(
        redact(error.message),
        details,
        type=error.code,
        non_retryable=not error.retryable,
        next_retry_delay=error.retry_after,
    )


def _refused_input(error: ValidationError) -> SealringError:
    """Names each field and what is wrong with it; pydantic's own text would quote the value."""
    # `ctx` may hold the value as well; of a message that one of our validators wrote, only that message is kept.
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'input'}: {fault['msg']}" for fault in faults)
    return refuse("input.invalid", f"{error.title}: {told}", "correct the named fields and send the request again")


def error_of(failure: BaseException) -> SealringError:
    """The failure of a workflow, as the error that it was, for whoever asked for its result."""
    problem = problem_of(failure)
    return SealringError(
        problem.code,
        problem.message,
        error_class=problem.error_class,
        actor=problem.actor,
        remedy=problem.remedy,
        node=problem.node,
    )


def problem_of(error: BaseException) -> Problem:
    """What really happened, out of Temporal's envelopes (child workflow, activity, client call)."""
    step, spent = "", False
    while _is_envelope(error) and error.__cause__ is not None:
        step = _step_of(error) or step
        spent = isinstance(error, ActivityError) and error.retry_state is RetryState.TIMEOUT
        error = error.__cause__
    match error:
        case ApplicationError():
            problem = _problem_of_application_error(error)
            return _given_up(problem) if spent else problem
        case SealringError():
            return Problem(
                code=error.code,
                message=error.message,
                error_class=error.error_class,
                actor=error.actor,
                remedy=error.remedy,
                node=error.node,
            )
        case ValidationError():
            return problem_of(_refused_input(error))
        case TimeoutError():
            return _problem_of_timeout(error, step)
        case CancelledError() | asyncio.CancelledError():
            return Problem(
                code="cancelled",
                message=f"{step or 'the step'} was cancelled before it was done",
                error_class=ErrorClass.STOP,
                actor=Actor.NOBODY,
            )
        case TerminatedError():
            return Problem(
                code="workflow.terminated",
                message=f"{step or 'the workflow'} was terminated: whatever it was doing was left as it was",
                error_class=ErrorClass.ASK,
                remedy="look at the node, then start the rollout again: it goes on from what it finds",
            )
        case WorkflowAlreadyStartedError():
            return Problem(
                code="node.busy",
                message=f"{error.workflow_type} {error.workflow_id} is already running",
                error_class=ErrorClass.SKIP,
                remedy=f"let it end, or look what it waits for: temporal workflow describe -w {error.workflow_id}",
            )
        case _:
            return Problem(code="engine.unexpected", message=redact(f"{type(error).__name__}: {error}"))


def _is_envelope(error: BaseException) -> bool:
    return isinstance(error, TemporalError) and not isinstance(error, ApplicationError | TimeoutError | CancelledError)


def _step_of(error: BaseException) -> str:
    match error:
        case ActivityError():
            return f"activity {error.activity_type}"
        case ChildWorkflowError():
            return f"workflow {error.workflow_id}"
        case _:
            return ""


def _problem_of_application_error(error: ApplicationError) -> Problem:
    details = error.details[0] if error.details else None
    if not isinstance(details, dict) or "class" not in details:
        return Problem(
            code="engine.unexpected", message=f"{error.type}: {error.message}" if error.type else error.message
        )
    return Problem(
        code=details["code"],
        message=error.message,
        error_class=details["class"],
        actor=details["actor"],
        remedy=details["remedy"],
        node=details["node"],
    )


def _given_up(last: Problem) -> Problem:
    """The server tries no more: the budget has no room for another attempt."""
    return last.model_copy(update={"message": f"gave up when the time for it was spent; {last.message}"})


def _problem_of_timeout(error: TimeoutError, step: str) -> Problem:
    """When the whole budget is spent, the last attempt's own error says more than the clock does."""
    if error.type is TimeoutType.SCHEDULE_TO_CLOSE and error.__cause__ is not None:
        last = problem_of(error.__cause__)
        if last.code != "activity.timeout":
            return _given_up(last)
    kind = error.type.name.lower().replace("_", "-") if error.type is not None else "unknown"
    return Problem(
        code="activity.timeout",
        message=f"{step or 'the step'} did not end in time ({kind})",
        error_class=ErrorClass.RETRY,
        remedy="see that a worker polls the task queue and that the node answers, then try again",
    )
