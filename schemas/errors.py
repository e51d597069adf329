"""What can be wrong with something that claims to be of this package."""

from __future__ import annotations


class SchemaError(ValueError):
    """The root of this package's errors."""


class InvalidIdentifier(SchemaError):
    """An identifier has not the form of a UUIDv7 or UUIDv8: use the one that the event carries."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:64]!r} is not an event id: expected the text form of a UUID of version 7 or 8")


class UndecodableEvent(SchemaError):
    """The bytes are no event: not JSON, or a field is missing or of the wrong type. The message names the field.

    Write it as docs/producers.md and `mend schemas export` say.
    """


class UnknownEventType(SchemaError):
    """The event's type, or its version, is newer than this process: upgrade it, then replay the dead letter."""
