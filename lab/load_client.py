"""The process of a client load: `python -m lab.load_client PLAN` (see `lab.load`, which starts and stops it).

An open loop: request number i is due at start + i/rate whether or not earlier ones were answered, and its latency
counts from then, so that a stall shows in full. The client is set up as a good production client is: token and
datacenter aware, idempotent statements, retries on the next host, quick reconnection.
"""

import json
import signal
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)

from lab.tally import Key, Tally

KEYSPACE = "load"
MAX_RETRIES = 3  # decisions for one request; after that the application hears of it
REQUEST_SECONDS = 10.0
CONNECT_SECONDS = 5.0
HEARTBEAT_SECONDS = 5.0
KEYS = 50
STRIDE = 7  # reads take the keys in another order than writes: just written, or a while ago


@dataclass(frozen=True)
class LoadPlan:
    """What the process is told, as JSON; it names files with keys, and holds none."""

    addresses: list[str]
    port: int
    datacenter: str  # the client's own
    replication: dict[str, int]  # datacenter → replicas
    rate: float  # requests a second, half of them reads
    identity: str  # folder of tls.crt, tls.key and ca.crt
    seconds_file: str
    summary_file: str


class CountingRetries:
    """The driver's retry policy for idempotent statements: the next host, a few times; each decision is counted."""

    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count

    def on_read_timeout(self, *_: Any, retry_num: int, **__: Any) -> tuple[int, None]:
        """A coordinator waited for replicas in vain."""
        return self._again(retry_num)

    def on_write_timeout(self, *_: Any, retry_num: int, **__: Any) -> tuple[int, None]:
        """As for reads: our writes may be repeated."""
        return self._again(retry_num)

    def on_unavailable(self, *_: Any, retry_num: int, **__: Any) -> tuple[int, None]:
        """A coordinator knows of too few live replicas; another may know better."""
        return self._again(retry_num)

    def on_request_error(self, *_: Any, retry_num: int, **__: Any) -> tuple[int, None]:
        """The connection broke, or the coordinator is overloaded or starting."""
        return self._again(retry_num)

    def _again(self, retry_num: int) -> tuple[int, None]:
        if retry_num >= MAX_RETRIES:
            return RetryPolicy.RETHROW, None
        self._count()
        return RetryPolicy.RETRY_NEXT_HOST, None


class Load:
    """Requests at a steady rate on a session, until told to stop."""

    def __init__(self, session: Any, rate: float, tally: Tally) -> None:
        self._session = session
        self._interval = 1 / rate
        self._tally = tally
        self._run = uuid.uuid4().hex  # rows of this run alone
        self._keys = [Key() for _ in range(KEYS)]
        self._write = _prepared(session, "UPDATE load.registers SET value = ? WHERE key = ?")
        self._read = _prepared(session, "SELECT value FROM load.registers WHERE key = ?")
        self._answered = threading.Condition()
        self._waiting = 0

    def run(self, stop: threading.Event, each_second: Callable[[], None]) -> None:
        """Send until `stop` is set, then wait for what is under way; what is never answered counts as failed."""
        begin = time.monotonic()
        next_cut, i = begin + 1, 0
        while not stop.is_set():
            due = begin + i * self._interval
            if stop.wait(max(0.0, due - time.monotonic())):
                break
            self._send(i, due)
            i += 1
            if time.monotonic() >= next_cut:
                next_cut += 1
                each_second()
        with self._answered:
            self._answered.wait_for(lambda: self._waiting == 0, timeout=REQUEST_SECONDS * 2)
            for _ in range(self._waiting):
                self._tally.failed("NeverAnswered")
        each_second()

    def _send(self, i: int, due: float) -> None:
        """Even requests write and odd ones read; each in its own order takes every key in turn."""
        index = (i // 2 if i % 2 == 0 else i // 2 * STRIDE) % KEYS
        key, name = self._keys[index], f"{self._run}-{index}"
        with self._answered:
            self._waiting += 1
        if i % 2 == 0:
            value = key.next_value()
            future = self._session.execute_async(self._write, (value, name))
            future.add_callbacks(lambda _: self._written(key, value, due), self._failed)
        else:
            at_least = key.acknowledged()
            future = self._session.execute_async(self._read, (name,))
            future.add_callbacks(lambda rows: self._was_read(key, rows, at_least, due), self._failed)

    def _written(self, key: Key, value: int, due: float) -> None:
        key.acknowledge(value)
        self._done(due)

    def _was_read(self, key: Key, rows: list[Any], at_least: int, due: float) -> None:
        value = rows[0].value if rows else None
        if not key.is_right(value, at_least):
            self._tally.wrong()
        self._done(due)

    def _done(self, due: float) -> None:
        self._tally.ok(time.monotonic() - due)
        self._one_less()

    def _failed(self, error: Exception) -> None:
        self._tally.failed(type(error).__name__)
        self._one_less()

    def _one_less(self) -> None:
        with self._answered:
            self._waiting -= 1
            self._answered.notify_all()


def connect(plan: LoadPlan, tally: Tally) -> Any:
    """A cluster object of the driver, not yet connected; each server must show a certificate for its own address."""
    identity = Path(plan.identity)
    context = ssl.create_default_context(cafile=str(identity / "ca.crt"))
    context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(plan.datacenter)),
        retry_policy=CountingRetries(tally.retried),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=REQUEST_SECONDS,
    )
    return Cluster(
        plan.addresses,
        plan.port,
        ssl_context=context,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ExponentialReconnectionPolicy(0.5, 5.0, max_attempts=None),
        connect_timeout=CONNECT_SECONDS,
        control_connection_timeout=CONNECT_SECONDS,
        idle_heartbeat_interval=HEARTBEAT_SECONDS,
        idle_heartbeat_timeout=HEARTBEAT_SECONDS,
    )


def main(plan_file: Path) -> None:
    """Load the ring until SIGTERM; write a line each second and the summary at the end."""
    plan = LoadPlan(**json.loads(plan_file.read_text()))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    tally = Tally()
    cluster = connect(plan, tally)
    session = cluster.connect()
    replication = json.dumps({"class": "NetworkTopologyStrategy", **plan.replication}).replace('"', "'")
    session.execute(f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = {replication}", timeout=60)
    session.execute(f"CREATE TABLE IF NOT EXISTS {KEYSPACE}.registers (key text PRIMARY KEY, value bigint)", timeout=60)
    load = Load(session, plan.rate, tally)
    begin = time.monotonic()
    with Path(plan.seconds_file).open("w", buffering=1) as seconds:
        load.run(stop, lambda: print(json.dumps(asdict(tally.cut())), file=seconds))
    draft = Path(f"{plan.summary_file}.new")
    draft.write_text(json.dumps(asdict(tally.summary(time.monotonic() - begin))))
    draft.replace(plan.summary_file)
    cluster.shutdown()


def _prepared(session: Any, query: str) -> Any:
    statement = session.prepare(query)
    statement.is_idempotent = True
    return statement


if __name__ == "__main__":
    main(Path(sys.argv[1]))
