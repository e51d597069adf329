"""Probes of a host: tools that only look, their output bounded and cleaned, for people to read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from adapters.errors import AdapterError, Refused, Transient
from adapters.ssh.remote import Remote
from schemas.evidence import Snapshot
from schemas.text import clean
from schemas.words import Probe

PROBE_SECONDS = 8.0
PROBE_LIMIT = 1500
_LINES = 20
# Names of programs only: passwords stand in the arguments of processes.
_COMMANDS: dict[Probe, tuple[str, ...]] = {
    Probe.PS: ("ps", "-eo", "pid,user,pcpu,pmem,rss,stat,etime,comm", "--sort=-pcpu"),
    Probe.DF: ("df", "--local", "-h", "-x", "squashfs", "-x", "devtmpfs"),
    Probe.FREE: ("free", "-m"),
    Probe.TOP: ("top", "-b", "-n", "1", "-w", "120"),
    Probe.UPTIME: ("uptime",),
}


async def diagnosed(remote: Remote, probes: Sequence[Probe]) -> str:
    """What the probes print, at most 20 lines of each; all of them where none is named, at once, 8 s each.

    One that fails says why in its place. Raises Refused or Transient when not one of them answered.
    """
    chosen = tuple(dict.fromkeys(probes)) or tuple(Probe)
    await remote.connect()
    answers = await asyncio.gather(*(_answer(remote, probe) for probe in chosen))
    errors = [answer for answer in answers if isinstance(answer, AdapterError)]
    if len(errors) == len(answers):
        raise errors[0]
    return "\n\n".join(f"$ {probe}\n{answer}" for probe, answer in zip(chosen, answers, strict=True))


async def _answer(remote: Remote, probe: Probe) -> str | AdapterError:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            result = await remote.read(*_COMMANDS[probe])
    except TimeoutError:
        return Transient(f"{probe}: no answer within {PROBE_SECONDS:g} s")
    except AdapterError as error:
        return error
    # What says more than may be read is ended, and has said enough.
    if result.succeeded or result.truncated:
        return clean("\n".join(result.out.splitlines()[:_LINES]), PROBE_LIMIT)
    return Refused(result.complaint(probe))


def summary(snapshot: Snapshot) -> str:
    """A snapshot of a host in a few lines for people."""
    lines = [f"{snapshot.target}: {sum(not sensor.error for sensor in snapshot.sensors)} of {len(snapshot.sensors)} sensors answered"]
    lines += [f"{sensor.name}: {sensor.error}" for sensor in snapshot.sensors if sensor.error]
    lines += _resources(snapshot)
    lines += [f"{unit.name} is {unit.active} {unit.sub}".rstrip() for unit in snapshot.units if unit.active in ("failed", "exited", "dead")]
    return clean("\n".join(lines), PROBE_LIMIT)


def _resources(snapshot: Snapshot) -> list[str]:
    host, lines = snapshot.host, []
    if host is None:
        return []
    if host.load_1 is not None:
        lines.append(f"load {host.load_1:g} {host.load_5:g} {host.load_15:g} on {host.processors} processors")
    if host.memory_total and host.memory_available is not None:
        lines.append(f"memory {_gibibytes(host.memory_available)} of {_gibibytes(host.memory_total)} available")
    fullest = sorted((disk for disk in host.file_systems if disk.size), key=lambda disk: disk.available / disk.size)
    lines += [f"{disk.mount} {_gibibytes(disk.available)} of {_gibibytes(disk.size)} free" for disk in fullest[:3]]
    return lines


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
