"""What a host action is about: a systemd unit or a container, as its own tool describes it."""

from __future__ import annotations

import re
from typing import Protocol

import msgspec

from adapters.errors import Refused, Transient
from adapters.ssh.arguments import checked_name
from adapters.ssh.completed import Completed
from adapters.ssh.remote import Remote
from schemas.action import unit_name, why_not_restarted
from schemas.evidence import UnitView
from schemas.text import clean

NOT_STARTED = "not-started"
VIEW_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,StateChangeTimestamp,NRestarts,Type,Result,ExecMainCode,ExecMainStatus,RemainAfterExit,TriggeredBy"
)
_FOR_HOST = ("SuccessAction", "FailureAction", "StartLimitAction")
UNIT_PROPERTIES = ",".join((VIEW_PROPERTIES, "InvocationID,StateChangeTimestampMonotonic,Job,RequiredBy,BoundBy,ConsistsOf", *_FOR_HOST))
# Restarting one of these takes the host's network, its logins, its disks or all of its containers along.
_FOUNDATIONS = (
    "auditd.",
    "cloud-",
    "containerd.",
    "crio.",
    "dbus.",
    "dbus-broker.",
    "display-manager.",
    "docker.",
    "firewalld.",
    "gdm",
    "getty@",
    "ifup@",
    "init.",
    "iptables.",
    "iscsid.",
    "k3s",
    "kubelet.",
    "lightdm.",
    "lvm2-",
    "multipathd.",
    "network.",
    "networkmanager.",
    "networking.",
    "nftables.",
    "nscd.",
    "open-iscsi.",
    "openvpn",
    "podman.",
    "polkit.",
    "sddm.",
    "serial-getty@",
    "ssh.",
    "ssh@",
    "sshd.",
    "sshd@",
    "sssd.",
    "systemd-",
    "tailscaled.",
    "ufw.",
    "user@",
    "user-runtime-dir@",
    "wg-quick@",
    "wpa_supplicant",
    "zfs-",
)
_NO_CONTAINER = re.compile(r"no such (?:object|container)", re.IGNORECASE)
_AWAY = re.compile(r"(?:cannot|failed to) connect|error during connect", re.IGNORECASE)
CONTAINER_FORMAT = (
    '{"id":{{json .Id}},"name":{{json .Name}},"status":{{json .State.Status}},"started":{{json .State.StartedAt}},'
    '"restarts":{{json .RestartCount}},"health":"{{if .State.Health}}{{.State.Health.Status}}{{end}}",'
    '"project":{{json (index .Config.Labels "com.docker.compose.project")}},'
    '"service":{{json (index .Config.Labels "com.docker.compose.service")}}}'
)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a unit or container.

    uid         changes with every start: a unit's InvocationID, a container's id and start time; `not-started` before the first start
    busy        it is being started or stopped right now, so that the next look may differ
    changed     when its state last changed, in its tool's own words: the same words, the same state throughout
    dependents  units that are stopped or restarted together with it
    foundation  whether the host stands on it, or systemd ends the host when it ends, fails, or is started too often
    unusable    why it cannot be restarted, such as `masked`
    """

    uid: str
    view: UnitView
    busy: bool
    changed: str
    dependents: tuple[str, ...] = ()
    foundation: bool = False
    unusable: str = ""


class Subject(Protocol):
    """Something on a host that can be restarted by name."""

    what: str
    name: str
    tool: str

    @property
    def restart(self) -> tuple[str, ...]:
        """The arguments that restart it, without sudo."""
        ...

    async def look(self, remote: Remote) -> State | None:
        """How it is now, None when the host has none of that name. Raises Refused, Transient."""
        ...

    async def names(self, remote: Remote) -> tuple[str, ...]:
        """The names of its kind that the host has. Raises Refused, Transient."""
        ...


class Unit:
    """A systemd unit."""

    what = "systemd unit"
    tool = "systemctl"

    def __init__(self, name: str) -> None:
        self.name = unit_name(checked_name(self.what, name))
        if why := why_not_restarted(self.name):
            raise Refused(why)

    @property
    def restart(self) -> tuple[str, ...]:
        return ("systemctl", "restart", self.name)

    async def look(self, remote: Remote) -> State | None:
        result = await remote.read("systemctl", "show", f"--property={UNIT_PROPERTIES}", self.name)
        if not result.succeeded:
            raise result.refusal(f"host {remote.name} cannot say how {self.name} is", self.tool)
        blocks = unit_blocks(result.out)
        if not blocks or "LoadState" not in blocks[0]:
            raise Refused(f"host {remote.name} cannot say how {self.name} is: systemctl named no state")
        return None if blocks[0]["LoadState"] == "not-found" else unit_state(blocks[0])

    async def names(self, remote: Remote) -> tuple[str, ...]:
        result = await remote.read("systemctl", "show", "--property=Id", "*.service")
        return tuple(block["Id"] for block in unit_blocks(result.out) if "Id" in block)


class Container:
    """A Docker container."""

    what = "container"
    tool = "docker"

    def __init__(self, name: str) -> None:
        self.name = checked_name(self.what, name)

    @property
    def restart(self) -> tuple[str, ...]:
        return ("docker", "restart", self.name)

    async def look(self, remote: Remote) -> State | None:
        result = await remote.read(*remote.privileged("docker", "inspect", "--type=container", f"--format={CONTAINER_FORMAT}", self.name))
        if result.succeeded:
            return container_state(result.out)
        if no_container(result):
            return None
        raise unanswered(result, f"host {remote.name} cannot say how container {self.name} is")

    async def names(self, remote: Remote) -> tuple[str, ...]:
        result = await remote.read(*remote.privileged("docker", "ps", "--all", "--format={{.Names}}"))
        return tuple(line.strip() for line in result.out.splitlines() if line.strip())


def no_container(result: Completed) -> bool:
    """Whether `docker inspect` says that there is no container of that name; of a socket that is not there it says `no such` as well."""
    return result.exit == 1 and _NO_CONTAINER.search(result.err) is not None


def unanswered(result: Completed, what: str) -> Transient | Refused:
    """The error for a docker command that only looks and failed: transient where its daemon was away."""
    refusal = result.refusal(what, "docker")
    return Transient(str(refusal)) if _AWAY.search(result.err) else refusal


def unit_blocks(text: str) -> list[dict[str, str]]:
    """`systemctl show`'s output, one dict for each unit."""
    blocks = []
    for block in text.split("\n\n"):
        pairs = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if pairs:
            blocks.append(pairs)
    return blocks


