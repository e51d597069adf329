"""What a person is asked at three in the morning: what happened, and what is to be decided or done about it."""

from __future__ import annotations

import msgspec

from schemas.action import Action, CordonNode, EvictPod, RerunJob, RollBackWorkload, SetAutoscalerBounds, describe
from schemas.events import DeadLettered, ExecutionFinished, VerificationFinished
from schemas.evidence import Snapshot
from schemas.words import DeadReason, FailureClass, Ground, Outcome, Verdict
from sql.causes import Repeated

_NO_WAY_BACK = (CordonNode, EvictPod, RerunJob)
"""What is not to be undone when it has not healed: a node that is down should stay cordoned, and nothing else has a way back."""

_REMEDIES = {
    FailureClass.PERMISSION: "give the permission that the error names",
    FailureClass.TIMEOUT: "look whether the target and its cluster still answer",
    FailureClass.NETWORK: "look whether the cluster or host can be reached from here",
    FailureClass.RESOURCE: "look for what ran out (memory, disk, quota)",
    FailureClass.KUBERNETES: "look at the target's events",
    FailureClass.UNKNOWN: "look at the target",
}
_DEAD_REMEDIES = {
    DeadReason.UNDECODABLE: "Who wrote it? It is no event and can only be dropped",
    DeadReason.UNKNOWN_TYPE: "Upgrade the stage that could not read it, then replay it",
    DeadReason.REJECTED: "Is what it tells true? Correct what the error names and replay it, or drop it",
    DeadReason.EXHAUSTED: "Mend what the error names, then replay it",
    DeadReason.CRASHED: "It ends the process that handles it: report the error, and replay it once that is mended",
}


def about_execution(event: ExecutionFinished, failure: FailureClass) -> tuple[str, str]:
    """Reason and question for an execution that did not do what was approved."""
    what, target = describe(event.action), event.action.target
    where = f"`mend incidents show {event.incident}` has the story."
    match event.outcome:
        case Outcome.UNKNOWN:
            reason = f"nobody can say whether '{what}' happened: {event.error}"
            return reason, f"Look at {target} before anybody does it again: did it happen? It is not repeated by itself. {where}"
        case Outcome.REFUSED:
            reason = f"'{what}' was refused and nothing was changed: {event.error}"
            return reason, f"Is it still wanted as things are now? Then propose or do it anew. {where}"
        case Outcome.DRY_RUN_BLOCKED:
            reason = f"the dry run of '{what}' stopped it and nothing was changed: {event.error}"
            return reason, f"Mend what the dry run found, or repair {target} by hand. {where}"
        case _:
            attempts = f"{event.attempts} attempt{'s' if event.attempts != 1 else ''}"
            reason = f"'{what}' failed after {attempts} ({failure.value}): {event.error or 'no error was told'}"
            return reason, f"Please {_REMEDIES[failure]}, then repair {target} by hand: nothing more is tried by itself. {where}"


class Back(msgspec.Struct, frozen=True, kw_only=True):
    """A way back that is put to people, and why it is one."""

    action: Action
    why: str


def is_unhealed(event: VerificationFinished, limit: float) -> bool:
    """Whether so little was healed, by a score under `limit`, that a way back is put to people.

    What was not measured is no reason, nor is what is only being started.
    """
    return event.measured and event.ground is not Ground.STARTING and event.score < limit


def way_back(event: VerificationFinished, inverse: Action | None, after: Snapshot | None, limit: float) -> Back | None:
    """The inverse that was stored with the approval, else the last revision that is known to have been fully available.

    None for a cordon, an eviction and a Job that was run again: going back from these heals nothing and may do harm. Nor for an
    autoscaler that uses its new room: the same load would be left to fewer pods.
    """
    if not is_unhealed(event, limit) or isinstance(event.action, _NO_WAY_BACK) or _is_in_use(event):
        return None
    if inverse is not None:
        return Back(action=inverse, why="as it was before the action")
    revision = after.last_available if after is not None and after.target.kind.is_workload else None
    if after is None or revision is None:
        return None
    known = f" ({revision.availability})" if revision.availability else ""
    rollback = RollBackWorkload(target=after.target, to_revision=revision.revision)
    return Back(action=rollback, why=f"the last one that is known to have been fully available{known}")


