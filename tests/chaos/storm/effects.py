"""A world that does nothing but write down, for good, what it was asked to do: one file for each target, one line for each effect.

The files are appended to (`O_APPEND`, one write), so they outlive every process and both stores, and every process sees the same world:
a workload is broken until the first line is in its file. What a target is like is in its name: see `KINDS`. Nothing is left to chance:
what is drawn for a target depends on the seed, its name, and how often it was asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from adapters.errors import OutcomeUnknown, Refused, Transient
from adapters.ports import Applied, Preflight
from schemas.action import Action, is_observation
from schemas.evidence import ContainerView, PodView, Sensor, Snapshot, WorkloadView
from schemas.preflight import BlastRadius, Check
from schemas.target import Kind, Target
from schemas.words import CheckResult, Tier

KINDS = {
    "api": "heals by its restart",
    "slow": "as api, and its restart takes a second or two",
    "away": "as api, and often nobody answers: nothing is done",
    "down": "as api, and nobody answers its first operation, however often that is tried",
    "unwanted": "as api, is always severe, and people reject whatever is put to them about it",
    "blind": "as slow, and nobody can find out afterwards whether it was restarted",
    "lost": "its restart is done, nobody is told so, and nobody can find out",
    "refused": "lets nobody restart it",
    "hopeless": "its restart changes nothing",
    "cursed": "whoever looks at it meets a bug",
}
_PASSED = tuple(Check(name=name, result=CheckResult.PASSED) for name in ("permission", "target", "dry run"))


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One effect on a target, as it was written down in the moment in which it happened."""

    target: str
    operation: str
    token: int
    process: int


_line = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(Effect).decode


class Effects:
    """The files of all targets, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, target: Target, operation: str, token: int) -> None:
        """Writes one effect down; it is there once this returns, whatever is killed."""
        effect = Effect(target=target.name, operation=operation, token=token, process=os.getpid())
        place = os.open(self._folder / target.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(place, _line(effect) + b"\n")
        finally:
            os.close(place)

    def of(self, name: str) -> list[Effect]:
        """The effects on one target, in their order."""
        try:
            lines = (self._folder / name).read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [_read(line) for line in lines]

    def everything(self) -> Iterator[Effect]:
        for path in sorted(self._folder.iterdir()):
            if path.is_file():
                yield from self.of(path.name)

    def tried(self, target: Target, operation: str) -> list[str]:
        """Writes down that this operation is tried; returns all that were tried on the target, in their order, this one among them."""
        folder = self._folder / "tried"
        folder.mkdir(exist_ok=True)
        with (folder / target.name).open("a+b", buffering=0) as tries:
            tries.write(operation.encode() + b"\n")
            tries.seek(0)
            return tries.read().decode().splitlines()


class RecordingWorld:
    """One cluster of Deployments that are broken until they are restarted."""

    def __init__(self, effects: Effects, clock: Callable[[], datetime], *, seed: int = 0) -> None:
        self._effects = effects
        self._clock = clock
        self._seed = seed

    async def owner(self, target: Target) -> Target:
        """A pod's Deployment, by the pod's name."""
        if target.kind is not Kind.POD:
            return target
        return msgspec.structs.replace(target, kind=Kind.DEPLOYMENT, name=target.name.rsplit("-", 2)[0])

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:
        kind = kind_of(target)
        if kind == "cursed":
            raise RuntimeError("this one has never been seen without a bug")
        well = bool(self._effects.of(target.name)) and kind != "hopeless"
        ready = 2 if well else 0
        workload = WorkloadView(
            uid=_uid(target),
            generation=2,
            observed_generation=2,
            desired=2,
            updated=2,
            ready=ready,
            available=ready,
            revision=1,
            images=("a",),
        )
        pods = tuple(_pod(f"{target.name}-{'b' if well else 'a'}-{number}", ready=well) for number in range(2))
        sensors = (Sensor(name="workload", seconds=0.0), Sensor(name="pods", seconds=0.0))
        return Snapshot(target=target, at=self._clock(), sensors=sensors, exists=True, workload=workload, pods=pods)

    async def preflight(self, action: Action) -> Preflight:
        blast = BlastRadius(score=10, tier=Tier.AUTO, pods=2, replicas=2)
        return Preflight(target=action.target, uid=_uid(action.target), checks=_PASSED, blast=blast)

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        if is_observation(action):
            return Applied(output="looked at")
        kind, tried = kind_of(action.target), self._effects.tried(action.target, operation)
        chance = random.Random(f"{self._seed}/{action.target.name}/{len(tried)}")
        shortest, longest = (0.2, 1.0) if kind in ("slow", "blind") else (0.0, 0.05)
        await asyncio.sleep(chance.uniform(shortest, longest))
        if kind == "refused":
            raise Refused("blocked by an admission webhook")
        if (kind == "away" and chance.random() < 0.4) or (kind == "down" and operation == tried[0]):
            raise Transient("connection refused")
        self._effects.append(action.target, operation, token)
        await asyncio.sleep(chance.uniform(shortest, longest))
        if kind == "lost":
            raise OutcomeUnknown("the connection broke")
        return Applied(output="restarted")

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:
        if kind_of(action.target) in ("blind", "lost"):
            return None
        return any(effect.operation == operation for effect in self._effects.of(action.target.name))

    async def close(self) -> None:
        """Nothing is open."""


def kind_of(target: Target) -> str:
    """Which of `KINDS` it is."""
    return target.name.split("-", 1)[0]


def _uid(target: Target) -> str:
    return hashlib.sha256(target.key.encode()).hexdigest()[:32]


def _pod(name: str, *, ready: bool) -> PodView:
    container = ContainerView(name="app", image="a", ready=ready, restarts=0 if ready else 7, waiting="" if ready else "CrashLoopBackOff")
    return PodView(name=name, uid=f"uid-{name}", phase="Running", ready=ready, containers=(container,))
