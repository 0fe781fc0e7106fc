"""What an activity keeps between its attempts, in this process only: large stores that were not sent whole yet.

A PKCS#12 store differs at each write, so an interrupted transfer can only go on with the very bytes of the first try.
After a move to another worker, or a restart, the transfer begins anew: nothing is lost but the time.
"""

from collections import OrderedDict
from contextvars import ContextVar

from temporalio import activity

from activities.rings import Bench, Files
from sealring.models.node import StoreFormat
from sealring.pki.material import Material
from sealring.pki.stores import write_keystore, write_truststore

WORTH_BYTES = 64 * 1024
"""A generation with no larger file is written anew: it is sent in a moment, and its keys are not kept here."""

KEPT = 32  # transfers; the oldest goes

Key = tuple[str, str, str]  # cluster, node, generation

progress: ContextVar[list[str]] = ContextVar("progress")
"""What the heartbeat says; set by the worker's interceptor for each activity."""


class Drafts:
    """Stores by node and generation. They never leave the process."""

    def __init__(self) -> None:
        self._files: OrderedDict[Key, Files] = OrderedDict()

    def __repr__(self) -> str:
        """Without any content."""
        return f"Drafts({len(self._files)} kept)"

    def stores(self, key: Key, bench: Bench, material: Material) -> Files:
        """What the node's stores shall be, by path: those of an earlier try where they still fit, else new ones."""
        tried = self._files.get(key, {})
        made: dict[tuple[str, StoreFormat, str], bytes] = {}  # stores that are to be alike are written once
        files: Files = {}
        for store in bench.inventory.stores:
            kind = store.role, store.format, bench.password(store)
            if store.path in tried and bench.holds(store, tried[store.path], material):
                files[store.path] = tried[store.path]
            else:
                if kind not in made:
                    made[kind] = write_store(material, *kind)
                files[store.path] = made[kind]
        if max(map(len, files.values()), default=0) > WORTH_BYTES:
            self._files[key] = files
            self._files.move_to_end(key)
            while len(self._files) > KEPT:
                self._files.popitem(last=False)
        return files

    def forget(self, key: Key) -> None:
        """They arrived."""
        self._files.pop(key, None)


def write_store(material: Material, role: str, store_format: StoreFormat, password: str) -> bytes:
    """A new store.

    Raises:
        SealringError: `store.*`.
    """
    if role == "keystore":
        return write_keystore(material, store_format, password)
    return write_truststore(material.trust, store_format, password)


def tell_sent(done: int, total: int) -> None:
    """Say in the heartbeat how far a transfer has come."""
    told = progress.get(None)
    if told is not None and done < total:  # its end is told by the answer
        told[:] = [f"{done} of {total} bytes sent"]
        activity.heartbeat(*told)
