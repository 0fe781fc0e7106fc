"""The one definition of how this product speaks Temporal.

Give `sealring_plugin` to the client; workers made from that client inherit it. Give it to a `Replayer` as well. Nobody
sets a converter, a runner, an interceptor or a failure type anywhere else, so tests and replay cannot drift from
production.
"""

import dataclasses

from pydantic import ValidationError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from sealring.errors import SealringError
from sealring.temporal.codec import EncryptionCodec
from sealring.temporal.converter import SealringFailureConverter, SealringPayloadConverter
from sealring.temporal.interceptors import ErrorInterceptor
from sealring.temporal.keyring import Keyring

PASSTHROUGH = (
    # Models are pydantic classes: validated outside, used inside, so both sides must hold the same class.
    "sealring.models",
    # Raised inside, recognised by the failure converter and by WORKFLOW_FAILURES outside.
    "sealring.errors",
    # Pure functions over those models; loading them afresh for each run would only cost time.
    "sealring.planning",
    # Constants, and the reading of caught errors by class.
    "sealring.temporal.attributes",
    "sealring.temporal.policies",
    "sealring.temporal.failures",
)
"""Modules that the sandbox shares with the process instead of loading them anew. The SDK itself shares pydantic."""

WORKFLOW_FAILURES: tuple[type[BaseException], ...] = (
    # A request that does not fit its model would otherwise fail the workflow *task*, which is retried for ever: the
    # person who mistyped a field would see a workflow that runs and does nothing.
    ValidationError,
    # Planning refuses by raising one. It is an answer with a code, not a bug.
    SealringError,
    # Nothing more: any other exception is a bug, and a suspended workflow goes on when the fix is deployed.
)


def sealring_plugin(keyring: Keyring | None) -> SimplePlugin:
    """The plugin for Client, Worker (through its client) and Replayer.

    Args:
        keyring: encrypts payloads. None only where there is nothing to hide: a throw-away server on this computer.
    """
    return SimplePlugin(
        "sealring",
        data_converter=_data_converter(keyring),
        interceptors=[ErrorInterceptor()],
        workflow_runner=SandboxedWorkflowRunner(
            restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSTHROUGH)
        ),
        workflow_failure_exception_types=WORKFLOW_FAILURES,
    )


def _data_converter(keyring: Keyring | None) -> DataConverter:
    return dataclasses.replace(
        pydantic_data_converter,
        payload_converter_class=SealringPayloadConverter,
        payload_codec=EncryptionCodec(keyring),
        failure_converter_class=SealringFailureConverter,
    )
