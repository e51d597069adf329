"""What an operator may set about asking people."""

from __future__ import annotations

import msgspec

from schemas.numbers import Share, Wait


class FailureWatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How often people are asked about dead letters, and when a way back is put to them."""

    quiet: Wait = 600.0
    """Seconds in which people are asked once about the dead letters of one group that died of one reason, however many there are."""

    unhealed: Share = 0.5
    """The self-healing score, 0 to 1, under which people are asked whether to go back, also after a success. 0: never for its score."""
