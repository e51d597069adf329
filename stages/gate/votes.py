"""Votes are proven: the process that authenticated a person signs the vote, and the gate counts no other.

The proof is an HMAC-SHA256 over every field that gives the vote its meaning, so that nobody who can write to Redis can vote.
"""

from __future__ import annotations

import hmac
from datetime import UTC

import msgspec

from schemas.events import ActionProposed, VoteCast
from stages.proofs import ProofKeys

_DOMAIN = b"mendstream vote 1\n"


class VoteKeys(ProofKeys):
    """The keys that prove votes, and all else that people say."""

    __slots__ = ()

    def sign(self, vote: VoteCast) -> VoteCast:
        """The vote with its proof."""
        return msgspec.structs.replace(vote, proof=sign_vote(self._current, vote))

    def verify(self, vote: VoteCast) -> bool:
        """Whether the vote's proof was made with one of the keys; takes the same time for a right and a wrong one."""
        return self._proves(vote.proof, lambda key: sign_vote(key, vote))

    def sign_proposal(self, proposal: ActionProposed) -> ActionProposed:
        """A person's proposal with its proof."""
        return self.prove(proposal)

    def verify_proposal(self, proposal: ActionProposed) -> bool:
        """Whether the proof of a person's proposal was made with one of the keys."""
        return self.is_proven(proposal)


def sign_vote(key: bytes, vote: VoteCast) -> str:
    """The proof of a vote, in hex: over its id, approval, action hash, person, choice, origin, comment and time."""
    fields = (vote.id, vote.approval, vote.action_hash, vote.person, vote.choice.value, vote.origin, vote.comment)
    body = msgspec.json.encode((*fields, vote.at.astimezone(UTC).isoformat()))
    return hmac.new(key, _DOMAIN + body, "sha256").hexdigest()
