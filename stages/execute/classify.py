"""Whether a failure may pass by itself: by the words of the rule book, where permanent words win."""

from __future__ import annotations

import re

from adapters.errors import AdapterError, Failed, Refused, TargetMissing, Transient, UnknownCluster, WrongSettings
from schemas.target import Target

_PERMANENT = re.compile(r"not found|forbidden|denied|unauthorized|\bexists\b|\binvalid\b|immutable|destructive|blocked", re.IGNORECASE)
_TRANSIENT = re.compile(r"refused|reset|time(?:d )?[ -]?out|\bi/o\b|temporar|unavailable|too many requests|\beof\b", re.IGNORECASE)


def is_transient(error: AdapterError, target: Target) -> bool:
    """Whether nothing was done and the same action may work later. The words of the target's own name say nothing and are left out."""
    if isinstance(error, Failed | Refused | TargetMissing | UnknownCluster | WrongSettings):
        return False
    text = str(error).replace(target.name, "").replace(target.namespace or target.name, "")
    if _PERMANENT.search(text):
        return False
    return isinstance(error, Transient) or _TRANSIENT.search(text) is not None
