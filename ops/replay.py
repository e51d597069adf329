"""Telling a consumer group the past again: a page at a time, never further ahead than it and those behind it follow, audited.

Nothing is done again by it: a stage returns what it decided then, and where that is forgotten, its ledgers say that it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from bus.errors import BusError
from bus.replay import Past, busiest, feed, silence
from ops.errors import CommandFailed
from ops.wiring import ARCHIVE, topology
from schemas.events import EVENT_TYPES, TOPICS
from schemas.identity import new_id
from sql.audit import audit_close, audit_open
from sql.errors import StoreError
from sql.event_log import find_event
from sql.replay import Counted, Slice, counted, lay_out, page, put_away

if TYPE_CHECKING:
    from bus.connect import Bus
    from sql.audit import AuditState
    from sql.database import Connection, Database

_TELLS_PEOPLE = "notify"
_PAGE = 100  # events
_LOOK = 0.1  # seconds
_SILENT = 12.0  # seconds; a process that is busy keeps what it has in hand every 10 s


class Progress(msgspec.Struct, kw_only=True):
    """How far a replay is: `fed` of `events`, the last one with this id; `waits_for` names who is behind, where it waits.

    `silent`: that is the group that is fed, and no process of it has asked for anything for a while.
    """

    events: int = 0
    fed: int = 0
    last: str = ""
    waits_for: str = ""
    silent: bool = False


def chosen(
    group: str,
    *,
    types: tuple[str, ...] = (),
    topics: tuple[str, ...] = (),
    incident: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    after: str = "",
    forgotten: datetime | None = None,
) -> Slice:
    """The slice that may be told to a group: of the topics that it reads. Raises CommandFailed for what it would never see.

    Whom notify told what before `forgotten` nobody knows any more: people are told nothing older again.
    """
    from ops.cli.words import known_word

    groups = topology()
    if group == ARCHIVE:
        raise CommandFailed("the archive has stored every event that could be replayed to it: there is nothing to gain")
    reads = groups[known_word(group, [name for name in groups if name != ARCHIVE], "consumer group that events can be replayed to")]
    for topic in topics:
        if known_word(topic, list(TOPICS), "topic") not in reads:
            raise CommandFailed(f"{group} does not read {topic}: it reads {', '.join(reads)}")
    for kind in types:
        topic = EVENT_TYPES[known_word(kind, list(EVENT_TYPES), "event type")].topic
        if topic not in (topics or reads):
            raise CommandFailed(
                f"{group} would never see a {kind}, which is in {topic}: of what is chosen it reads {', '.join(topics or reads)}"
            )
    if group == _TELLS_PEOPLE and forgotten is not None:
        since = forgotten if since is None else max(since, forgotten)
    return Slice(topics=topics or reads, types=types, incident=incident, since=since, until=until, after=after)


async def preview(database: Database, past: Slice) -> list[Counted]:
    """What would be fed, by topic and type. Raises CommandFailed, StoreUnavailable."""
    async with database.connection() as connection:
        await _require_event(connection, past.after)
        return await counted(connection, past)


async def _require_event(connection: Connection, after: str) -> None:
    if after and await find_event(connection, after) is None:
        raise CommandFailed(f"the event log has no event {after}: --after takes the id that an interrupted replay named last")


class Replay:
    """One replay. `most_behind` events may wait for any group while another page is fed; `tell` hears of every page and every wait.

    After `silent` seconds without a word of any process of the group it hears of that, too.
    """

    def __init__(
        self,
        bus: Bus,
        database: Database,
        group: str,
        past: Slice,
        *,
        who: str,
        clock: Callable[[], datetime],
        most_behind: int = 500,
        silent: float = _SILENT,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._bus = bus
        self._database = database
        self._group = group
        self._past = past
        self._who = who
        self._clock = clock
        self._most_behind = most_behind
        self._silent = silent
        self._tell = tell
        self._topics: list[str] = []
        self.progress = Progress(last=past.after)
        self.id = f"replay/{new_id(clock())}"

    async def run(self) -> Progress:
        """Feeds the slice. Interrupted, or with a store away, it says in its audit row and in `progress` how far it came.

        Raises CommandFailed, GroupMissing, BusUnavailable, BusFull, StoreUnavailable.
        """
        async with self._database.connection() as connection:
            await _require_event(connection, self._past.after)
            self._topics = sorted({row.topic for row in await counted(connection, self._past)})
            about = msgspec.json.encode(self._past).decode()
            opened = {"who": self._who, "what": f"replay to {self._group}", "about": about, "incident": self._past.incident}
            await audit_open(connection, id=self.id, at=self._clock(), **opened)
        try:
            async with self._database.connection() as connection:
                await self._feed_all(connection)
        except (asyncio.CancelledError, KeyboardInterrupt):
            await self._note("withdrawn", "interrupted")
            raise
        except (BusError, StoreError) as error:
            await self._note("failed", str(error))
            raise
        await self._note("success")
        return self.progress

    async def _feed_all(self, connection: Connection) -> None:
        progress = self.progress
        progress.events = await lay_out(connection, self._past)
        while progress.fed < progress.events:
            rows = await page(connection, progress.fed, _PAGE)
            await self._keep_pace()
            token = f"{self.id}/{progress.fed}"
            events = [Past(row.topic, row.partition, row.body.encode()) for row in rows]
            await feed(self._bus, self._group, events, token=token)
            progress.fed += len(rows)
            progress.last = rows[-1].id
            await audit_close(connection, self.id, state="pending", output=self._told())  # also where this process is killed
            self._tell(progress)
        await put_away(connection)

    async def _keep_pace(self) -> None:
        """Waits until nobody is far behind: the group that is fed, or one that handles what it tells."""
        progress, look_at = self.progress, asyncio.get_running_loop().time() + self._silent
        while (behind := await busiest(self._bus, self._group, self._topics)).waiting > self._most_behind:
            if progress.waits_for != behind.group:
                progress.waits_for, progress.silent = behind.group, False
                self._tell(progress)
            if behind.group == self._group and not progress.silent and asyncio.get_running_loop().time() >= look_at:
                progress.silent = await silence(self._bus, self._group, self._topics) >= self._silent
                if progress.silent:
                    self._tell(progress)
            await asyncio.sleep(_LOOK)
        progress.waits_for, progress.silent = "", False

    async def _note(self, state: AuditState, error: str = "") -> None:
        """Closes the audit row, as far as the store is there for it."""
        try:
            async with self._database.connection() as connection:
                await audit_close(connection, self.id, state=state, output=self._told(), error=error)
        except StoreError:
            return

    def _told(self) -> str:
        progress = self.progress
        return f"{progress.fed} of {progress.events} events" + (f", the last one {progress.last}" if progress.fed else "")
