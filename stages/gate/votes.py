"""Votes are proven: the process that authenticated a person signs the vote, and the gate counts no other.

The proof is an HMAC-SHA256 over every field that gives the vote its meaning, so that nobody who can write to Redis can vote.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from datetime import UTC

import msgspec

from schemas.events import ActionProposed, VoteCast

_DOMAIN = b"mendstream vote 1\n"
_PROPOSAL_DOMAIN = b"mendstream proposal 1\n"
_SHORTEST_KEY = 16  # bytes


class VoteKeys:
    """The keys that prove votes: `current` signs and verifies, `previous` ones still verify while processes change over.

    Raises ValueError for a key shorter than 16 bytes.
    """

    __slots__ = ("_current", "_previous")

    def __init__(self, current: bytes, previous: Sequence[bytes] = ()) -> None:
        if min(len(key) for key in (current, *previous)) < _SHORTEST_KEY:
            raise ValueError(f"the votes key is too short: give at least {_SHORTEST_KEY} bytes, such as those of `openssl rand -hex 32`")
        self._current = current
        self._previous = tuple(previous)

    def __repr__(self) -> str:
        return "VoteKeys(***)"

    def sign(self, vote: VoteCast) -> VoteCast:
        """The vote with its proof."""
        return msgspec.structs.replace(vote, proof=sign_vote(self._current, vote))

    def verify(self, vote: VoteCast) -> bool:
        """Whether the vote's proof was made with one of the keys; takes the same time for a right and a wrong one."""
        return self._proves(vote.proof, lambda key: sign_vote(key, vote))

    def sign_proposal(self, proposal: ActionProposed) -> ActionProposed:
        """A person's proposal with its proof."""
        return msgspec.structs.replace(proposal, proof=_sign_proposal(self._current, proposal))

    def verify_proposal(self, proposal: ActionProposed) -> bool:
        """Whether the proof of a person's proposal was made with one of the keys."""
        return self._proves(proposal.proof, lambda key: _sign_proposal(key, proposal))

    def _proves(self, proof: str, sign: Callable[[bytes], str]) -> bool:
        matches = [hmac.compare_digest(sign(key).encode(), proof.encode()) for key in (self._current, *self._previous)]
        return any(matches)


def sign_vote(key: bytes, vote: VoteCast) -> str:
    """The proof of a vote, in hex: over its id, approval, action hash, person, choice, origin, comment and time."""
    fields = (vote.id, vote.approval, vote.action_hash, vote.person, vote.choice.value, vote.origin, vote.comment)
    body = msgspec.json.encode((*fields, vote.at.astimezone(UTC).isoformat()))
    return hmac.new(key, _DOMAIN + body, "sha256").hexdigest()


def _sign_proposal(key: bytes, proposal: ActionProposed) -> str:
    """The proof of a person's proposal, in hex: over the whole event without its proof."""
    body = msgspec.json.encode(msgspec.structs.replace(proposal, proof=""), order="sorted")
    return hmac.new(key, _PROPOSAL_DOMAIN + body, "sha256").hexdigest()
