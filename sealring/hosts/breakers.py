"""Circuit breakers: a host, or a whole subnet, that cannot be reached is left alone for a while.

Closed: everybody may try. After so many failures in a row it opens: nobody tries, the answer comes at once. When that
time is over one login is let through (half-open): it closes the breaker, or opens it again. Only faults of the way
count (`UNREACHABLE`): a host that refuses a login or shows the wrong key was reached (`REACHED`).

`Breaker` is pure: every call gets the time. `Breakers` knows which ones stand before a host, and logs what they do.
"""

import ipaddress
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Literal

from sealring.errors import Actor, ErrorClass, SealringError
from sealring.hosts.routes import Endpoint
from sealring.models.cluster import BreakerSettings

State = Literal["closed", "open", "half-open"]

CIRCUIT_OPEN = "ssh.circuit-open"
UNREACHABLE = frozenset({"ssh.connect-timeout", "ssh.connect-failed"})
"""Codes that say: the host could not be reached, or dropped us on the way in."""

REACHED = frozenset({"ssh.auth-refused", "ssh.login-timeout", "ssh.host-key-unverified", "ssh.host-key-changed"})
"""Codes that only a host which was reached can cause. What else goes wrong (a bastion, our own files) tells nothing."""

_PROBE_SECONDS = 2.0  # who comes while somebody else's probe is on its way asks again after this

_log = logging.getLogger(__name__)


class Breaker:
    """One breaker. Times are seconds of one monotonic clock.

    Args:
        threshold: failures in a row until it opens.
        open_for: seconds until a probe is let through.
    """

    def __init__(self, threshold: int, open_for: float) -> None:
        self.threshold = threshold
        self.open_for = open_for
        self.failures = 0  # in a row
        self._until: float | None = None  # None: closed
        self._probe: int | None = None  # the admission that is the probe
        self._era = 0  # grows with each change of state: what was admitted before says nothing about later

    def state(self, now: float) -> State:
        """What it does with the next one."""
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half-open"

    def wait(self, now: float) -> float:
        """Seconds until somebody may try; 0: now."""
        match self.state(now):
            case "closed":
                return 0.0
            case "open":
                assert self._until is not None
                return self._until - now
            case _:
                return 0.0 if self._probe is None else _PROBE_SECONDS

    def admit(self, now: float) -> int:
        """Let one through; its outcome is told with the number that is returned.

        Raises:
            ValueError: `wait` says that nobody may try. A mistake in our code.
        """
        if self.wait(now) > 0:
            raise ValueError("the breaker is open")
        if self.state(now) == "half-open":
            self._era += 1
            self._probe = self._era
        return self._era

    def succeeded(self) -> bool:
        """Somebody got through: whatever it was, it is reachable. Returns whether that closed the breaker."""
        closed = self._until is not None
        self._era += closed
        self.failures, self._until, self._probe = 0, None, None
        return closed

    def failed(self, admission: int, now: float) -> bool:
        """Somebody did not get through. Returns whether that opened the breaker."""
        if admission != self._era:
            return False  # let through before the last change: no news
        self.failures += 1
        if self._probe is None and self.failures < self.threshold:
            return False
        self._until, self._probe = now + self.open_for, None
        self._era += 1
        return True

    def left(self, admission: int) -> None:
        """Somebody gave up before anything was known; a probe's place is free again."""
        if self._probe is not None and admission == self._era:
            self._probe = None


