"""The search attributes of the product, named once.

They are few because they are stored in clear, and because SQL visibility stores have three to ten columns a type. They
are written when a phase changes, so that a saved query such as `TlsPhase="AwaitingDecision"` is a to-do list.

Loads inside the workflow sandbox.
"""

from datetime import datetime

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from sealring.errors import SealringError, refuse

TLS_CLUSTER: SearchAttributeKey[str] = SearchAttributeKey.for_keyword("TlsCluster")
TLS_PHASE: SearchAttributeKey[str] = SearchAttributeKey.for_keyword("TlsPhase")
TLS_REQUESTER: SearchAttributeKey[str] = SearchAttributeKey.for_keyword("TlsRequester")
TLS_NOT_AFTER: SearchAttributeKey[datetime] = SearchAttributeKey.for_datetime("TlsNotAfter")
TLS_NODES_FAILED: SearchAttributeKey[int] = SearchAttributeKey.for_int("TlsNodesFailed")

SEARCH_ATTRIBUTES: dict[str, str] = {
    TLS_CLUSTER.name: "Keyword",
    TLS_PHASE.name: "Keyword",
    TLS_REQUESTER.name: "Keyword",
    TLS_NOT_AFTER.name: "Datetime",
    TLS_NODES_FAILED.name: "Int",
}
"""Name → type as `temporal server start-dev --search-attribute Name=Type` spells it."""

_WIRE_TYPES = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "Datetime": IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
    "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT,
}


_REFUSED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)


async def register_search_attributes(client: Client) -> None:
    """Make sure that the client's namespace knows every search attribute. Safe to repeat, also from several processes.

    An upsert of an attribute that the server does not know suspends the workflow, so every worker calls this first.
    Listing and adding them are an operator's rights; a client without these only asks whether they can be searched for.

    Raises:
        SealringError: `temporal.search-attribute-type` when the namespace has one of the names with another type;
            `temporal.search-attributes` when some are missing and this client may not add them.
    """
    wanted = {name: _WIRE_TYPES[spelling] for name, spelling in SEARCH_ATTRIBUTES.items()}
    try:
        missing = await _missing(client, wanted)
        if not missing:
            return
        request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:  # another process was quicker
            return
        if error.status not in _REFUSED:
            raise
        unknown = [name for name in SEARCH_ATTRIBUTES if not await _searchable(client, name)]
        if unknown:
            raise _not_ours_to_add(client.namespace, unknown) from None


async def _searchable(client: Client, name: str) -> bool:
    """Whether the server knows an attribute: a question that every reader of the namespace may ask."""
    try:
        await client.count_workflows(f"{name} IS NOT NULL")
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        return False
    return True


def _not_ours_to_add(namespace: str, unknown: list[str]) -> SealringError:
    options = " ".join(f"--name {name} --type {SEARCH_ATTRIBUTES[name]}" for name in unknown)
    return refuse(
        "temporal.search-attributes",
        f"namespace {namespace} does not know the search attributes {', '.join(unknown)}, and may not be given them by "
        "this client",
        f"let somebody with an operator's rights run: temporal operator search-attribute create "
        f"--namespace {namespace} {options}",
    )


async def _missing(
    client: Client, wanted: dict[str, IndexedValueType.ValueType]
) -> dict[str, IndexedValueType.ValueType]:
    try:
        request = ListSearchAttributesRequest(namespace=client.namespace)
        known = (await client.operator_service.list_search_attributes(request)).custom_attributes
    except RPCError as error:
        if error.status is not RPCStatusCode.UNIMPLEMENTED:
            raise
        return wanted  # the time-skipping test server can add, but not list
    for name, wire_type in wanted.items():
        if name in known and known[name] != wire_type:
            raise refuse(
                "temporal.search-attribute-type",
                f"namespace {client.namespace} has search attribute {name} as "
                f"{IndexedValueType.Name(known[name])}, not as {SEARCH_ATTRIBUTES[name]}",
                f"use another namespace, or: temporal operator search-attribute remove --name {name}",
            )
    return {name: wire_type for name, wire_type in wanted.items() if name not in known}
