"""What is killed when: decided by a seed, before anything has begun."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec


class Blow(msgspec.Struct, frozen=True):
    """One SIGKILL: `at` seconds after the beginning."""

    at: float
    victim: str


def blows(chance: random.Random, victims: Sequence[str], seconds: float, every: float) -> list[Blow]:
    """Blows about `every` seconds apart; nobody is hit again before everybody was, as cards are dealt from a deck."""
    dealt: list[Blow] = []
    deck: list[str] = []
    at = every
    while at < seconds:
        if not deck:
            deck = list(victims)
            chance.shuffle(deck)
        dealt.append(Blow(round(at, 2), deck.pop()))
        at += chance.uniform(0.5, 1.5) * every
    return dealt
