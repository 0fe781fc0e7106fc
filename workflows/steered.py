"""What people and services may say to a rollout: updates for people (validated, answered), signals for services.

Every message may come without its argument: a call that lacks one would otherwise suspend the whole workflow.
Both end in the same pure reducer, `sealring.planning.steering.reduce`. A handler only edits state and passes the word
on to the nodes in flight; the story acts on it.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from sealring.errors import SealringError
    from sealring.models.plan import Plan
    from sealring.models.rollout import NodeOutcome, RolloutReport
    from sealring.models.steering import Command, Resolution, RolloutStatus
    from sealring.planning.steering import reduce
    from workflows.doors import NO_PAYLOAD, signalled
    from workflows.progress import Progress

NO_WORDS = Command()


class Steered:
    """The messages of a rollout. The workflow provides `progress`, `children` and `relaying`."""

    progress: Progress
    children: dict[str, workflow.ChildWorkflowHandle]  # type: ignore[type-arg]  # of two workflow types
    relaying: asyncio.Lock

    @workflow.update(description="Start nothing more; nodes in flight are finished or taken back. Then end.")
    async def abort(self, command: Command = NO_WORDS) -> RolloutStatus:
        """See description."""
        return await self._obey("abort", command)

    @workflow.update(description="Hold before the next step, also on nodes in flight.")
    async def pause(self, command: Command = NO_WORDS) -> RolloutStatus:
        """See description."""
        return await self._obey("pause", command)

    @workflow.update(description="Go on after a pause.")
    async def resume(self, command: Command = NO_WORDS) -> RolloutStatus:
        """See description."""
        return await self._obey("resume", command)

    @workflow.update(description='Answer a decision: {"node": ADDRESS, "action": "retry|skip|stop"}.')
    async def resolve(self, answer: Resolution | None = None) -> RolloutStatus:
        """See description."""
        await self._obey("resolve", answer)
        await workflow.wait_condition(lambda: self.progress.steering.resolution is None)  # the story has taken it
        return self.progress.status()

    @abort.validator
    def _may_abort(self, command: Command = NO_WORDS) -> None:
        self._check("abort", command)

    @pause.validator
    def _may_pause(self, command: Command = NO_WORDS) -> None:
        self._check("pause", command)

    @resume.validator
    def _may_resume(self, command: Command = NO_WORDS) -> None:
        self._check("resume", command)

    @resolve.validator
    def _may_resolve(self, answer: Resolution | None = None) -> None:
        self._check("resolve", answer)

    @workflow.signal(name="abort", description="As the update of this name.")
    async def abort_signal(self, given: RawValue = NO_PAYLOAD) -> None:
        """See description."""
        await self._heed("abort", signalled(given, Command) or NO_WORDS)

    @workflow.signal(name="pause", description="As the update of this name.")
    async def pause_signal(self, given: RawValue = NO_PAYLOAD) -> None:
        """See description."""
        await self._heed("pause", signalled(given, Command) or NO_WORDS)

    @workflow.signal(name="resume", description="As the update of this name.")
    async def resume_signal(self, given: RawValue = NO_PAYLOAD) -> None:
        """See description."""
        await self._heed("resume", signalled(given, Command) or NO_WORDS)

    @workflow.signal(name="resolve", description="As the update of this name.")
    async def resolve_signal(self, given: RawValue = NO_PAYLOAD) -> None:
        """See description."""
        await self._heed("resolve", signalled(given, Resolution))

    @workflow.signal(dynamic=True)
    async def any_other_signal(self, name: str, given: Sequence[RawValue]) -> None:
        """A name that is none of these would be kept by the SDK without a word."""
        await self._heed(name[:60], None)

    @workflow.update(dynamic=True)
    async def any_other_update(self, name: str, given: Sequence[RawValue]) -> None:
        """Refused by its validator."""

    @any_other_update.validator
    def _no_other(self, name: str, given: Sequence[RawValue]) -> None:
        self._check(name[:60], None)

    @workflow.query(description="Phase, what is waited for, the commands that steer it, every node.")
    def status(self) -> RolloutStatus:
        """See description."""
        return self.progress.status()

    @workflow.query(description="The plan; null before it is made.")
    def plan(self) -> Plan | None:
        """See description."""
        return self.progress.plan

    @workflow.query(description="The outcome so far on every node.")
    def nodes(self) -> list[NodeOutcome]:
        """See description."""
        return list(self.progress.outcomes.values())

    @workflow.query(description="The report as it would be if the rollout ended now.")
    def report(self) -> RolloutReport:
        """See description."""
        return self.progress.report()

    def _check(self, name: str, word: Command | Resolution | None) -> None:
        if not isinstance(word, Command | Resolution | None):
            raise ApplicationError(
                f"{name}: the input is not one JSON object", type="input.invalid", non_retryable=True
            )
        try:
            reduce(self.progress.steering, name, word)
        except SealringError as error:
            raise ApplicationError(error.message, type=error.code, non_retryable=True) from None

    async def _obey(self, name: str, word: Command | Resolution | None) -> RolloutStatus:
        self.progress.steering = reduce(self.progress.steering, name, word)
        await self._relay(name)
        return self.progress.status()

    async def _heed(self, name: str, word: Command | Resolution | str | None) -> None:
        """A signal has nobody to answer: what makes no sense is kept as a remark in the status."""
        if isinstance(word, str):
            self.progress.remark(f"signal {name} ignored: {word}")
            return
        try:
            await self._obey(name, word)
        except SealringError as error:
            self.progress.remark(f"signal {name} ignored: {error}")

    async def _relay(self, name: str) -> None:
        for child in list(self.children.values()):
            if name == "abort":
                child.cancel()
            elif name in ("pause", "resume"):
                await self.tell(child)
        self.progress.publish()

    async def tell(self, child: workflow.ChildWorkflowHandle[Any, Any]) -> None:
        """Tell a node what holds now. One word at a time: of two under way at once the later may arrive first."""
        async with self.relaying:
            with suppress(ApplicationError):  # it ended meanwhile
                await child.signal("pause" if self.progress.steering.paused else "resume")
