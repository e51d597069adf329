"""Proofs of what people say: the process that authenticated a person signs it, and the stage that reads it counts nothing else.

A proof is an HMAC-SHA256 (RFC 2104) with the key of the settings, so that nobody who can write to Redis can speak for a person.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from schemas.event import Event
from schemas.events import ActionProposed
from schemas.learning import FeedbackGiven

Said = TypeVar("Said", ActionProposed, FeedbackGiven)

_DOMAINS: Mapping[type[Event], bytes] = {
    ActionProposed: b"mendstream proposal 1\n",
    FeedbackGiven: b"mendstream feedback 1\n",
}
_SHORTEST_KEY = 16  # bytes


class ProofKeys:
    """The keys that prove what people say: `current` signs and verifies, `previous` ones still verify while processes change over.

    Raises ValueError for a key shorter than 16 bytes.
    """

    __slots__ = ("_current", "_previous")

    def __init__(self, current: bytes, previous: Sequence[bytes] = ()) -> None:
        if min(len(key) for key in (current, *previous)) < _SHORTEST_KEY:
            raise ValueError(f"the votes key is too short: give at least {_SHORTEST_KEY} bytes, such as those of `openssl rand -hex 32`")
        self._current = current
        self._previous = tuple(previous)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def prove(self, said: Said) -> Said:
        """What a person said with its proof, over the whole event."""
        return msgspec.structs.replace(said, proof=_proof_of(self._current, said))

    def is_proven(self, said: ActionProposed | FeedbackGiven) -> bool:
        """Whether the proof was made with one of the keys; takes the same time for a right and a wrong one."""
        return self._proves(said.proof, lambda key: _proof_of(key, said))

    def _proves(self, proof: str, sign: Callable[[bytes], str]) -> bool:
        matches = [hmac.compare_digest(sign(key).encode(), proof.encode()) for key in (self._current, *self._previous)]
        return any(matches)


def _proof_of(key: bytes, said: ActionProposed | FeedbackGiven) -> str:
    """The proof, in hex: over the whole event without its proof, in a domain of its type."""
    body = msgspec.json.encode(msgspec.structs.replace(said, proof=""), order="sorted")
    return hmac.new(key, _DOMAINS[type(said)] + body, "sha256").hexdigest()
