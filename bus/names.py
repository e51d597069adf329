"""The names of things in Redis, and which partition a key belongs to.

Everything of one partition carries the same hash tag, so that one script may touch all of it in a Redis Cluster.
"""

from __future__ import annotations

from zlib import crc32

from schemas.events import TOPICS

DEAD = "dead"
ARCHIVE = "archive"


def partition_of(key: str, partitions: int) -> int:
    """The partition, 0 to `partitions` - 1, that events with this key enter: CRC-32 of the key, the same in every process."""
    return crc32(key.encode()) % partitions if partitions > 1 else 0


def prefix(partition: int) -> bytes:
    """What all names of a partition start with: `mend:{0}:`."""
    return b"mend:{%d}:" % partition


def stream(partition: int, topic: str) -> bytes:
    """The stream of a topic: `mend:{0}:signals`."""
    return prefix(partition) + topic.encode()


def delayed(partition: int) -> bytes:
    """The sorted set of events that are to appear later; the score is Unix milliseconds."""
    return prefix(partition) + b"delayed"


def once(partition: int, token: str) -> bytes:
    """The mark that an append with this token has happened."""
    return prefix(partition) + b"once:" + token.encode()


def lineage(partition: int) -> bytes:
    """The mark of the server process that is known to hold every event of the partition."""
    return prefix(partition) + b"lineage"


def restored(partition: int) -> bytes:
    """The mark of how far the log was appended again to a server that may lack some of it; gone when it has all."""
    return prefix(partition) + b"restored"


def streams(partition: int) -> list[bytes]:
    """The delayed set, then the streams of all topics in the order of `TOPICS`: the keys of the scripts that emit."""
    return [delayed(partition), *(stream(partition, topic) for topic in TOPICS)]


POSITION: dict[str, bytes] = {topic: b"%d" % number for number, topic in enumerate(TOPICS, start=2)}
"""Where the stream of a topic stands in `streams`, counted from 1 as Lua does; 1 is the delayed set."""
