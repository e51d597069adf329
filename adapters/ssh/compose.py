"""A service of a compose project. The project's folder comes from the settings of the host, never from an alert."""

from __future__ import annotations

import hashlib

from adapters.errors import Refused
from adapters.ssh.arguments import checked_name, checked_path
from adapters.ssh.checks import nearest
from adapters.ssh.options import HostOptions
from adapters.ssh.remote import Remote
from adapters.ssh.subject import CONTAINER_FORMAT, State, container_state, unanswered
from schemas.diagnosis import unit_finding, worst_of
from schemas.evidence import UnitView
from schemas.text import clean


class ComposeService:
    """All containers of one service. Its uid is that of all their starts together: it changes when one of them starts anew."""

    what = "compose service"
    tool = "docker"

    def __init__(self, service: str, project: str, options: HostOptions) -> None:
        self.name = checked_name(self.what, service)
        self._compose = ("docker", "compose", "--project-directory", _folder(project, options))

    @property
    def restart(self) -> tuple[str, ...]:
        return (*self._compose, "restart", self.name)

    async def look(self, remote: Remote) -> State | None:
        listing = await remote.read(*remote.privileged(*self._compose, "ps", "--all", "--quiet", self.name))
        if not listing.succeeded:
            if "no such service" in listing.err.lower():
                return None
            raise unanswered(listing, f"host {remote.name} cannot say how compose service {self.name} is")
        ids = [checked_name("container", line.strip()) for line in listing.out.splitlines() if line.strip()]
        if not ids:
            return None
        found = await remote.read(*remote.privileged("docker", "inspect", "--type=container", f"--format={CONTAINER_FORMAT}", *ids))
        if not found.succeeded:
            raise unanswered(found, f"host {remote.name} cannot say how compose service {self.name} is")
        return joined(self.name, [container_state(line) for line in found.out.splitlines() if line.strip()])

    async def names(self, remote: Remote) -> tuple[str, ...]:
        result = await remote.read(*remote.privileged(*self._compose, "config", "--services"))
        return tuple(line.strip() for line in result.out.splitlines() if line.strip())


def joined(name: str, states: list[State]) -> State:
    """The containers of a service as one state: as bad as the worst of them."""
    findings = [unit_finding(one.view) for one in states]
    worst = states[findings.index(worst_of(findings))].view
    starts = "\n".join(sorted(one.uid for one in states))
    return State(
        uid=states[0].uid if len(states) == 1 else hashlib.sha256(starts.encode()).hexdigest(),
        view=UnitView(name=name, active=worst.active, sub=worst.sub, since=worst.since, service=worst.service),
        busy=any(one.busy for one in states),
        changed="\n".join(sorted(one.changed for one in states)),
    )


def _folder(project: str, options: HostOptions) -> str:
    """The folder that the settings give for the project; an empty name means the only one. Raises Refused."""
    known = options.compose
    if not project and len(known) == 1:
        return checked_path("a compose project", next(iter(known.values())))
    if project in known:
        return checked_path("a compose project", known[project])
    if not project and known:
        raise Refused(f"the action names no compose project, and the settings of the host have {', '.join(sorted(known))}: name one")
    near = nearest(project, tuple(known))
    raise Refused(
        f"no compose project {clean(project, 64)!r} is in the settings of the host"
        + (f"; nearest: {', '.join(near)}" if near else ": add its name and folder under `compose`")
    )
