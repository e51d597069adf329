"""What an operator may set about asking people."""

from __future__ import annotations

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Score = Annotated[float, msgspec.Meta(ge=0, le=1)]


class FailureWatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How often people are asked about dead letters, and when a way back is put to them."""

    quiet: Seconds = 600.0
    """Seconds in which people are asked once about the dead letters of one group that died of one reason, however many there are."""

    unhealed: Score = 0.5
    """The self-healing score, 0 to 1, under which people are asked whether to go back, also after a success. 0: never for its score."""