def _is_in_use(event: VerificationFinished) -> bool:
    return isinstance(event.action, SetAutoscalerBounds) and event.ground is Ground.BETTER


def about_verification(event: VerificationFinished, failure: FailureClass, back: Back | None) -> tuple[str, str]:
    """Reason and question for an action that was done and did not heal."""
    what, target = describe(event.action), event.action.target
    worse = f" It made worse: {', '.join(event.regressions)}." if event.regressions else ""
    reason = f"'{what}' {_effect(event)}: {event.summary}.{worse}".replace("..", ".")
    where = f"`mend incidents show {event.incident}` has what was measured."
    return reason, f"{target} needs a person: {_REMEDIES[failure]}.{_proposal(event, back)} {where}"


def _proposal(event: VerificationFinished, back: Back | None) -> str:
    if back is None:
        return ""
    parts = ", ".join(f"{name} {part:.2g}" for name, part in event.parts.items())
    score = f"the self-healing score is {event.score:.2g} of 1" + (f" ({parts})" if parts else "")
    return f" Shall it go back? Proposed, for {score}: {describe(back.action)}, {back.why}. It is not run by itself.{_command(event)}"


def _command(event: VerificationFinished) -> str:
    return f" `mend approvals undo {event.approval}` puts it to the gate, and another person signs." if event.approval else ""


def _effect(event: VerificationFinished) -> str:
    """What became of it, in words that claim no more than what was measured."""
    if not event.measured:
        return "was done, and nothing could be measured afterwards, so whether it healed anything is not known"
    if event.ground is Ground.CONTAINED:
        return "was done, and it heals nothing by itself"
    if event.relapse:
        return "helped at first, and it came back"
    return {
        Verdict.SUCCESS: "was done, and it is well again",
        Verdict.FAILED: "was done and did not help",
        Verdict.DEGRADED: "was done, and it cannot be said that it healed anything",
        Verdict.TIMEOUT: "was done, and it did not become well in time",
    }[event.verdict]


def about_dead_letter(event: DeadLettered) -> tuple[str, str]:
    """Reason and question for an event that a stage could not handle."""
    kind = event.original_type or "an unreadable entry"
    reason = f"{event.group} could not handle {kind} from {event.source_topic} ({event.reason.value}): {event.error}"
    return (
        reason,
        f"{_DEAD_REMEDIES[event.reason]}: `mend dead show {event.id}`, then `mend dead replay {event.id}` or `mend dead drop {event.id}`.",
    )


def with_held_back(question: str, held_back: int, quiet: float) -> str:
    """The question of one kind that is asked once in `quiet` seconds, with how many of its kind were held back since the last time."""
    more = f" {held_back} more of this kind since people were last asked: `mend dead ls` lists all." if held_back else ""
    return f"{question}{more} Others of this kind in the next {quiet / 60:.3g} min are not told one by one: `mend dead ls` has them."


def with_why_not(question: str, why: str) -> str:
    """The question with why nothing is tried by itself."""
    return f"{question} No repair is tried: {why}." if why else question


def about_many(repeated: Repeated, cause: str, reason: str, question: str, window: float) -> tuple[str, str]:
    """Reason and question for incidents that fail of one cause, in the words of the newest of them."""
    named, minutes = ", ".join(repeated.incidents), f"{window / 60:.3g} min"
    more = f" and {repeated.count - len(repeated.incidents)} more" if repeated.count > len(repeated.incidents) else ""
    many = f"{repeated.count} incidents in {minutes} fail of one cause ({cause}); the newest: {reason}"
    quiet = f"Others of this cause in the next {minutes} are not told one by one: `mend incidents ls` has them."
    return many, f"What do they have in common? Incidents {named}{more}. {quiet} Of the newest: {question}"


def asked_how(repeated: Repeated | None) -> str:
    """What a timeline says of how people were asked: by itself, with all of its cause, or not, as they know of the cause."""
    match repeated.told if repeated is not None else "each":
        case "quiet":
            return "people were not asked again, for they know that incidents fail of this cause"
        case "group":
            return "people were asked, about all incidents of this cause at once"
        case _:
            return "people were asked"


def with_suspicion(question: str, root_cause: str) -> str:
    """The question with what a language model suspects, called so."""
    return f"{question} A language model, which decides nothing, suspects: {root_cause}" if root_cause else question
