"""The first gate for errors: at the activity, before the worker logs them."""

from typing import Any

from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from sealring.temporal.failures import for_the_wire


class ErrorInterceptor(Interceptor):
    """Translates what an activity raises.

    The failure converter would do it too, but only after the SDK has logged the exception and all its causes in clear.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _TranslateErrors(next)


class _TranslateErrors(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(input)
        except Exception as error:
            # `from None`: the cause may hold what the message left out.
            raise for_the_wire(error) from None
