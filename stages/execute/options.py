"""What an operator may choose about executing."""

from __future__ import annotations

import msgspec

from schemas.numbers import Count, Seconds, SignsOfLife, Wait


class ExecuteOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long things may take and how often they are tried. Numbers are those of the rule book."""

    retries: Count = 2
    """How many times an action is tried again after a transient failure."""

    retry_after: Wait = 30.0
    """The time between two tries of an action, in seconds."""

    observe_limit: Seconds = 30.0
    """The longest time to look at a target before acting, in seconds."""

    apply_limit: Seconds = 150.0
    """The longest time for the side effect itself, in seconds; after it the outcome counts as unknown."""

    grant: Seconds = 600.0
    """How long an approval lets a host be changed, in seconds; what has not run by then must be approved again."""

    lease: SignsOfLife = 30.0
    """How long an executor holds a target without a sign of life, in seconds. After a crash the next one waits this long."""

    busy_wait: Seconds = 5.0
    """The longest time between two looks at a target that another executor holds, in seconds."""
