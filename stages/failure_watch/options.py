"""What an operator may set about watching failures."""

from __future__ import annotations

import msgspec

from schemas.numbers import Count, Positive, Seconds, Share, Wait


class FailureWatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """When a failure is repaired, how often people are asked, and when a way back is put to them."""

    repairs: bool = True
    """Whether one repair is put to the gate for a failure of low risk; false: people are asked at once."""

    analysis: bool = False
    """Whether the language model of `model` is asked for the root cause of a failure; it decides nothing, and the class stays by rule."""

    quiet: Wait = 600.0
    """Seconds in which people are asked once about the dead letters of one group that died of one reason, however many there are."""

    unhealed: Share = 0.5
    """The self-healing score, 0 to 1, under which people are asked whether to go back, also after a success. 0: never for its score."""

    same_cause: Positive = 3
    """How many incidents that fail of one cause, or are idle, are told each; the next one tells of all, once within `same_cause_window`."""

    same_cause_window: Seconds = 3600.0
    """Seconds within which failures of one cause are counted together."""

    idle: Wait = 1800.0
    """Seconds after which people are asked about an open incident in which nothing happens; asked again after as long. 0: never."""

    stopped: Seconds = 300.0
    """Seconds in which a consumer group must settle something of what waits for it; after that people are asked, once for each outage."""

    playbook_failures: Count = 3
    """How many failed actions in a row take a playbook's approval away; a later approval begins the count anew. 0: none do."""