@dataclass
class _Guard:
    """A breaker with what people want to know about it."""

    what: str
    breaker: Breaker
    since: datetime | None = None  # the first failure of the row
    words: str = ""

    def admit(self, now: float) -> int:
        """See `Breaker.admit`."""
        if self.breaker.state(now) == "half-open":
            _log.warning("breaker half-open: %s: one connection is tried", self.what)
        return self.breaker.admit(now)

    def succeeded(self) -> None:
        """See `Breaker.succeeded`."""
        if self.breaker.succeeded():
            _log.warning("breaker closed: %s is reached again", self.what)

    def failed(self, admission: int, now: float, words: str) -> None:
        """See `Breaker.failed`."""
        if self.breaker.failures == 0:
            self.since = datetime.now(UTC)
        if self.breaker.failed(admission, now):
            _log.warning(
                "breaker open: %s for %g s after %d failures, the last: %s",
                self.what,
                self.breaker.open_for,
                self.breaker.failures,
                words,
            )
        self.words = words

    def refusal(self, address: str, wait: float) -> SealringError:
        again = datetime.now(UTC) + timedelta(seconds=wait)
        return SealringError(
            CIRCUIT_OPEN,
            f"no connection is tried: {self.breaker.failures} to {self.what} failed in a row since "
            f"{self.since:%Y-%m-%dT%H:%M:%SZ}, the last: {self.words}; one is tried at {again:%H:%M:%SZ}",
            error_class=ErrorClass.RETRY,
            actor=Actor.NETWORK_ADMIN,
            remedy=f"bring {self.what} back; ssh.breaker says how long it is left alone",
            node=address,
            retry_after=timedelta(seconds=wait),
        )


class Breakers:
    """The breakers of one worker for one ring."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._hosts: dict[str, _Guard] = {}
        self._subnets: dict[str, _Guard] = {}

    def check(self, place: Endpoint) -> None:
        """Refuse at once what `attempt` would refuse.

        Raises:
            SealringError: `ssh.circuit-open` (retry).
        """
        now = monotonic()
        for guard in self._guards(place):
            if wait := guard.breaker.wait(now):
                raise guard.refusal(place.address, wait)

    @contextmanager
    def attempt(self, place: Endpoint) -> Iterator[None]:
        """Around one attempt to connect to a server.

        Raises:
            SealringError: `ssh.circuit-open` (retry), at once.
        """
        self.check(place)
        guards, now = self._guards(place), monotonic()
        admitted = [(guard, guard.admit(now)) for guard in guards]
        try:
            yield
        except SealringError as error:
            if error.code in UNREACHABLE:
                self._failed(admitted, error)
            elif error.code in REACHED:
                _succeeded(admitted)
            else:
                _left(admitted)
            raise
        except BaseException:
            _left(admitted)
            raise
        _succeeded(admitted)

    def _failed(self, admitted: list[tuple[_Guard, int]], error: SealringError) -> None:
        now, words = monotonic(), f"[{error.code}] {error.message}"
        (host, admission), *subnets = admitted
        host.failed(admission, now, words)
        for subnet, admission in subnets:
            # To a subnet a host counts once, when it begins to fail: one dead node is not the network.
            if host.breaker.failures == 1 or subnet.breaker.state(now) != "closed":
                subnet.failed(admission, now, words)

    def _guards(self, place: Endpoint) -> list[_Guard]:
        """The host's breaker first."""
        settings, server = self._settings, place.server
        seconds = settings.open_for.total_seconds()
        if server not in self._hosts:
            self._hosts[server] = _Guard(f"host {server}", Breaker(settings.failures, seconds))
        subnet = self.subnet(place.host)
        if subnet and subnet not in self._subnets:
            self._subnets[subnet] = _Guard(f"hosts of subnet {subnet}", Breaker(settings.subnet_failures, seconds))
        return [self._hosts[server], *([self._subnets[subnet]] if subnet else [])]

    def subnet(self, host: str) -> str:
        """The subnet of an address; empty for a name."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return ""
        prefix = self._settings.ipv4_prefix if address.version == 4 else self._settings.ipv6_prefix
        return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))


def _succeeded(admitted: list[tuple[_Guard, int]]) -> None:
    for guard, _ in admitted:
        guard.succeeded()


def _left(admitted: list[tuple[_Guard, int]]) -> None:
    for guard, admission in admitted:
        guard.breaker.left(admission)
