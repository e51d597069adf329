"""Numbers that an operator may set, with the limits inside which they mean something.

Every upper limit is finite: no setting is infinite or not a number, and a date that one is added to stays a date.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

LONGEST = 10 * 365 * 86400.0
"""Ten years, in seconds: the longest time that can be set."""

Seconds = Annotated[float, msgspec.Meta(gt=0, le=LONGEST)]
"""A length of time that has to pass, in seconds."""

Wait = Annotated[float, msgspec.Meta(ge=0, le=LONGEST)]
"""A length of time in seconds, where 0 means at once or not at all."""

SignsOfLife = Annotated[float, msgspec.Meta(ge=1, le=LONGEST)]
"""The time without a sign of life after which somebody counts as dead, in seconds: a busy machine is late by less than one."""

Weight = Annotated[float, msgspec.Meta(ge=0, le=1000)]
"""How much something counts; 0: not at all."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A part of the whole, 0 to 1."""

Likeness = Annotated[float, msgspec.Meta(ge=0.5, le=1)]
"""How alike two things must be, from half to wholly."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""A number of things, where none means something."""

Positive = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
"""A number of things, one at least."""

Several = Annotated[int, msgspec.Meta(ge=1, le=1000)]
"""How many of a process's own things there are at once, such as connections or tasks: each costs memory from the start."""
