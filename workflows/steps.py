"""Walking through the steps of one node: which one is in hand, how long each took, and holding between two."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from sealring.models.rollout import Timing
    from sealring.models.steering import Command, NodeStep


class Steps:
    """The steps taken so far."""

    def __init__(self) -> None:
        """Nothing done yet."""
        self.current = "waiting"
        self.paused = False
        self.timings: tuple[Timing, ...] = ()
        self.remark = ""

    def hold(self, paused: bool, word: Command | str | None) -> None:
        """Hold before the next step, or go on; a word that is no word of ours changes nothing and is kept."""
        if isinstance(word, str):
            self.remark = f"signal {'pause' if paused else 'resume'} ignored: {word}"
        else:
            self.paused = paused

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        """One step; begins only when nobody holds the node.

        A node that was cancelled is not held: nobody could let it go any more, for the rollout is being aborted.
        """
        if not self._may_begin():
            self.current = f"held before {name}"
            await workflow.wait_condition(self._may_begin, timeout_summary=f"held before {name}")
        self.current = name
        begun = workflow.time()
        try:
            yield
        except Exception:
            self._took(name, begun)
            raise
        # Not in a `finally`: that also runs when a workflow is dropped from the cache, where there is no workflow time.
        self._took(name, begun)

    def _may_begin(self) -> bool:
        return not self.paused or workflow.cancellation_reason() is not None

    def _took(self, name: str, begun: float) -> None:
        self.timings += (Timing(step=name, seconds=round(workflow.time() - begun, 3)),)

    def status(self) -> NodeStep:
        """For the `status` query."""
        return NodeStep(step=self.current, paused=self.paused, timings=self.timings, remark=self.remark)
