"""The events by which people teach and are told what was learned: their feedback, and a playbook that begins or ceases to propose."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from schemas.event import Event, Identifier

NOTE_LIMIT = 1000  # characters
MOST_RATED = 100  # operations that one rating is about

Rating = Annotated[int, msgspec.Meta(ge=1, le=5)]
Note = Annotated[str, msgspec.Meta(max_length=NOTE_LIMIT)]
PersonName = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class FeedbackGiven(Event, frozen=True, kw_only=True):
    """What one person says of how an incident was handled, 1 (harmful) to 5 (just right); the newest of a person counts.

    `operations` are what had been begun for the incident when the person said so: it is about these and no later ones. `instead` is
    what was done in place of what Mendstream did or wanted. `proof` is the HMAC of `stages.proofs`, by who authenticated the person.
    """

    topic: ClassVar[str] = "feedback"

    person: PersonName
    rating: Rating
    origin: str
    note: Note = ""
    instead: Note = ""
    operations: Annotated[tuple[Identifier, ...], msgspec.Meta(max_length=MOST_RATED)] = ()
    proof: str = ""


class FeedbackKept(Event, frozen=True, kw_only=True):
    """A person's feedback was proven and kept. `effects` are what it moved, in words; `counts` is false where that person has said
    something newer already.
    """

    topic: ClassVar[str] = "lessons"

    feedback: str
    person: str
    rating: int
    counts: bool
    effects: tuple[str, ...] = ()


class PlaybookChanged(Event, frozen=True, kw_only=True):
    """A rule let a version of a playbook propose, or took that from it. `before` and `after` are draft, approved or deprecated."""

    topic: ClassVar[str] = "lessons"

    playbook: str
    playbook_version: int
    before: str
    after: str
    why: str
