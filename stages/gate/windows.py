"""Times that come again: when they begin as a cron expression in a time zone, and how long they last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from schemas.numbers import Seconds
from schemas.target import Target

_FIELDS = 5
_SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time that comes again, from each time that `cron` names, for `duration` seconds.

    The clock of `zone` says when it begins: a time that the change to summer time leaves out begins it when that hour is over, and one
    that comes twice in autumn the first time. It lasts as long as it lasts, whatever the clocks do meanwhile. Its first second belongs
    to it, its end does not.
    """

    cron: str
    """When it begins: minute, hour, day of the month, month and day of the week, such as `0 22 * * FRI`."""

    duration: Seconds
    """How long it lasts, in seconds."""

    zone: str = "UTC"
    """The time zone of `cron`, such as `Europe/Berlin`."""

    def __post_init__(self) -> None:
        _zone(self.zone)
        if len(self.cron.split()) != _FIELDS:
            raise ValueError(f"{self.cron!r} is no time to begin: write five fields, such as `0 22 * * FRI`")
        from cronsim import CronSim, CronSimError

        try:
            CronSim(self.cron, _SOME_TIME)
        except CronSimError as error:
            said = str(error)
            raise ValueError(f"{self.cron!r} is no time to begin ({said[:1].lower()}{said[1:]}): write it as for cron") from None

    def holds(self, now: datetime) -> bool:
        """Whether `now` is inside."""
        begun = _begun(self.cron, self.zone, now.astimezone(UTC).replace(microsecond=0))
        return begun is not None and now < begun + timedelta(seconds=self.duration)


class FreezeWindow(Window, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time in which nothing runs without a signature, everywhere or in some places."""

    clusters: tuple[str, ...] = ()
    """The clusters and host groups that it is about, with `*` for any part of a name; none: all."""

    namespaces: tuple[str, ...] = ()
    """The namespaces that it is about, as `NAMESPACE` or `CLUSTER/NAMESPACE`, with `*` for any part of a name; none: all, and hosts."""

    reason: str = ""
    """What people are told."""

    def freezes(self, target: Target, now: datetime) -> bool:
        """Whether it is about this target, and `now` is inside."""
        return self._covers(target) and self.holds(now)

    def _covers(self, target: Target) -> bool:
        if self.clusters and not any(fnmatchcase(target.cluster, pattern) for pattern in self.clusters):
            return False
        names = (target.namespace, f"{target.cluster}/{target.namespace}")
        return not self.namespaces or any(fnmatchcase(name, pattern) for pattern in self.namespaces for name in names)


@lru_cache(maxsize=256)
def _begun(cron: str, zone: str, now: datetime) -> datetime | None:
    """The last time until `now`, which is in UTC, at which it began; None where there was none within decades."""
    from cronsim import CronSim

    local = (now + timedelta(seconds=1)).astimezone(_zone(zone))
    return next((begun.astimezone(UTC) for begun in CronSim(cron, local, reverse=True)), None)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}: name one such as UTC or Europe/Berlin") from None
