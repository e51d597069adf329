"""What a verification comes to, as the outcome of an incident and as words."""

from __future__ import annotations

from schemas.events import VerificationFinished
from schemas.words import UNKNOWN_GROUNDS, Outcome, Verdict

_FULLY_HEALED = 0.9  # self-healing score, 0 to 1


def effectiveness_of(event: VerificationFinished) -> int | None:
    """1 to 5: 5 healed with the alert gone and no regression, 4 healed, 2 changed nothing for the better, 1 failed; None: not known.

    What says nothing for the action and nothing against it, such as a change that somebody took back, is not known either.
    """
    if not event.measured or event.ground in UNKNOWN_GROUNDS:
        return None
    match event.verdict:
        case Verdict.SUCCESS if event.outcome is Outcome.SUCCEEDED:
            whole = event.cleared is True and not event.regressions and event.score >= _FULLY_HEALED
            return 5 if whole else 4
        case Verdict.DEGRADED:
            return 2
        case Verdict.FAILED:
            return 1
        case _:
            return None


def notes_of(event: VerificationFinished) -> str:
    """The learning notes: the verdict, and what it rests on."""
    relapse = "it came back: " if event.relapse else ""
    regressions = f"; got worse: {', '.join(event.regressions)}" if event.regressions else ""
    return f"{event.verdict.value}: {relapse}{event.summary}{regressions}"
