"""What people say to a rollout: drawn from the seed."""

from sealring.models.steering import Command, Resolution
from tests.twin.run import CONVERTER, Run
from tests.twin.server import Server
from tests.twin.world import World

WORDS = ("pause", "pause", "pause", "abort", "cancel", "child")


class People:
    """They pause and always resume, abort, cancel, and answer decisions, or not."""

    def __init__(self, world: World, server: Server, workflow_id: str) -> None:
        self.world, self.server, self.workflow_id = world, server, workflow_id
        self.quiet = False  # they only answer
        self.waiting: list[str] = []  # words that wait for the end of a stage

    def plan(self, words: int, within: float, *, between_stages: bool = False) -> None:
        """So many words in the next seconds, or when a stage is over, and an eye on open questions."""
        for _ in range(words):
            if between_stages and self.world.chance(0.5):
                self.waiting.append(self.world.dice.choice(WORDS))
            else:
                self.world.after(self.world.between(0, within), lambda: self._speak(self.world.dice.choice(WORDS)))
        self.world.after(60, self._answer)

    def hear(self, step: str) -> None:
        """A step begins."""
        if step == "observe_barrier" and self.waiting and self.world.chance(0.4):
            word = self.waiting.pop()
            self.world.after(self.world.between(0, 20), lambda: self._speak(word))

    @property
    def run(self) -> Run | None:
        return self.server.open.get(self.workflow_id)

    def _speak(self, word: str) -> None:
        if self.run is None or self.quiet:
            return
        if word == "pause":
            self._say("pause")
            self.world.after(self.world.dice.choice((1.0, 60.0, 3600.0)), self._resume)
        elif word == "abort":
            self._say("abort")
        elif word == "cancel":
            self.server.cancel(self.run, "a person")
        else:
            children = [run for name, run in self.server.open.items() if name.startswith("tls-node/")]
            if children:
                self.server.cancel(self.world.dice.choice(children), "a person, the node only")

    def _resume(self) -> None:
        if self.run is not None:
            self._say("resume")
            self.world.after(
                600, self._resume
            )  # until it is over: a signal may meet the end of a pause of somebody else

    def _say(self, word: str) -> None:
        assert self.run is not None
        payload = CONVERTER.to_payloads([Command(by="twin", reason="drawn")])[0]
        if self.world.chance(0.5):
            self.server.update(self.run, word, payload)
        else:
            self.server.signal(self.run, word, payload)

    def _answer(self) -> None:
        run = self.run
        if run is None:
            return
        if run.history and self.server.control_up <= self.world.now:
            (status,) = CONVERTER.from_payloads([run.ask("status", self.world.time())], [dict])
            decision = status.get("decision")
            if decision is not None and self.world.chance(0.7):
                action = self.world.dice.choice((decision["options"][0], *decision["options"]))
                answer = CONVERTER.to_payloads([Resolution(node=decision["node"], action=action)])[0]
                self.server.update(run, "resolve", answer)
        self.world.after(600, self._answer)
