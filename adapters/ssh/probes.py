"""The sensors of a host: each one runs ordinary tools that only look, and reads what they say into typed views."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from adapters.errors import Refused
from adapters.ssh.arguments import checked_name, checked_path, is_name
from adapters.ssh.remote import Remote
from adapters.ssh.subject import CONTAINER_FORMAT, VIEW_PROPERTIES, container_state, unit_blocks, unit_state
from schemas.action import is_unit_name
from schemas.evidence import FileSystemView, HostView, UnitView
from schemas.text import clean, clean_tail

UNITS_KEPT = 200
CONTAINERS_KEPT = 100
FILE_SYSTEMS_KEPT = 64
LOG_LINES = 50
LOG_LIMIT = 8000
_SHOW = ("systemctl", "show", f"--property={VIEW_PROPERTIES}")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one sensor saw; only its own part is filled. `resources` are fields of HostView."""

    resources: dict[str, object] = {}
    units: tuple[UnitView, ...] = ()
    logs: dict[str, str] = {}


async def _output(remote: Remote, *arguments: str, tool: str = "", whole: bool = True) -> str:
    """What a command printed. Raises Refused when it failed or, with `whole`, printed more than may be read."""
    result = await remote.read(*arguments)
    if result.truncated and not whole:
        return result.out.rpartition("\n")[0]  # the line where it was cut may hold half a secret, which looks like none
    if result.succeeded and not result.truncated:
        return result.out
    raise Refused(result.complaint(tool or arguments[0]))


async def load(remote: Remote) -> Reading:
    averages, processors = await asyncio.gather(_output(remote, "cat", "/proc/loadavg"), _output(remote, "nproc"))
    one, five, fifteen = (float(word) for word in averages.split()[:3])
    return Reading(resources={"load_1": one, "load_5": five, "load_15": fifteen, "processors": int(processors)})


async def memory(remote: Remote) -> Reading:
    lines = (line.split() for line in (await _output(remote, "cat", "/proc/meminfo")).splitlines())
    kibibytes = {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) >= 2}
    names = {"memory_total": "MemTotal", "memory_available": "MemAvailable", "swap_total": "SwapTotal", "swap_free": "SwapFree"}
    return Reading(resources={field: kibibytes[name] * 1024 for field, name in names.items() if name in kibibytes})


async def disk(remote: Remote) -> Reading:
    columns = "--output=size,avail,itotal,iavail,target"
    text, place = await asyncio.gather(
        _output(remote, "df", "--local", "--block-size=1", columns, "-x", "squashfs", "-x", "devtmpfs"),
        _mount_of(remote, remote.options.docker_root),
    )
    found = [_file_system(line) for line in text.splitlines()[1:]]
    kept = [msgspec.structs.replace(system, docker=system.mount == place) for system in found]
    kept.sort(key=lambda system: not system.docker)
    return Reading(resources={"file_systems": tuple(kept[:FILE_SYSTEMS_KEPT])})


async def _mount_of(remote: Remote, path: str) -> str:
    """The mount point of the file system that a path lies on, links followed; empty where the host has no such path."""
    result = await remote.read("df", "--output=target", checked_path("the data root of docker", path))
    return clean(result.out.strip().rpartition("\n")[2], 256) if result.succeeded else ""


def _file_system(line: str) -> FileSystemView:
    size, available, inodes, inodes_available, mount = line.split(maxsplit=4)
    numbers = [int(word) if word.isdecimal() else 0 for word in (size, available, inodes, inodes_available)]
    return FileSystemView(mount=clean(mount, 256), size=numbers[0], available=numbers[1], inodes=numbers[2], inodes_available=numbers[3])


async def processes(remote: Remote) -> Reading:
    """The ten busiest by name; their arguments are not asked for, since passwords stand in them."""
    text = await _output(remote, "ps", "-eo", "pid,pcpu,pmem,rss,comm", "--sort=-pcpu", whole=False)
    return Reading(logs={"processes": clean("\n".join(text.splitlines()[:11]), LOG_LIMIT)})


async def journal(remote: Remote) -> Reading:
    text = await _output(
        remote, "journalctl", "--no-pager", "--quiet", f"--lines={LOG_LINES}", "--priority=warning", "--output=short-iso", whole=False
    )
    return Reading(logs={"journal": clean_tail(text, LOG_LIMIT)})


async def units(remote: Remote, parts: Sequence[str] = ()) -> Reading:
    """Every service, socket and timer that is loaded: those in trouble first, then by name.

    The units among `parts` are asked for by name, loaded or not and whatever their type, and are never left out.
    """
    named = sorted({part for part in parts if is_unit_name(part) and is_name(part)})
    text = await _output(remote, *_SHOW, "*.service", "*.socket", "*.timer")
    if named:  # by a command of their own: a name that systemd takes for no unit's must not cost the others
        text += f"\n\n{(await remote.read(*_SHOW, *named)).out}"
    blocks = [block for block in unit_blocks(text) if block.get("LoadState") != "not-found"]
    seen = {view.name: view for view in (unit_state(block).view for block in blocks)}
    found = sorted(seen.values(), key=lambda unit: (unit.active not in ("failed", "activating"), unit.name))
    kept = found[:UNITS_KEPT]
    return Reading(units=(*kept, *(unit for unit in found[UNITS_KEPT:] if unit.name in named)))


async def containers(remote: Remote, parts: Sequence[str] = ()) -> Reading:
    """The containers; first those that `parts` name, by their own name or by that of their compose service in it."""
    listing = await _output(remote, *remote.privileged("docker", "ps", "--all", "--format={{.Names}}"), tool="docker")
    names = [checked_name("container", line.strip()) for line in listing.splitlines() if line.strip()]
    wanted = [part.rpartition("/")[2] for part in parts]
    names.sort(key=lambda name: (name not in wanted, not any(part in name for part in wanted)))
    names = names[:CONTAINERS_KEPT]
    if not names:
        return Reading()
    arguments = remote.privileged("docker", "inspect", "--type=container", f"--format={CONTAINER_FORMAT}", *names)
    result = await remote.read(*arguments)
    # A container that went away between the two commands makes the second one fail, with the others still printed.
    found = tuple(container_state(line).view for line in result.out.splitlines() if line.strip())
    if not found:
        raise Refused(result.complaint("docker"))
    return Reading(units=found)


_SENSORS: dict[str, Callable[[Remote], Awaitable[Reading]]] = {
    "load": load,
    "memory": memory,
    "disk": disk,
    "processes": processes,
    "journal": journal,
}


def sensors(remote: Remote, parts: Sequence[str] = ()) -> dict[str, Callable[[], Awaitable[Reading]]]:
    """All sensors by their names; `parts` are units and containers that are to be seen in any case."""
    plain = {name: partial(read, remote) for name, read in _SENSORS.items()}
    return {**plain, "units": partial(units, remote, parts), "containers": partial(containers, remote, parts)}


def merged(readings: list[Reading]) -> tuple[HostView | None, tuple[UnitView, ...], dict[str, str]]:
    """All readings as a snapshot's parts: resources, units, logs."""
    resources = {name: value for reading in readings for name, value in reading.resources.items()}
    host = msgspec.convert(resources, HostView) if resources else None
    logs = {name: text for reading in readings for name, text in reading.logs.items()}
    return host, tuple(unit for reading in readings for unit in reading.units), logs
