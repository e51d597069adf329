"""Hosts as a World: looked at with all sensors at once, checked before, acted on once, and asked afterwards whether it happened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import Protocol, TypeVar

import msgspec

from adapters.errors import AdapterError, Refused, TargetMissing
from adapters.ports import Applied, Preflight
from adapters.ssh import checks, probes
from adapters.ssh.chore import Chore
from adapters.ssh.compose import ComposeService
from adapters.ssh.connections import Connections
from adapters.ssh.diagnosis import diagnosed, summary
from adapters.ssh.options import HostOptions
from adapters.ssh.remote import Remote
from adapters.ssh.restart import Restart
from adapters.ssh.subject import Container, Unit
from adapters.ssh.tools import CertificateRenewal, NginxReload, Prune, TruncateLog
from schemas.action import (
    Action,
    DiagnoseHost,
    PruneImages,
    PruneSystem,
    PruneVolumes,
    ReloadNginx,
    RenewCertificates,
    RestartComposeService,
    RestartContainer,
    RestartUnit,
    TruncateContainerLog,
    is_observation,
)
from schemas.evidence import Sensor, Snapshot
from schemas.preflight import BlastRadius, Check
from schemas.target import Kind, Target
from schemas.text import clean
from schemas.words import Tier

SENSOR_SECONDS = 8.0


class HostsWorld:
    """The hosts of one group, by the names that the settings give them. `connections` are open at most at a time."""

    def __init__(self, hosts: Mapping[str, HostOptions], *, clock: Callable[[], datetime], connections: int = 32) -> None:
        self._hosts = dict(hosts)
        self._clock = clock
        self._connections = Connections(self._hosts, limit=connections)

    async def owner(self, target: Target) -> Target:
        """The target by the host's name in the settings. Raises TargetMissing for a host that they do not name."""
        return msgspec.structs.replace(target, name=self._name(target))

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:
        """All sensors at once, 8 s each after 8 s at most for the connection. Raises TargetMissing."""
        remote = self._remote(target)
        reads = probes.sensors(remote, parts)
        connected, _ = await _timed("ssh", remote.connect)
        if connected.error:
            missing = tuple(Sensor(name=name, seconds=0.0, error="not asked: no connection to the host") for name in reads)
            return Snapshot(target=target, at=self._clock(), sensors=(connected, *missing))
        runs = await asyncio.gather(*(_timed(name, read) for name, read in reads.items()))
        host, units, logs = probes.merged([reading for _, reading in runs if reading is not None])
        sensors = (connected, *(sensor for sensor, _ in runs))
        return Snapshot(target=target, at=self._clock(), sensors=sensors, exists=True, units=units, host=host, logs=logs)

    async def preflight(self, action: Action) -> Preflight:
        """Connection, existence, permission, the tool's own checks, blast radius. Raises TargetMissing, and Transient when the host
        did not answer.

        A name that may not be sent and a host key that is not trusted are failed checks.
        """
        remote = self._remote(action.target)
        if is_observation(action):
            connection = await _connection(remote)
            touched = BlastRadius(score=0, tier=Tier.AUTO, data_impact="read only")
            return Preflight(target=action.target, uid="", checks=(connection,), blast=touched)
        try:
            deed = deed_of(action, remote)
        except Refused as error:
            return checks.unlooked(action, checks.failed("syntax", clean(str(error), 1000)))
        try:
            await remote.connect()
            return await deed.preflight(action)
        except Refused as error:
            return checks.unlooked(action, checks.passed("syntax"), *checks.refusal(error))

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        """Does it, once; an observation looks and reports.

        Raises TargetMissing, Refused and Transient when nothing was changed, Failed when a part of it may have been,
        OutcomeUnknown when that cannot be said.
        """
        remote = self._remote(action.target)
        if isinstance(action, DiagnoseHost):
            return Applied(output=await diagnosed(remote, action.probes))
        if is_observation(action):
            return Applied(output=summary(await self.observe(action.target)))
        return await deed_of(action, remote).apply(operation=operation, token=token, uid=uid)

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:  # noqa: ARG002 - a host keeps every mark
        """Whether this operation's side effect happened; what can be known of it is said in `Restart.find` and `Chore.find`.

        Raises TargetMissing, and Transient when the host did not answer.
        """
        remote = self._remote(action.target)
        if is_observation(action):
            return False
        try:
            deed = deed_of(action, remote)
        except Refused:
            return None
        return await deed.find(operation=operation, uid=uid)

    async def close(self) -> None:
        await self._connections.close()

    def _remote(self, target: Target) -> Remote:
        name = self._name(target)
        return Remote(name, self._hosts[name], self._connections)

    def _name(self, target: Target) -> str:
        """The host's name in the settings, by that name or by the address of exactly one host. Raises TargetMissing."""
        if target.kind is Kind.HOST:
            if target.name in self._hosts:
                return target.name
            named = sorted(name for name, options in self._hosts.items() if _same_address(options.address, target.name))
            if len(named) == 1:
                return named[0]
            if named:
                raise TargetMissing(
                    f"{', '.join(named)} all have the address {clean(target.name, 128)!r}: an alert must name one of them", tuple(named[:3])
                )
        near = checks.nearest(target.name, tuple(self._hosts))
        raise TargetMissing(
            f"no host {clean(target.name, 128)!r} is in the settings"
            + (f"; nearest: {', '.join(near)}" if near else "; add it under [hosts]"),
            near,
        )


