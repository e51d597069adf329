"""Keeping the card of each incident true: posted once, edited as the store changes, answered with what people must hear."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from adapters.errors import MessageGone
from adapters.ports import Card, CardChannel
from bus.handler import Context
from schemas.event import Event
from schemas.events import (
    ActionApproved,
    ApprovalExpired,
    ApprovalRequested,
    ApprovalSigned,
    ExecutionStarted,
    IncidentClosed,
    IncidentOpened,
    IncidentUpdated,
    PeopleAsked,
)
from sql.card_facts import card_facts
from sql.cards import CardPlace, claim_card, leave_card, save_card
from sql.database import Database
from sql.errors import StoreUnavailable
from stages.notify.card import card_of

REDRAWN = (IncidentUpdated, IncidentClosed, ExecutionStarted)
"""News that nobody is told, and that may change a card."""

_SHOWN_BY_CARD = (IncidentOpened, ApprovalSigned, ActionApproved)
_LOUD = (ApprovalRequested, ApprovalExpired, PeopleAsked)
_REMEMBERED = 10_000  # cards whose place could not be stored


class Taken(Exception):
    """Another worker writes this card at this moment."""


class Cards:
    """Writes cards; `seconds` is how long one may take to be written before another worker may write it."""

    def __init__(self, database: Database, *, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._unstored: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def show(self, channel: CardChannel, event: Event, lines: Sequence[str], context: Context) -> None:
        """Brings the card of the event's incident up to date, and answers it with `lines` where the card alone does not tell them.

        Of an incident that is not in the store, the lines are sent as they are. Raises AdapterError, StoreUnavailable, and Taken.
        """
        async with self._database.connection() as connection:
            place = await claim_card(connection, event.incident, channel.name, seconds=self._seconds, at=context.now())
        if place is None:
            raise Taken
        try:
            message = await self._drawn(channel, place, context, told=bool(lines))
            if not message and lines:
                await channel.send(lines, delivery=event.id)
            elif lines and not isinstance(event, _SHOWN_BY_CARD):
                await self._answer(channel, place, message, lines, context, loud=isinstance(event, _LOUD))
        finally:
            with suppress(StoreUnavailable):  # then the right ends by itself
                async with self._database.connection() as connection:
                    await leave_card(connection, place)

    async def _answer(
        self, channel: CardChannel, place: CardPlace, message: str, lines: Sequence[str], context: Context, *, loud: bool
    ) -> None:
        """Answers the card, and posts it anew first where somebody has deleted it."""
        try:
            await channel.reply(message, lines, loud=loud)
        except MessageGone:
            message = await self._drawn(channel, place, context, anew=True)
            await channel.reply(message, lines, loud=loud)

    async def _drawn(self, channel: CardChannel, place: CardPlace, context: Context, *, anew: bool = False, told: bool = True) -> str:
        """The id of the message that shows the card as it is now, or of a new one; empty where there is no such incident.

        News that nobody is `told` post no card of an incident that is over: theirs may be so old that it is forgotten where it is.
        """
        async with self._database.connection() as connection:
            facts = await card_facts(connection, place.incident)
        if facts is None:
            return ""
        card = card_of(facts, channel.language)
        shown = _digest(card)
        known = "" if anew else place.message or self._unstored.get((place.incident, place.channel), "")
        if known and shown == place.shown:
            return known
        if not (known or told or facts.incident.is_open):
            return ""
        message = await _put(channel, known, card)
        await self._save(place, message, shown, context)
        return message

    async def _save(self, place: CardPlace, message: str, shown: str, context: Context) -> None:
        """Stores where the card is; while the store is away this process remembers it, so that no second card is posted."""
        try:
            async with self._database.connection() as connection:
                await save_card(connection, place, message=message, shown=shown, at=context.now())
        except StoreUnavailable:
            self._unstored[place.incident, place.channel] = message
            while len(self._unstored) > _REMEMBERED:
                self._unstored.popitem(last=False)
        else:
            self._unstored.pop((place.incident, place.channel), None)


async def _put(channel: CardChannel, message: str, card: Card) -> str:
    """The id of the message that shows the card: the one there is, or a new one where none is, or somebody has deleted it."""
    if message:
        try:
            await channel.edit(message, card)
        except MessageGone:
            pass
        else:
            return message
    return await channel.post(card)


def _digest(card: Card) -> str:
    return hashlib.blake2b(msgspec.json.encode(card), digest_size=16).hexdigest()
