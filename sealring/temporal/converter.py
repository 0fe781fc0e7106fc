"""Failures on their way to Temporal: translated, redacted, and their text moved to where the codec encrypts it."""

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverterWithEncodedAttributes, PayloadConverter

from sealring.temporal.failures import for_the_wire


class SealringFailureConverter(DefaultFailureConverterWithEncodedAttributes):
    """The last gate: every error of a workflow, an activity or a refused update passes it, and so does each cause."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """See base class."""
        super().to_failure(for_the_wire(exception), payload_converter, failure)
