"""What is killed when: decided by a seed, before anything has begun."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import msgspec


class Blow(msgspec.Struct, frozen=True):
    """One SIGKILL: `at` seconds after the beginning."""

    at: float
    victim: str


def blows(
    chance: random.Random, victims: Sequence[str], seconds: float, every: float, *, spared: Mapping[str, float] | None = None
) -> list[Blow]:
    """Blows about `every` seconds apart; nobody is hit again before everybody was, as cards are dealt from a deck.

    `spared` says from which second on somebody is not hit any more.
    """
    dealt: list[Blow] = []
    deck: list[str] = []
    until = spared or {}
    at = every
    while at < seconds:
        deck = [victim for victim in deck if at < until.get(victim, seconds)]
        if not deck:
            deck = [victim for victim in victims if at < until.get(victim, seconds)]
            chance.shuffle(deck)
        dealt.append(Blow(round(at, 2), deck.pop()))
        at += chance.uniform(0.5, 1.5) * every
    return dealt
