"""What the world answers when it does not do what was asked."""

from __future__ import annotations


class AdapterError(Exception):
    """The root of this package's errors; the message is a sentence for the person who reads the incident."""


class Transient(AdapterError):
    """It may work later: refused, reset, timed out, too many requests. Nothing was changed."""


class NoAnswer(Transient):
    """It did not answer in time. Nothing was changed."""


class Refused(AdapterError):
    """It will not work: forbidden, invalid, changed since it was approved, or blocked. Nothing was changed."""


class Busy(Transient):
    """It was asked too often and says itself when it may be asked again: in `after` seconds."""

    def __init__(self, message: str, after: float) -> None:
        super().__init__(message)
        self.after = after


class Unsendable(Refused):
    """A channel will not have this very message, however often it is sent; others may pass."""


class MessageGone(Refused):
    """The message that was to be edited or answered is not there any more."""


class TargetMissing(AdapterError):
    """The target does not exist. `nearest` are the names that come closest to it."""

    def __init__(self, message: str, nearest: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.nearest = nearest


class Failed(AdapterError):
    """It ran and did not succeed; part of it may be done. Doing it again does no harm."""


class OutcomeUnknown(AdapterError):
    """The request was sent and the answer was lost: it may have happened. Never repeat it blindly; look first."""


class UnknownCluster(AdapterError):
    """No cluster or host group of that name is in the settings; another is never guessed."""


class WrongSettings(AdapterError):
    """The way to a cluster or a host is wrong in the settings; the message says what to change."""
