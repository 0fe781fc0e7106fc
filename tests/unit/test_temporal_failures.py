"""Errors on their way out (translated, redacted) and back in (unwrapped)."""

import asyncio
import base64
import random
from typing import Literal

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError, field_validator
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    RetryState,
    TerminatedError,
    TimeoutError,
    TimeoutType,
    WorkflowAlreadyStartedError,
)

from sealring.errors import Actor, ErrorClass, SealringError, passing, refuse
from sealring.models.base import Input
from sealring.models.problem import Problem
from sealring.temporal.converter import SealringFailureConverter
from sealring.temporal.failures import for_the_wire, problem_of, redact

PEM = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
DER_BASE64 = "".join(PEM.splitlines()[1:-1])


def stored(error: BaseException) -> Failure:
    """What the server would get, before encryption."""
    failure = Failure()
    SealringFailureConverter().to_failure(error, pydantic_data_converter.payload_converter, failure)
    return failure


def travel(error: BaseException) -> BaseException:
    """There and back again."""
    return SealringFailureConverter().from_failure(stored(error), pydantic_data_converter.payload_converter)


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        f"load failed: {PEM} in line 3",
        PEM[: len(PEM) // 2],  # cut off, as logs do
        f"got {DER_BASE64}",
        f"got {DER_BASE64[:70]}",
        PEM.replace("\n", "\\n"),
    ],
    ids=["pem", "in words", "cut", "base64", "cut base64", "escaped"],
)
def test_no_key_survives(text: str) -> None:
    told = redact(text)
    assert "[redacted" in told
    assert not any(DER_BASE64[start : start + 24] in told for start in range(0, len(DER_BASE64) - 24, 8))


@given(st.binary(min_size=48, max_size=400))
def test_no_long_base64_of_random_bytes_survives(data: bytes) -> None:
    noise = random.Random(data).randbytes(len(data))  # the entropy of a key, reproducible
    assert base64.b64encode(noise).decode() not in redact(f"read {base64.b64encode(noise).decode()} here")
    assert base64.urlsafe_b64encode(noise).decode() not in redact(f"read {base64.urlsafe_b64encode(noise).decode()}")


@pytest.mark.parametrize(
    "text",
    [
        "keystore_password: hunter22",
        '{"password": "hunter22"}',
        "-Djavax.net.ssl.keyStorePassword=hunter22 -jar x",
        "keytool -storepass hunter22 -list",
        "nodetool -u cassandra -pw hunter22 status",
        "postgresql://sealring:hunter22@127.0.0.1/ledger",
        "passphrase = 'hunter22 and more'",
        "PASSWORD=hunter22;next",
    ],
)
def test_no_password_survives(text: str) -> None:
    assert "hunter22" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "served " + "0a1b2c3d" * 8 + ", expected " + "f" * 64,
        "/var/lib/cassandra/tls/generations/" + "0a1b2c3d" * 8 + "/keystore.p12 is not readable",
        "/srv/data/cassandra-cluster-europe/node-configuration/current/conf/cassandra_yaml_backup",
        "ssh 127.0.0.11:22: connection refused",
        "the password of the keystore is wrong",
        "AA:BB:" * 20,
    ],
)
def test_what_makes_an_error_useful_stays(text: str) -> None:
    assert redact(text) == text


@given(
    code=st.from_regex(r"[a-z]{1,10}\.[a-z-]{1,10}", fullmatch=True),
    message=st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=40),
    error_class=st.sampled_from(ErrorClass),
    actor=st.sampled_from(Actor),
    node=st.sampled_from(["", "127.0.0.11"]),
)
@pytest.mark.criterion("A15")
def test_code_class_actor_and_remedy_survive_the_journey(
    code: str, message: str, error_class: ErrorClass, actor: Actor, node: str
) -> None:
    error = SealringError(code, message, error_class=error_class, actor=actor, remedy="chmod 0600 FILE", node=node)
    arrived = travel(error)
    assert isinstance(arrived, ApplicationError)
    assert arrived.type == code
    assert arrived.non_retryable is (error_class is not ErrorClass.RETRY)
    expected = Problem(
        code=code, message=redact(message), error_class=error_class, actor=actor, remedy="chmod 0600 FILE", node=node
    )
    assert problem_of(arrived) == expected


def test_the_text_of_a_failure_is_where_the_codec_encrypts_it() -> None:
    failure = stored(refuse("pki.expired", "leaf of node-a expired", "renew it"))
    assert failure.message == "Encoded failure"
    assert failure.stack_trace == ""
    assert b"node-a" in failure.encoded_attributes.data


def test_secrets_do_not_travel_not_even_as_a_cause() -> None:
    line = "keystore_password: hunter22"
    try:
        try:
            raise ValueError(f"cannot parse {PEM}")
        except ValueError as cause:
            raise RuntimeError(f"cannot read {line}") from cause
    except RuntimeError as error:
        sent = stored(error).SerializeToString()
    assert b"redacted" in sent
    assert b"hunter22" not in sent
    assert DER_BASE64[:24].encode() not in sent


def test_a_sealring_error_that_quotes_too_much_is_redacted_as_well() -> None:
    sent = stored(refuse("host.command", f"stderr said {PEM}", f"paste {PEM}")).SerializeToString()
    assert DER_BASE64[:24].encode() not in sent


