"""A vote counts only with the proof of the process that authenticated the person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode, encode
from schemas.events import VoteCast
from schemas.identity import new_id
from schemas.words import Choice
from stages.gate.votes import VoteKeys, sign_vote

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = b"k" * 32
KEYS = VoteKeys(KEY)
VOTE = VoteCast(
    id=new_id(NOW), key="k", at=NOW, by="api", approval="a", action_hash="h", person="ann", choice=Choice.SIGN, origin="cli", comment="ok"
)


def test_a_signed_vote_is_genuine_also_after_the_stream() -> None:
    signed = KEYS.sign(VOTE)
    assert KEYS.verify(signed)
    read = decode(encode(signed))
    assert isinstance(read, VoteCast)
    assert KEYS.verify(read)
    assert KEYS.verify(msgspec.structs.replace(signed, at=NOW.astimezone(timezone(timedelta(hours=8)))))


@pytest.mark.parametrize(
    "change",
    [
        {"id": new_id(NOW)},
        {"approval": "b"},
        {"action_hash": "i"},
        {"person": "bob"},
        {"choice": Choice.REJECT},
        {"origin": "http"},
        {"comment": "no"},
        {"at": NOW + timedelta(microseconds=1)},
        {"proof": ""},
        {"proof": "é" * 64},
        {"proof": sign_vote(b"another key, long enough", VOTE)},
    ],
)
def test_whatever_is_changed_the_vote_is_not_genuine_any_more(change: dict[str, object]) -> None:
    assert not KEYS.verify(msgspec.structs.replace(KEYS.sign(VOTE), **change))


def test_a_field_cannot_borrow_from_its_neighbour() -> None:
    one = msgspec.structs.replace(VOTE, approval="ab", action_hash="c")
    two = msgspec.structs.replace(VOTE, approval="a", action_hash="bc")
    assert sign_vote(KEY, one) != sign_vote(KEY, two)


@given(first=st.tuples(*[st.text()] * 3), second=st.tuples(*[st.text()] * 3))
def test_different_votes_have_different_proofs(first: tuple[str, str, str], second: tuple[str, str, str]) -> None:
    proofs = [
        sign_vote(KEY, msgspec.structs.replace(VOTE, person=person, origin=origin, comment=comment))
        for person, origin, comment in (first, second)
    ]
    assert (proofs[0] == proofs[1]) is (first == second)


def test_a_previous_key_still_verifies_but_does_not_sign() -> None:
    old, both, new = VoteKeys(b"o" * 32), VoteKeys(b"n" * 32, [b"o" * 32]), VoteKeys(b"n" * 32)
    assert both.verify(old.sign(VOTE))
    assert new.verify(both.sign(VOTE))
    assert not new.verify(old.sign(VOTE))


def test_keys_are_long_enough_and_never_shown() -> None:
    assert "kkk" not in f"{KEYS} {KEYS!r}"
    with pytest.raises(ValueError, match="too short"):
        VoteKeys(b"short")
    with pytest.raises(ValueError, match="too short"):
        VoteKeys(KEY, [b""])