def _same_address(one: str, other: str) -> bool:
    """Whether two texts are one host name or one IP address, however it is written."""
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return one.casefold() == other.casefold()


class Deed(Protocol):
    """One action on one host: a restart or a chore."""

    async def preflight(self, action: Action) -> Preflight: ...

    async def apply(self, *, operation: str, token: int, uid: str) -> Applied: ...

    async def find(self, *, operation: str, uid: str) -> bool | None: ...


def deed_of(action: Action, remote: Remote) -> Deed:
    """What does the action. Raises Refused for a name that may not be sent, and for actions that are not for hosts."""
    match action:
        case RestartUnit():
            return Restart(Unit(action.unit), remote)
        case RestartContainer():
            return Restart(Container(action.container), remote)
        case RestartComposeService():
            return Restart(ComposeService(action.service, action.project, remote.options), remote)
        case TruncateContainerLog():
            return Chore(TruncateLog(action.container), remote)
        case RenewCertificates():
            return Chore(CertificateRenewal(), remote)
        case ReloadNginx():
            return Chore(NginxReload(), remote)
        case PruneImages() | PruneVolumes() | PruneSystem():
            return Chore(Prune(type(action)), remote)
        case _:
            raise Refused(f"{action.verb} is not something that is done on a host over SSH")


def host_groups(hosts: Mapping[str, HostOptions], *, clock: Callable[[], datetime], connections: int = 32) -> dict[str, HostsWorld]:
    """One world for each host group of the settings, by the group's name; `connections` are open at most in each."""
    groups: dict[str, dict[str, HostOptions]] = {}
    for name, options in hosts.items():
        groups.setdefault(options.group, {})[name] = options
    return {group: HostsWorld(members, clock=clock, connections=connections) for group, members in groups.items()}


Seen = TypeVar("Seen")


async def _timed(name: str, read: Callable[[], Awaitable[Seen]]) -> tuple[Sensor, Seen | None]:
    """One sensor's run within its time; what goes wrong is said in it."""
    loop = asyncio.get_running_loop()
    started, seen, error = loop.time(), None, ""
    try:
        async with asyncio.timeout(SENSOR_SECONDS):
            seen = await read()
    except TimeoutError:
        error = f"no answer within {SENSOR_SECONDS:g} s"
    except (AdapterError, ValueError) as problem:
        error = clean(str(problem), 500)
    return Sensor(name=name, seconds=round(loop.time() - started, 3), error=error), seen


async def _connection(remote: Remote) -> Check:
    try:
        await remote.connect()
    except Refused as error:
        return checks.failed("host can be asked", clean(str(error), 1000))
    return checks.passed("host can be asked", f"{remote.name} shows the key that known_hosts holds")
