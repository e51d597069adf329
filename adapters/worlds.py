"""The worlds that the settings name, behind one World: each target goes to its own cluster or host group, never to a likely one."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping, Sequence

import msgspec

from adapters.errors import UnknownCluster
from adapters.ports import Applied, Preflight, World
from schemas.action import Action
from schemas.evidence import Snapshot
from schemas.target import Kind, Target
from schemas.text import clean


class Worlds:
    """Routes by `target.cluster`: hosts to the host group of that name, everything else to the Kubernetes cluster of that name.

    clusters, groups  the worlds by the names in the settings; a cluster and a host group may share a name
    cluster, group    the name that an empty `target.cluster` stands for; where it is not given, the only one there is, if it is

    Raises ValueError when `cluster` or `group` is not one of the names.
    """

    def __init__(self, *, clusters: Mapping[str, World], groups: Mapping[str, World], cluster: str = "", group: str = "") -> None:
        self._clusters = _Side("cluster", "[clusters]", clusters, cluster)
        self._groups = _Side("host group", "[hosts]", groups, group)

    def world_of(self, target: Target) -> World:
        """The world that the target lives in. Raises UnknownCluster."""
        return self._side(target).find(target.cluster)

    def settled(self, target: Target) -> Target:
        """The target with the default's name where its cluster is empty. Raises UnknownCluster."""
        return msgspec.structs.replace(target, cluster=self._side(target).name_of(target.cluster))

    async def owner(self, target: Target) -> Target:
        return await self.world_of(target).owner(target)

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:
        return await self.world_of(target).observe(target, parts=parts)

    async def preflight(self, action: Action) -> Preflight:
        return await self.world_of(action.target).preflight(action)

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        return await self.world_of(action.target).apply(action, operation=operation, token=token, uid=uid)

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:
        return await self.world_of(action.target).find(action, operation=operation, uid=uid, token=token)

    async def close(self) -> None:
        """Closes every world, also when one of them fails to; the first failure is raised then."""
        results = await asyncio.gather(*(world.close() for world in (*self._clusters.worlds, *self._groups.worlds)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _side(self, target: Target) -> _Side:
        return self._groups if target.kind is Kind.HOST else self._clusters


class _Side:
    """The worlds of one sort by name, and which of them an empty name means."""

    def __init__(self, what: str, section: str, named: Mapping[str, World], default: str) -> None:
        if default and default not in named:
            raise ValueError(
                f"the default {what} {default!r} is not in the settings: add it under {section}, or name one of {_listed(named)}"
            )
        self._what = what
        self._section = section
        self._named = dict(named)
        self._default = default or (next(iter(named)) if len(named) == 1 else "")

    @property
    def worlds(self) -> tuple[World, ...]:
        return tuple(self._named.values())

    def name_of(self, name: str) -> str:
        """`name`, or the default for an empty one. Raises UnknownCluster."""
        chosen = name or self._default
        if chosen in self._named:
            return chosen
        if not name:
            raise UnknownCluster(f"the target names no {self._what} and the settings no default one of {_listed(self._named)}")
        near = difflib.get_close_matches(name, self._named, n=3, cutoff=0.5)
        advice = f"; nearest: {', '.join(near)}" if near else f"; there are {_listed(self._named)}"
        raise UnknownCluster(
            f"no {self._what} {clean(name, 128)!r} is in the settings{advice}. Add it under {self._section}, another is never guessed"
        )

    def find(self, name: str) -> World:
        return self._named[self.name_of(name)]


def _listed(named: Mapping[str, World]) -> str:
    return ", ".join(sorted(named)) or "none at all"
