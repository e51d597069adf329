"""The chores that Mendstream knows: each says what it would touch, checks what can be checked, and names its one command."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from adapters.errors import Refused, TargetMissing
from adapters.ssh import checks
from adapters.ssh.arguments import checked_path
from adapters.ssh.chore import Ready
from adapters.ssh.completed import ToolMissing
from adapters.ssh.remote import Remote
from adapters.ssh.subject import Container, State, Unit, no_container, unanswered
from schemas.action import NGINX, PruneImages, PruneSystem, PruneVolumes
from schemas.preflight import BlastRadius, Check
from schemas.text import clean
from schemas.words import Tier

LISTED = 20
_LOG_FORMAT = '{"id":{{json .Id}},"log":{{json .LogPath}},"driver":{{json .HostConfig.LogConfig.Type}}}'


async def host_uid(remote: Remote) -> str:
    """What tells this very installation of a host from another one at its address. Raises Refused."""
    result = await remote.read("cat", "/etc/machine-id")
    identity = clean(result.out.strip(), 64)
    if not result.succeeded or not identity:
        raise Refused(
            f"host {remote.name} has no /etc/machine-id, so an approval cannot be bound to it: run systemd-machine-id-setup there"
        )
    return f"machine-{identity}"


class TruncateLog:
    """`truncate -s 0` on the log file of a container, as Docker names it. Its lines are gone for good."""

    tool = "docker"
    partial = False

    def __init__(self, container: str) -> None:
        self._container = Container(container)
        self.what = f"emptying the log of container {self._container.name}"

    async def ready(self, remote: Remote) -> Ready:
        """The uid is the container's id: one that was made anew under the same name is another one."""
        name = self._container.name
        result = await remote.read(*remote.privileged("docker", "inspect", "--type=container", f"--format={_LOG_FORMAT}", name))
        if not result.succeeded:
            if no_container(result):
                near = checks.nearest(name, await self._container.names(remote))
                raise TargetMissing(f"host {remote.name} has no container {name}" + (f"; nearest: {', '.join(near)}" if near else ""), near)
            raise unanswered(result, f"host {remote.name} cannot say where container {name} has its log")
        try:
            found = msgspec.json.decode(result.out, type=_Log)
        except msgspec.DecodeError as error:
            raise Refused(f"docker inspect answered in a form that is not known: {clean(str(error), 200)}") from error
        here = checks.passed("target exists", f"container {name}")
        blast = BlastRadius(score=40, tier=Tier.HUMAN, services=(name,), data_impact="write")
        try:
            path = _log_path(found, remote.options.docker_root)
        except Refused as error:
            wrong = checks.failed("log file", str(error))
            return Ready(uid=clean(found.id, 64), command=(), checks=(here, wrong), blast=blast)
        plain, size = await _plain_file(remote, path)
        return Ready(
            uid=clean(found.id, 64),
            command=("truncate", "-s", "0", path),
            checks=(here, plain),
            blast=blast,
            diff=f"{path}: {size or 'an unknown number of'} bytes to 0",
        )


class _Log(msgspec.Struct):
    """What _LOG_FORMAT asks for."""

    id: str
    log: str
    driver: str


def _log_path(found: _Log, root: str) -> str:
    """The log file, when it is one that may be emptied. Raises Refused."""
    if found.driver != "json-file":
        raise Refused(f"its log driver is {clean(found.driver, 32)!r}: only the files of json-file are plain text that may be emptied")
    path = checked_path("a log file", found.log)
    if not path.startswith(f"{checked_path('the data root of docker', root)}/") or not path.endswith("-json.log"):
        raise Refused(f"its log file {path} is no log file below {root}: set `docker_root` where docker keeps its data elsewhere")
    return path


async def _plain_file(remote: Remote, path: str) -> tuple[Check, str]:
    """Whether the path is a file and no link to another one, and its size in bytes."""
    result = await remote.read(*remote.privileged("stat", "--format=%s %F", path))
    if not result.succeeded:
        return checks.not_checked("log file", result.complaint("stat")), ""
    size, _, kind = result.out.strip().partition(" ")
    if not kind.startswith("regular") or not size.isdecimal():
        return checks.failed("log file", f"{path} is a {clean(kind, 40)}, not a plain file"), ""
    return checks.passed("log file", f"{path} is a plain file"), size


class CertificateRenewal:
    """`certbot renew`, without questions and without its random sleep of up to eight minutes."""

    what = "renewing certificates"
    tool = "certbot"
    partial = True
    command = ("certbot", "renew", "-n", "--no-random-sleep-on-renew")

    async def ready(self, remote: Remote) -> Ready:
        """The uid is that of the host's installation."""
        version = await remote.read("certbot", "--version")
        if version.succeeded:
            there = checks.passed("target exists", clean(version.out.strip() or version.err.strip(), 80))
        elif remote.options.sudo and version.missing:
            there = checks.not_checked("target exists", "certbot is not on the account's PATH; sudo has a PATH of its own")
        else:
            raise version.refusal(f"host {remote.name} cannot renew certificates", self.tool)
        dry = "certbot's dry run asks the certificate authority, whose limits it uses up, so it was not run"
        return Ready(
            uid=await host_uid(remote),
            command=self.command,
            checks=(there, checks.not_checked("dry run", dry)),
            blast=BlastRadius(score=20, tier=Tier.AUTO, data_impact="write", unmeasured=("services", "downtime")),
            diff="certificates that are due are replaced; certbot then runs the host's own hooks",
        )


