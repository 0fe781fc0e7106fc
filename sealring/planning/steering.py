"""What people ask of a running rollout, reduced to its state by one pure function for updates and signals alike."""

from dataclasses import dataclass, replace

from sealring.errors import refuse
from sealring.models.steering import Command, Decision, Resolution


@dataclass(frozen=True)
class Steering:
    """What has been asked so far."""

    paused: bool = False
    aborted: bool = False
    reason: str = ""
    decision: Decision | None = None  # the question that is open
    resolution: Resolution | None = None  # its answer

    def asking(self, decision: Decision | None) -> "Steering":
        """With this question open and no answer yet; None: no question any more."""
        return replace(self, decision=decision, resolution=None)

    def holding(self, reason: str) -> "Steering":
        """Paused by the plan."""
        return replace(self, paused=True, reason=reason)

    def aborting(self, reason: str) -> "Steering":
        """Aborted, by whatever way the wish came."""
        return replace(self, aborted=True, reason=reason)


def reduce(state: Steering, name: str, word: Command | Resolution | None) -> Steering:
    """The state after one message.

    Raises:
        SealringError: `steer.*`, when the message makes no sense now; the state stays as it was.
    """
    if state.aborted:
        raise refuse("steer.aborted", f"{name}: the rollout is being aborted already", "wait for its report")
    match name, word:
        case "abort", Command():
            return replace(state, aborted=True, reason=_say("aborted", word))
        case "pause", Command():
            return replace(state, paused=True, reason=_say("paused", word))
        case "resume", Command():
            if not state.paused:
                raise refuse("steer.not-paused", "resume: the rollout is not paused", "nothing to do")
            return replace(state, paused=False, reason="")
        case "resolve", Resolution():
            return _resolve(state, word)
        case "resolve", _:
            raise refuse(
                "steer.no-answer", "resolve: the answer is missing", 'say {"node": ADDRESS, "action": "retry"}'
            )
        case _:
            raise refuse("steer.unknown", f"{name}: no such command", "use abort, pause, resume or resolve")


def _resolve(state: Steering, answer: Resolution) -> Steering:
    question = state.decision
    if question is None:
        raise refuse("steer.no-decision", "resolve: no decision is waited for", "look at `status`")
    if answer.node != question.node:
        raise refuse(
            "steer.other-node",
            f"node: the question is about {question.node}, not {answer.node}",
            f"answer for {question.node}",
        )
    if answer.action not in question.options:
        raise refuse(
            "steer.no-option",
            f"action: {answer.action} is no answer to this question",
            f"answer {', '.join(question.options)}",
        )
    return replace(state, resolution=answer)


def _say(what: str, word: Command) -> str:
    by = f" by {word.by}" if word.by else ""
    return f"{what}{by}: {word.reason}" if word.reason else f"{what}{by}"
