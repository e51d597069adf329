"""What can go wrong between a stage and its store."""

from __future__ import annotations


class StoreError(Exception):
    """The root of this package's errors."""


class StoreUnavailable(StoreError):
    """Postgres cannot be reached or is shutting down: nothing was changed. Check `mend doctor` and the server's log."""


class InvalidAddress(StoreError):
    """The URL of Postgres is not one: write `postgresql://user:password@host:5432/database`."""


class MigrationChanged(StoreError):
    """A migration that was applied has another checksum than its file: restore the file, or start a new database."""


class QueryTooLong(ValueError):
    """There are more words to search for than anybody would write: name fewer."""
