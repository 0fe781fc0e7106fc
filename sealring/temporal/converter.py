"""What comes in from Temporal as values, and failures on their way out.

In: whatever the stock CLI can be made to send (several inputs, bytes, an encoding that nobody knows) must end a start
and refuse an update with a code. The SDK would fail the workflow *task* instead, which is retried for ever.
Out: translated, redacted, and their text moved to where the codec encrypts it.
"""

from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DefaultFailureConverterWithEncodedAttributes, PayloadConverter

from sealring.errors import SealringError, refuse
from sealring.temporal.failures import for_the_wire


class Surplus:
    """Stands for several arguments where one is taken: of no type that anybody expects."""


class SealringPayloadConverter(PydanticPayloadConverter):
    """Everything of ours takes one argument at most."""

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """See base class.

        Raises:
            SealringError: input.invalid; pydantic's own error where a model does not fit.
        """
        if len(payloads) > 1 and not type_hints:
            return [Surplus()]
        try:
            return super().from_payloads(payloads, type_hints)
        except (KeyError, RuntimeError, UnicodeDecodeError) as error:
            raise unreadable(error) from None


def unreadable(error: Exception) -> SealringError:
    """A payload that is no value."""
    return refuse(
        "input.invalid",
        f"the input cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
        "send one JSON object (encoding json/plain, the default of the temporal CLI)",
    )


class SealringFailureConverter(DefaultFailureConverterWithEncodedAttributes):
    """The last gate: every error of a workflow, an activity or a refused update passes it, and so does each cause."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """See base class."""
        super().to_failure(for_the_wire(exception), payload_converter, failure)
