"""What a verification compares: what was wanted of a target, before against after."""

from __future__ import annotations

import msgspec

from schemas.words import Health


class Demand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was declared would be so after an action, and whether it was: None where nobody looked, or nobody could tell; `why` not."""

    said: str
    held: bool | None = None
    why: str = ""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was judged: what was expected of it, what was seen before and after, and what that means."""

    about: str
    health: Health
    reason: str
    before: str = ""
    after: str = ""
