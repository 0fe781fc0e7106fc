"""Search attributes where the client may not manage them, on the real server."""

from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from sealring.errors import SealringError
from sealring.temporal import attributes
from sealring.temporal.attributes import register_search_attributes


class NoOperator:
    """The real client, but for an operator service that says no, as a server with an authorizer does."""

    def __init__(self, environment: WorkflowEnvironment, *, may_list: bool) -> None:
        self._client, self._may_list = environment.client, may_list
        self.namespace = environment.client.namespace
        self.count_workflows = environment.client.count_workflows
        self.operator_service = self

    async def list_search_attributes(self, request: Any) -> Any:
        if not self._may_list:
            raise RPCError("Request unauthorized.", RPCStatusCode.PERMISSION_DENIED, b"")
        return await self._client.operator_service.list_search_attributes(request)

    async def add_search_attributes(self, request: Any) -> None:
        raise RPCError("Request unauthorized.", RPCStatusCode.PERMISSION_DENIED, b"")


@pytest.mark.criterion("Q5")
@pytest.mark.parametrize("may_list", [True, False])
async def test_attributes_that_are_there_need_no_operator(temporal_dev: WorkflowEnvironment, may_list: bool) -> None:
    await register_search_attributes(NoOperator(temporal_dev, may_list=may_list))  # type: ignore[arg-type]


@pytest.mark.criterion("Q5")
@pytest.mark.parametrize("may_list", [True, False])
async def test_a_missing_attribute_is_refused_with_the_operators_command(
    temporal_dev: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, may_list: bool
) -> None:
    monkeypatch.setitem(attributes.SEARCH_ATTRIBUTES, "TlsNotThere", "Keyword")
    with pytest.raises(SealringError) as caught:
        await register_search_attributes(NoOperator(temporal_dev, may_list=may_list))  # type: ignore[arg-type]
    assert caught.value.code == "temporal.search-attributes"
    assert "TlsNotThere" in caught.value.message
    assert "TlsPhase" not in caught.value.message
    assert "--name TlsNotThere --type Keyword" in caught.value.remedy
