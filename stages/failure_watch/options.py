"""What an operator may set about asking people."""

from __future__ import annotations

import msgspec

from schemas.numbers import Wait


class FailureWatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How often people are asked about dead letters."""

    quiet: Wait = 600.0
    """Seconds in which people are asked once about the dead letters of one group that died of one reason, however many there are."""
