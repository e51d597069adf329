"""What can go wrong between a stage and its streams; each message says what to do."""

from __future__ import annotations


class BusError(Exception):
    """The root of this package's errors: Redis answered something that the bus cannot go on from."""


class BusUnavailable(BusError):
    """Redis cannot be reached, is loading, or lost the answer: repeat later. Check `mend doctor` and the server's log."""


class BusFull(BusError):
    """Redis is at its maxmemory: nothing was appended. Give it more memory, or let the stages catch up so that trimming frees some."""


class GroupMissing(BusError):
    """A consumer group does not exist, as after FLUSHALL: the loop makes it again."""


class WrongEvictionPolicy(BusError):
    """Redis may evict streams when it is full, which would lose events without a word. The message says how to forbid it."""

    def __init__(self, policy: str) -> None:
        super().__init__(
            f"this Redis has maxmemory-policy {policy}, which may throw events away: run `CONFIG SET maxmemory-policy noeviction`"
            " and put the line `maxmemory-policy noeviction` into its redis.conf"
        )
        self.policy = policy


class UnsupportedServer(BusError):
    """The server is older than Redis 6.2, or is no Redis or Valkey."""


class InvalidAddress(BusError):
    """The URL of Redis cannot be understood: expected redis://, rediss:// or unix://."""