class NginxReload:
    """`systemctl reload nginx`, or `nginx -s reload` where systemd does not know nginx; before it, `nginx -t`."""

    what = "reloading nginx"
    tool = "nginx"
    partial = False

    async def ready(self, remote: Remote) -> Ready:
        """The uid is the unit's InvocationID, else that of the host's installation."""
        tested = await remote.read(*remote.privileged("nginx", "-t"))
        if tested.missing:
            raise tested.refusal(f"host {remote.name} cannot reload nginx", self.tool)
        test = checks.passed("nginx -t", clean(tested.err.strip(), 300))
        if not tested.succeeded:
            test = checks.failed("nginx -t", tested.complaint(self.tool))
        state = await _unit(remote)
        running = _runs(state)
        return Ready(
            uid=state.uid if state is not None else await host_uid(remote),
            command=("systemctl", "reload", NGINX) if state is not None else ("nginx", "-s", "reload"),
            checks=(running, test),
            blast=BlastRadius(score=10, tier=Tier.AUTO, services=("nginx",)),
        )


async def _unit(remote: Remote) -> State | None:
    """The unit nginx.service, None where systemd does not know it or is not there."""
    try:
        return await Unit(NGINX).look(remote)
    except ToolMissing:
        return None


def _runs(state: State | None) -> Check:
    if state is None:
        return checks.not_checked("target exists", "systemd knows no nginx.service: whether nginx runs shows when it is told to reload")
    if state.view.active == "active":
        return checks.passed("target exists", f"{NGINX} is active")
    return checks.failed("nginx runs", f"{NGINX} is {state.view.active}, and only what runs can reload: restart it")


_PRUNES: dict[type, str] = {PruneImages: "image", PruneVolumes: "volume", PruneSystem: "system"}


class Prune:
    """`docker image|volume|system prune -f`: deletes what no container uses.

    image   images without a name; data impact: write, they can be built or pulled again
    volume  volumes with the data in them; data impact: destructive
    system  stopped containers with what they wrote, networks, images without a name; data impact: destructive
    """

    tool = "docker"
    partial = True

    def __init__(self, kind: type) -> None:
        self._kind = _PRUNES[kind]
        self.what = f"docker {self._kind} prune"

    async def ready(self, remote: Remote) -> Ready:
        """The uid is that of the host's installation; where data is deleted, also of what would be: nothing else may go."""
        images = () if self._kind == "volume" else await _listed(remote, "image", "ls", "--filter=dangling=true", "--quiet", "--no-trunc")
        data = await self._data(remote)
        uid = await host_uid(remote)
        if self._kind != "image":
            uid += "-" + hashlib.sha256("\n".join(data).encode()).hexdigest()[:32]
        return Ready(
            uid=uid,
            command=("docker", self._kind, "prune", "-f"),
            checks=(
                checks.passed("target exists", "the docker daemon answers"),
                *self._allowed(remote),
                checks.passed("would be deleted", "listed: docker itself has no dry run of a prune"),
            ),
            blast=self._blast(remote, data),
            diff=self._diff(images, data),
        )

    async def _data(self, remote: Remote) -> tuple[str, ...]:
        """What would be deleted and cannot be made again: names, sorted."""
        if self._kind == "volume":
            return await _listed(remote, "volume", "ls", "--filter=dangling=true", "--quiet")
        if self._kind == "system":
            stopped = tuple(f"--filter=status={state}" for state in ("created", "exited", "dead"))
            return await _listed(remote, "ps", "--all", *stopped, "--format={{.Names}}")
        return ()

    def _allowed(self, remote: Remote) -> tuple[Check, ...]:
        if self._kind == "image":
            return ()
        if remote.options.delete_data:
            return (checks.passed("allowed", "`delete_data` is set for this host"),)
        return (checks.failed("allowed", f"{self.what} deletes data for good, and `delete_data` is not set for host {remote.name}"),)

    def _blast(self, remote: Remote, data: Sequence[str]) -> BlastRadius:
        if self._kind == "image":
            return BlastRadius(score=40, tier=Tier.HUMAN, data_impact="write")
        allowed = remote.options.delete_data
        return BlastRadius(
            score=90 if allowed else 100,
            tier=Tier.DUAL if allowed else Tier.BLOCKED,
            services=tuple(data[:5]),
            data_impact="destructive",
        )

    def _diff(self, images: Sequence[str], data: Sequence[str]) -> str:
        parts = []
        if self._kind != "image":
            parts.append(_counted("volumes" if self._kind == "volume" else "stopped containers", data))
        if self._kind != "volume":
            parts.append(_counted("images without a name", [image.removeprefix("sha256:")[:12] for image in images]))
        # Docker since 23 keeps volumes that have a name, older ones do not: what may go is named.
        return f"to be deleted{' at most' if self._kind == 'volume' else ''}: " + "; ".join(parts)


async def _listed(remote: Remote, *arguments: str) -> tuple[str, ...]:
    """The lines that a docker command lists, sorted and cleaned. Raises Refused when it failed or listed more than may be read."""
    result = await remote.read(*remote.privileged("docker", *arguments))
    if not result.succeeded or result.truncated:
        raise unanswered(result, f"host {remote.name} cannot list what docker would delete")
    return tuple(sorted({clean(line.strip(), 128) for line in result.out.splitlines() if line.strip()}))


def _counted(what: str, names: Sequence[str]) -> str:
    shown = f" ({', '.join(names[:LISTED])}{', …' if len(names) > LISTED else ''})" if names else ""
    return f"{len(names)} {what}{shown}"
