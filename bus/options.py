"""How a stage loop behaves: every number with its unit."""

from __future__ import annotations

import msgspec


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

    batch: int = 100
    concurrency: int = 16
    block: float = 2.0
    attempts: int = 5
    backoff: float = 0.5
    backoff_limit: float = 60.0
    transient_delay: float = 1.0
    transient_limit: float = 15.0
    max_parked: int = 1000
    idle_limit: float = 30.0
    claim_period: float = 1.0
    grace: float = 10.0
    delay_period: float = 0.25
    measure_period: float = 5.0
    consumer_idle: float = 3600.0