class Order(Input):
    cluster: str
    strategy: Literal["rolling", "canary"] = "rolling"
    parallel: int = 1

    @field_validator("parallel")
    @classmethod
    def positive(cls, value: int) -> int:
        if value < 1:
            raise ValueError("must be at least 1")
        return value


def refusal(document: dict[str, object]) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Order.model_validate(document)
    return caught.value


def test_a_refused_input_names_every_field_and_quotes_none() -> None:
    error = refusal({"clutser": "hunter22", "strategy": "hunter22", "parallel": 0})
    told = for_the_wire(error)
    assert isinstance(told, ApplicationError)
    assert told.type == "input.invalid"
    assert told.non_retryable
    for named in ("Order", "cluster: Field required", "clutser: Extra inputs", "strategy", "parallel", "at least 1"):
        assert named in told.message
    assert "hunter22" not in told.message
    assert problem_of(error) == problem_of(told)


@pytest.mark.parametrize("retry", [True, False])
def test_arguments_that_do_not_decode_keep_their_own_class(retry: bool) -> None:
    """The SDK raises a retryable error of its own around what the converter or the codec said."""
    cause = passing("codec.unknown-key", "key k9") if retry else refusal({})
    wrapped = ApplicationError("Failed decoding arguments")
    wrapped.__cause__ = cause
    told = for_the_wire(wrapped)
    assert isinstance(told, ApplicationError)
    assert told.type == ("codec.unknown-key" if retry else "input.invalid")
    assert told.non_retryable is not retry


def test_temporals_own_errors_and_cancellation_are_left_alone() -> None:
    for error in (ApplicationError("x", type="y"), CancelledError(), asyncio.CancelledError()):
        assert for_the_wire(error) is error


def activity_error(cause: BaseException) -> ActivityError:
    error = ActivityError(
        "Activity task failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="w",
        activity_type="verify_node",
        activity_id="1",
        retry_state=RetryState.NON_RETRYABLE_FAILURE,
    )
    error.__cause__ = cause
    return error


def child_error(cause: BaseException) -> ChildWorkflowError:
    error = ChildWorkflowError(
        "Child Workflow execution failed",
        namespace="default",
        workflow_id="tls-node/prod/n1",
        run_id="r",
        workflow_type="NodeActivation",
        initiated_event_id=1,
        started_event_id=2,
        retry_state=None,
    )
    error.__cause__ = cause
    return error


def test_problem_of_unwraps_child_and_activity() -> None:
    cause = travel(refuse("pki.expired", "leaf expired", "renew it", actor=Actor.PKI_ADMIN, node="127.0.0.11"))
    assert problem_of(child_error(activity_error(cause))) == Problem(
        code="pki.expired",
        message="leaf expired",
        error_class=ErrorClass.STOP,
        actor=Actor.PKI_ADMIN,
        remedy="renew it",
        node="127.0.0.11",
    )


def timed_out(kind: TimeoutType, cause: BaseException | None = None) -> TimeoutError:
    error = TimeoutError("activity timeout", type=kind, last_heartbeat_details=[])
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "error_class", "named"),
    [
        (activity_error(timed_out(TimeoutType.HEARTBEAT)), "activity.timeout", ErrorClass.RETRY, "verify_node"),
        (activity_error(timed_out(TimeoutType.START_TO_CLOSE)), "activity.timeout", ErrorClass.RETRY, "start-to-close"),
        (activity_error(CancelledError()), "cancelled", ErrorClass.STOP, "verify_node"),
        (child_error(CancelledError()), "cancelled", ErrorClass.STOP, "tls-node/prod/n1"),
        (asyncio.CancelledError(), "cancelled", ErrorClass.STOP, "cancelled"),
        (child_error(TerminatedError("t")), "workflow.terminated", ErrorClass.ASK, "tls-node/prod/n1"),
        (WorkflowAlreadyStartedError("tls-node/p/n", "NodeActivation"), "node.busy", ErrorClass.SKIP, "tls-node/p/n"),
        (activity_error(travel(KeyError("x"))), "engine.unexpected", ErrorClass.ASK, "KeyError"),
        (KeyError("x"), "engine.unexpected", ErrorClass.ASK, "KeyError"),
        (ApplicationError("ours", "text"), "engine.unexpected", ErrorClass.ASK, "ours"),
    ],
)
def test_problem_of_names_what_temporal_reports(
    error: BaseException, code: str, error_class: ErrorClass, named: str
) -> None:
    problem = problem_of(error)
    assert (problem.code, problem.error_class) == (code, error_class)
    assert named in problem.message


def test_a_spent_budget_reports_the_last_attempts_own_error() -> None:
    cause = travel(passing("ssh.unreachable", "no route", "check the link", actor=Actor.NETWORK_ADMIN))
    problem = problem_of(activity_error(timed_out(TimeoutType.SCHEDULE_TO_CLOSE, cause)))
    assert problem.code == "ssh.unreachable"
    assert problem.actor is Actor.NETWORK_ADMIN
    assert "time for it was spent" in problem.message


def test_problem_of_an_unknown_error_shows_no_secret() -> None:
    assert "hunter22" not in problem_of(RuntimeError("password=hunter22")).message
