"""What of a language model's words is kept: an action that it may name, a risk, and sentences that are shown as its own. Pure functions."""

from __future__ import annotations

import msgspec

from schemas.action import Action, Investigate, describe, is_observation
from schemas.numbers import Share
from schemas.text import clean
from schemas.words import Risk, Source
from stages.propose.case import Case, Suggestion
from stages.propose.model.reach import why_not
from stages.propose.options import ProposeOptions
from stages.propose.parse import ParseFailure, parse

_SENTENCE = 500  # characters
_SENTENCES = 5


class Unusable(ValueError):
    """An answer, or the lack of one, that gives way to the next source. `outcome` is how it is counted; the message says why."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model answers for a suggestion. `action` is text until it is parsed."""

    action: str
    risk: Risk
    confidence: Share
    root_cause: str
    reasoning: tuple[str, ...]


class Objection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a critic answers."""

    objects: bool
    objection: str


_answer = msgspec.json.Decoder(Answer).decode
_objection = msgspec.json.Decoder(Objection).decode


def suggestion_in(text: str, case: Case, options: ProposeOptions, provider: str) -> Suggestion:
    """The suggestion that an answer makes. Raises Unusable for one that is not of the form, or names what it may not."""
    try:
        answer = _answer(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unusable("invalid", f"its answer is not of the form that was asked for: {clean(str(error), 200)}") from None
    try:
        parsed = parse(answer.action, case.target, case.snapshot)
    except ParseFailure as error:
        raise Unusable("outside", f"its action {error}") from None
    why = "it is about another target than the incident's own" if parsed.elsewhere else why_not(parsed.action, case, options)
    if why:
        raise Unusable("outside", f"its action {clean(answer.action, 200)!r} is not one that it may name: {why}")
    return _suggestion(parsed.action, answer, case, provider)


def objection_in(text: str) -> str:
    """What a critic objects; empty where it does not. Raises Unusable for an answer that is not of the form."""
    try:
        answer = _objection(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unusable("invalid", f"its answer is not of the form that was asked for: {clean(str(error), 200)}") from None
    return f"the critic objects: {_sentence(answer.objection) or 'it gives no reason'}" if answer.objects else ""


def _suggestion(action: Action, answer: Answer, case: Case, provider: str) -> Suggestion:
    looks = is_observation(action)
    if isinstance(action, Investigate):
        action = msgspec.structs.replace(action, reason="a language model suggests to look at it first")
    own = f"The language model {provider} suggests to {describe(action)}. It has read what anybody may have written; its words follow."
    said = (f"It says: {words}" for one in answer.reasoning[:_SENTENCES] if (words := _sentence(one)))
    cause = _sentence(answer.root_cause)
    return Suggestion(
        action=action,
        reasons=(own, *said),
        confidence=answer.confidence,
        source=Source.MODEL,
        provider=provider,
        root_cause=f"The language model says: {cause}" if cause else "",
        question=f"A language model found nothing to do about {case.target} but to look: what should be done?" if looks else "",
        risk=answer.risk,
    )


def _sentence(words: str) -> str:
    """A model's words on one line: a line feed would make them look like somebody else's."""
    return " ".join(clean(words, _SENTENCE).split())
