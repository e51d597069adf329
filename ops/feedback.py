"""What an authenticated person says of how an incident was handled, from wherever: proven by this process, kept by learn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from ops.answers import hear_answers
from ops.errors import NoSuchIncident
from ops.partitions import NAME, refuse_other
from schemas.identity import new_id
from schemas.learning import NOTE_LIMIT, FeedbackGiven, FeedbackKept
from schemas.text import clean
from sql import installation
from sql.feedback import begun_for
from sql.incidents import get_incident

if TYPE_CHECKING:
    from bus.connect import Bus
    from schemas.event import Event
    from sql.database import Database
    from stages.proofs import ProofKeys

_PATIENCE = 5.0  # seconds that learn gets to answer


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a person's feedback. `kept` once learn has said so; `effects` is what it moved, `counts` whether it is the newest."""

    incident: str
    feedback: str
    person: str
    rating: int
    said: str
    kept: bool = False
    counts: bool | None = None
    effects: tuple[str, ...] = ()


class SuggestionBox:
    """Takes the feedback of people whom the caller has authenticated; learn alone decides what follows from it."""

    def __init__(self, database: Database, bus: Bus, keys: ProofKeys, *, by: str, clock: Callable[[], datetime]) -> None:
        """`by` is the process that takes it, such as `cli/host`."""
        self._database = database
        self._bus = bus
        self._keys = keys
        self._by = by
        self._clock = clock

    async def give(self, incident: str, rating: int, *, person: str, origin: str, note: str, instead: str) -> Receipt:
        """Gives the rating of `person`, who came by `origin`, and waits up to 5 s for learn's answer.

        Raises NoSuchIncident, PartitionsChanged, StoreUnavailable and BusFull, with which nothing was given, and BusUnavailable, with
        which that is not known.
        """
        async with self._database.connection() as connection:
            row = await get_incident(connection, incident)
            refuse_other(await installation.get(connection, NAME), self._bus.partitions)
            operations = await begun_for(connection, incident)
        if row is None:
            raise NoSuchIncident(f"there is no incident {incident}: `mend incidents ls` lists them")
        now = self._clock()
        given = FeedbackGiven(
            id=new_id(now),
            key=row.key,
            at=now,
            by=self._by,
            incident=row.id,
            person=person,
            rating=rating,
            origin=origin,
            note=clean(note, NOTE_LIMIT),
            instead=clean(instead, NOTE_LIMIT),
            operations=operations,
        )
        given = self._keys.prove(given)
        await self._bus.append([given])
        return await self._answer(given)

    async def _answer(self, given: FeedbackGiven) -> Receipt:
        said = "the feedback is given; learn has not answered yet"
        receipt = Receipt(incident=given.incident, feedback=given.id, person=given.person, rating=given.rating, said=said)

        def hear(event: Event) -> bool:
            nonlocal receipt
            receipt = _answered(receipt, event, given)
            return receipt.kept

        await hear_answers(self._bus, given.id, "lessons", hear, seconds=_PATIENCE)
        return receipt


def _answered(receipt: Receipt, event: Event, given: FeedbackGiven) -> Receipt:
    """The receipt with what one event of learn says of it."""
    if not isinstance(event, FeedbackKept):
        return receipt
    moved = "; ".join(event.effects) or ("it moves nothing" if given.operations else "nothing was done there, so it moves nothing")
    late = "" if event.counts else "; a newer rating of the same person counts"
    said = f"rated {given.rating} of 5 as {given.person}: {moved}{late}"
    return msgspec.structs.replace(receipt, said=said, kept=True, counts=event.counts, effects=event.effects)
