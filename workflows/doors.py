"""What stands at each door of a workflow: a value of the right type goes in, anything else is an answer with a code.

Whoever starts or steers with the stock CLI can send anything: nothing, bytes, two inputs, a type that does not exist. A
workflow that meets it with a TypeError would be suspended for ever, and with it the ring's lock.
"""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel, ValidationError

    from sealring.errors import SealringError
    from sealring.temporal.failures import problem_of

Given = TypeVar("Given", bound=BaseModel)

NO_PAYLOAD = RawValue(Payload())


def one_argument(given: object, wanted: type[Given], example: str) -> Given:
    """The argument of a start.

    Raises:
        ApplicationError: input.invalid, with an example of what is wanted.
    """
    if isinstance(given, wanted):
        return given
    found = "missing" if given is None else "not one JSON object"
    raise ApplicationError(
        f"the input is {found}; expected {example}",
        {
            "code": "input.invalid",
            "class": "stop",
            "actor": "operator",
            "remedy": f"start it again with --input '{example}'",
            "node": "",
        },
        type="input.invalid",
        non_retryable=True,
    )


def signalled(given: RawValue, wanted: type[Given]) -> Given | str | None:
    """The word that came with a signal, None when there was none, or why it is no such word."""
    if not isinstance(given, RawValue):
        return "[input.invalid] it takes one JSON object, several inputs came"
    if not given.payload.metadata and not given.payload.data:
        return None
    try:
        # JSON's null is how the stock CLI says nothing.
        (word,) = workflow.payload_converter().from_payloads([given.payload], [cast(type, wanted | None)])
    except (SealringError, ValidationError) as error:
        return str(problem_of(error))
    if word is None or isinstance(word, wanted):
        return word
    return "[input.invalid] the input is not one JSON object"


@workflow.defn(dynamic=True)
class NoSuchWorkflow:
    """Ends what was started under a name that we do not have: a typing mistake would run for ever and do nothing."""

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> Any:
        """Refuse."""
        named = workflow.info().workflow_type
        raise ApplicationError(
            f"workflow type: there is no {named[:100]}; expected CertificateRollout",
            {
                "code": "input.workflow-type",
                "class": "stop",
                "actor": "operator",
                "remedy": "start it again with --type CertificateRollout",
                "node": "",
            },
            type="input.workflow-type",
            non_retryable=True,
        )