def unit_state(block: dict[str, str]) -> State:
    """One block of `systemctl show` as a state."""
    active = block.get("ActiveState", "")
    job = block.get("Job", "").strip()
    named = " ".join(block.get(key, "") for key in ("RequiredBy", "BoundBy", "ConsistsOf")).split()
    return State(
        uid=clean(block.get("InvocationID", ""), 64) or NOT_STARTED,
        view=_unit_view(block),
        busy=active in ("activating", "deactivating", "reloading") or job not in ("", "0"),
        changed=clean(block.get("StateChangeTimestampMonotonic", ""), 32),
        dependents=tuple(dict.fromkeys(clean(name, 128) for name in named if not name.endswith(".target"))),
        foundation=_is_foundation(block),
        unusable=_unusable(block.get("Id", ""), block.get("LoadState", "")),
    )


def _is_foundation(block: dict[str, str]) -> bool:
    return block.get("Id", "").lower().startswith(_FOUNDATIONS) or any(block.get(key, "") not in ("", "none") for key in _FOR_HOST)


def _unusable(name: str, load: str) -> str:
    """`name` is the unit's own: it may have been asked for by another one."""
    if why_not_restarted(name):
        return f"another name of {clean(name, 128)}, which is never restarted"
    return "" if load == "loaded" else clean(load, 32)


def _unit_view(block: dict[str, str]) -> UnitView:
    """What is told of a unit; only of a service all of it."""
    name, restarts, status = (block.get(key, "") for key in ("Id", "NRestarts", "ExecMainStatus"))
    is_service = name.endswith(".service")  # the type of a mount is that of its file system
    ended = block.get("ExecMainCode", "0") != "0" and status.isdecimal()
    return UnitView(
        name=clean(name, 128),
        active=clean(block.get("ActiveState", ""), 32),
        sub=clean(block.get("SubState", ""), 32),
        since=clean(block.get("StateChangeTimestamp", ""), 64),
        restarts=int(restarts) if restarts.isdecimal() else 0,
        type=clean(block.get("Type", ""), 32) if is_service else "",
        result=clean(block.get("Result", ""), 32),
        status=int(status) if ended else None,
        stays=block.get("RemainAfterExit", "") == "yes",
        timed=any(trigger.endswith(".timer") for trigger in block.get("TriggeredBy", "").split()),
    )


class _Inspected(msgspec.Struct):
    """What CONTAINER_FORMAT asks for."""

    id: str
    name: str
    status: str
    started: str
    restarts: int
    health: str
    project: str = ""
    service: str = ""


def container_state(text: str) -> State:
    """One line of `docker inspect` by CONTAINER_FORMAT as a state. Raises Refused when it is something else."""
    try:
        found = msgspec.json.decode(text, type=_Inspected)
    except msgspec.DecodeError as error:
        raise Refused(f"docker inspect answered in a form that is not known: {clean(str(error), 200)}") from error
    started = clean(found.started, 64)
    uid = clean(found.id, 64)
    return State(
        uid=NOT_STARTED if started.startswith("0001-") else f"{uid}@{started}",
        view=UnitView(
            name=clean(found.name.removeprefix("/"), 128),
            active=clean(found.status, 32),
            sub=clean(found.health, 32),
            since=started,
            restarts=found.restarts,
            service=clean(f"{found.project}/{found.service}", 256) if found.service else "",
        ),
        busy=found.status in ("restarting", "removing"),
        changed=f"{clean(found.status, 32)} {started}",
    )
