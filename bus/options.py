"""How the loops of the bus behave: every number with its unit."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import msgspec

from schemas.numbers import Positive, Seconds, Several, SignsOfLife, Wait

DEAD_AGE = timedelta(days=30)
"""Dead letters are kept until they are replayed or dropped, and at most so long."""

SIGN_OF_LIFE = 30.0
"""Seconds without a sign of life after which a consumer does not count as one that reads; a loop gives three within that time."""


class LoopOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers of a stage loop. The defaults suit handlers of a few milliseconds and of a few seconds alike.

    batch            entries read or settled by one command
    concurrency      handlers that run at once
    block            seconds that a read waits for news
    attempts         deliveries after which a failing event is dead-lettered
    backoff          seconds before the second attempt; doubles with each further one
    backoff_limit    seconds that it never exceeds
    transient_delay  seconds before an event is tried again whose store was away; doubles up to `transient_limit`
    transient_limit  seconds that it never exceeds
    max_parked       events that wait for a further attempt; beyond it the loop reads no new ones
    idle_limit       seconds without a heartbeat after which another consumer takes an entry over
    claim_period     seconds between two looks for such entries
    grace            seconds that running handlers get to finish after a stop
    delay_period     seconds between two looks at the delayed events, at most
    measure_period   seconds between two measurements of lag and age
    consumer_idle    seconds after which a consumer with nothing pending is deleted
    """

    batch: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    concurrency: Several = 16
    block: Annotated[float, msgspec.Meta(gt=0, le=60)] = 2.0
    attempts: Positive = 5
    backoff: Wait = 0.5
    backoff_limit: Wait = 60.0
    transient_delay: Seconds = 1.0
    transient_limit: Seconds = 15.0
    max_parked: Positive = 1000
    idle_limit: SignsOfLife = 30.0
    claim_period: Seconds = 1.0
    grace: Wait = 10.0
    delay_period: Seconds = 0.25
    measure_period: Seconds = 5.0
    consumer_idle: Seconds = 3600.0


class SweeperOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers of the sweeper.

    period   seconds between two looks
    grace    seconds that the fast path and the archive get before an output counts as lost
    window   seconds of the event log that are appended again to an emptied server; less to one that was only restarted
    """

    period: Seconds = 5.0
    grace: Seconds = 30.0
    window: Seconds = 900.0
