"""One press of a button: who pressed is looked up, the press is taken once, and a vote is cast. What is refused is in the audit log."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from bus.errors import BusError, BusFull
from ops.errors import OpsError
from schemas.identity import is_identifier
from schemas.text import clean
from schemas.words import ApprovalState, Choice, Language
from sql.approvals import get_approval
from sql.audit import audit_close, audit_open
from sql.database import Database
from sql.errors import StoreError
from sql.presses import give_press_back, take_press
from stages.notify.texts import say

_log = logging.getLogger("mend.channels")
_ORIGIN = 128  # characters


class Ballot(Protocol):
    """The way to cast a vote for somebody who has been authenticated."""

    async def cast(self, approval: str, choice: Choice, *, person: str, origin: str, comment: str) -> str:
        """Casts it; returns what became of it, in one sentence for the person.

        Raises OpsError, StoreError and BusFull, with which nothing was cast, and any other BusError, with which that is not known.
        """
        ...


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel has proven: this `account` pressed this. `nonce` is the same whenever the same press is delivered."""

    account: str
    approval: str
    choice: Choice
    nonce: str


class Presses:
    """Takes the presses of one channel. `people` are the names of persons by their accounts there."""

    def __init__(
        self,
        channel: str,
        database: Database,
        ballot: Ballot,
        people: Mapping[str, str],
        *,
        language: Language,
        clock: Callable[[], datetime],
    ) -> None:
        self._channel = channel
        self._database = database
        self._ballot = ballot
        self._people = people
        self._language = language
        self._clock = clock
        self._noted: set[str] = set()

    async def take(self, press: Press) -> str:
        """Casts the vote, or refuses the press; returns the sentence that the presser is to be told. Raises nothing that can be told."""
        nonce = f"{self._channel}/{hashlib.sha256(press.nonce.encode()).hexdigest()}"
        try:
            async with self._database.connection() as connection:
                is_new = await take_press(connection, nonce, at=self._clock())
            if not is_new:
                await self._refused(press, "replayed: this very press was taken before", key=nonce)
                return say(self._language, "press.replayed")
        except StoreError as error:
            return self._not_worked("press.away", error)
        try:
            return await self._cast(press, nonce)
        except (StoreError, BusFull) as error:
            await self._give_back(nonce)
            return self._not_worked("press.away", error)
        except BusError as error:  # the append may have been done, and only its reply lost
            return self._not_worked("press.unsure", error)

    def _not_worked(self, text: str, error: Exception) -> str:
        _log.warning("a press in %s could not be worked: %s", self._channel, clean(str(error), 500))
        return say(self._language, text, reason=clean(str(error), 100))

    async def _cast(self, press: Press, nonce: str) -> str:
        person = self._people.get(press.account)
        if person is None:
            await self._refused(press, "unlisted: no person of [people] has this account", key=nonce)
            return say(self._language, "press.unlisted", account=clean(press.account, 64))
        if late := await self._late(press):
            await self._refused(press, late, key=nonce, person=person)
            return say(self._language, "press.answer", person=person, said=late)
        origin = clean(f"{self._channel}/{press.account}", _ORIGIN)
        try:
            said = await self._ballot.cast(press.approval, press.choice, person=person, origin=origin, comment="")
        except OpsError as error:
            await self._refused(press, str(error), key=nonce, person=person)
            return say(self._language, "press.answer", person=person, said=clean(str(error), 200))
        return say(self._language, "press.answer", person=person, said=said)

    async def _late(self, press: Press) -> str:
        """Why no vote can count any more for what was pressed; empty where the gate is to be asked."""
        row = None
        if is_identifier(press.approval):
            async with self._database.connection() as connection:
                row = await get_approval(connection, press.approval)
        if row is None:
            return "there is no such approval"
        if row.state is ApprovalState.WAITING:
            return "late: the time to sign is over" if self._clock() >= row.expires_at else ""
        stops = row.state is ApprovalState.APPROVED and press.choice is Choice.REJECT and row.finished_at is None
        return "" if stops else f"late: it is {row.state.value} already and takes no more votes"

    async def _refused(self, press: Press, why: str, *, key: str, person: str = "") -> None:
        who = f"person/{person}" if person else f"{self._channel}/{press.account}"
        await self._audit(f"press/{key}/{why.partition(':')[0]}", who, f"{press.choice} {press.approval}", why)

    async def refused_unproven(self, reason: str, detail: str) -> None:
        """Audits what did not prove that it comes from the channel: one row a minute for each reason, however many came."""
        minute = int(self._clock().timestamp()) // 60
        key = f"press/{self._channel}/{reason}/{minute}"
        if key in self._noted:
            return
        self._noted = {key, *(other for other in self._noted if other.endswith(f"/{minute}"))}
        _log.warning("refused at the door for %s: %s", self._channel, detail)
        try:
            await self._audit(key, f"{self._channel}/unknown", "a press", f"{reason}: {detail}")
        except StoreError as error:
            _log.warning("this refusal is not in the audit log: %s", clean(str(error), 500))

    async def _audit(self, key: str, who: str, about: str, why: str) -> None:
        async with self._database.connection() as connection:
            await audit_open(connection, id=key, at=self._clock(), who=who, what="press a button", about=about, input=self._channel)
            await audit_close(connection, key, state="refused", error=why)

    async def _give_back(self, nonce: str) -> None:
        try:
            async with self._database.connection() as connection:
                await give_press_back(connection, nonce)
        except StoreError as error:
            _log.warning("a press in %s must be made anew: %s", self._channel, clean(str(error), 500))
