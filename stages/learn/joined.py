"""Which alerts are known to have joined which incidents: a storm says it thousands of times, and only the first teaches something."""

from __future__ import annotations

from collections import OrderedDict

from schemas.event import Event
from schemas.events import IncidentOpened, IncidentUpdated
from schemas.words import SignalStatus

_MOST = 10_000


class Joined:
    """The alerts of the incidents that were heard of last, by this process: one that was forgotten is asked about once more."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def teaches_nothing(self, event: IncidentUpdated) -> bool:
        """Whether an update says nothing new: an alert that ended, or one that had joined."""
        return event.status is SignalStatus.RESOLVED or (event.incident, event.alert) in self._known

    def add(self, event: Event) -> None:
        """Notes what an event told that was taken."""
        if isinstance(event, IncidentOpened | IncidentUpdated):
            self._known[event.incident, event.alert] = None
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
