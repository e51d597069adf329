"""A real OpenSSH server for a test, on loopback, as the user who runs it, with keys of its own.

The programs in tests/e2e/host_tools (`systemctl`, `docker`, `certbot`, …) stand in for the real ones, since a test must not
restart what runs on the machine, and most have no systemd to speak to; they act on the files of the test's own folder. nginx is
the real one. The server's SetEnv makes a PATH of nothing but these and links to the tools named in REAL_TOOLS, and a HOME in
which no .bashrc adds to it. The units that are restarted are real processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from adapters.ssh.options import HostOptions
from tests.e2e.nginx import NGINX, Nginx
from tests.patience import PATIENCE
from tests.ports import free_port

TOOLS = Path(__file__).parent / "host_tools"
REAL_TOOLS = ("env", "timeout", "cat", "nproc", "df", "ps", "find", "date", "mkdir", "ln", "truncate", "stat", "free", "top", "uptime")
SUDOERS = (
    "systemctl restart demo.service",
    "systemctl reload nginx.service",
    "docker restart web",
    "docker inspect *",
    "docker ps *",
    "docker compose *",
    "docker image *",
    "docker volume ls *",
    "truncate -s 0 /*",
    "stat --format=*",
    "certbot renew -n --no-random-sleep-on-renew",
    "nginx -t",
    "nginx -s reload",
)
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _takes_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def key_pair(path: Path) -> Path:
    """A new ed25519 key in `path` and its public half beside it."""
    process = await asyncio.create_subprocess_exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path))
    assert await process.wait() == 0
    return path


def public_half(path: Path) -> str:
    return path.with_name(path.name + ".pub").read_text().strip()


class TestHost:
    """A host with one unit, `demo.service`, and one container, `web`, both as a restart would find them: down.

    interpreter  runs the stand-ins
    user         logs in, and may do so by the host's keys
    launcher     what sshd is started by, before its own command
    """

    __test__ = False
    interpreter = sys.executable
    user = getpass.getuser()
    launcher: tuple[str, ...] = ()

    def __init__(self, folder: Path, *, sessions: int = 10) -> None:
        self.folder = folder
        self.sessions = sessions
        self.state = folder / "state"
        self.marks = folder / "marks"
        self.docker_root = self.state / "docker"
        self.port = free_port()
        self.unit_port = free_port()
        self.nginx = Nginx(self.state)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> TestHost:
        for name in ("state/units", "state/containers", "state/certificates", "state/docker", "bin"):
            (self.folder / name).mkdir(parents=True)
        (self.state / "journal").write_text("2024-01-01T00:00:00+0000 host demo[1]: out of luck\n")
        (self.state / "sudoers").write_text("\n".join(SUDOERS))
        self.write_unit()
        self.write_container()
        for tool in TOOLS.glob("*.py"):
            self.install(tool.stem, tool.read_text())
        for name in REAL_TOOLS:
            (self.folder / "bin" / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
        await asyncio.gather(
            key_pair(self.folder / "host_key"), key_pair(self.folder / "other_host_key"), key_pair(self.folder / "user_key")
        )
        (self.folder / "authorized_keys").write_text(public_half(self.folder / "user_key"))
        await self._serve()
        return self

    def install(self, name: str, program: str) -> None:
        """Puts a Python program on the PATH of the host, in place of what had its name."""
        script = self.folder / "bin" / name
        script.unlink(missing_ok=True)
        script.write_text(f"#!{self.interpreter} -S\n" + program.replace("@STATE@", str(self.state)).replace("@NGINX@", NGINX or "nginx"))
        script.chmod(0o755)

    async def _serve(self) -> None:
        (self.folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.folder}/host_key\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nMaxSessions {self.sessions}\n"
            f"PermitRootLogin prohibit-password\nAllowTcpForwarding no\nSetEnv PATH={self.folder}/bin HOME={self.folder}\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # noqa: ASYNC240 - a test may wait for a folder
        assert SSHD is not None
        with (self.folder / "sshd.log").open("a") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.launcher, SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config"), stdout=log, stderr=log, start_new_session=True
            )
        await until(self._is_listening, "sshd listens")

    def _is_listening(self) -> bool:
        assert self._process is not None
        if self._process.returncode is not None:
            raise AssertionError(f"sshd ended: {(self.folder / 'sshd.log').read_text()}")
        return _takes_connections(self.port)

    def is_serving(self) -> bool:
        """Whether anything takes connections on the unit's port."""
        return _takes_connections(self.unit_port)

    async def stop(self) -> None:
        """Ends the server with its sessions, and the unit's process."""
        (self.state / "over").touch()
        for name in ("hold", "silent", "endless"):
            (self.state / name).unlink(missing_ok=True)
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()
        self.kill_unit()
        self.nginx.stop()

    def write_unit(self, name: str = "demo.service", **changed: Any) -> None:
        command = [sys.executable, "-m", "http.server", str(self.unit_port), "--bind", "127.0.0.1"]
        unit = {
            "command": command,
            "port": self.unit_port,
            "pid": 0,
            "invocation": "",
            "changed": 1,
            "load": "loaded",
            "required_by": "",
            "restarts": 0,
            "type": "simple",
            "status": None,
            "stays": False,
            "triggered_by": "",
        }
        (self.state / "units" / f"{name}.json").write_text(json.dumps(unit | changed))

    def unit(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / "units" / "demo.service.json").read_text())
        return found

    def kill_unit(self) -> None:
        """Kills the unit's process, as a crash would."""
        if self.unit()["pid"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.unit()["pid"], signal.SIGKILL)

    def write_container(self, name: str = "web", **changed: Any) -> None:
        identity = changed.get("id", "c0ffee" if name == "web" else name)
        log = self.docker_root / "containers" / identity / f"{identity}-json.log"
        container = {
            "id": identity,
            "name": f"/{name}",
            "status": "exited",
            "started": "2024-01-01T00:00:00Z",
            "restarts": 2,
            "health": "",
            "project": "",
            "service": "",
            "log": str(log),
            "driver": "json-file",
        }
        (self.state / "containers" / f"{name}.json").write_text(json.dumps(container | changed))

    def log_of(self, container: str) -> Path:
        """The log file of a container, by its id, below docker's data root."""
        path = self.docker_root / "containers" / container / f"{container}-json.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def lines(self, name: str) -> list[str]:
        """The lines of a file that the stand-ins keep."""
        return (self.state / name).read_text().splitlines() if (self.state / name).exists() else []

    @property
    def server_pid(self) -> int:
        """A process that runs as long as the host does."""
        assert self._process is not None
        return self._process.pid

    def mark(self, operation: str, number: int, text: str, *, end: str = "") -> Path:
        """A mark as an earlier attempt left it; `text` is its fencing token."""
        self.marks.mkdir(exist_ok=True)
        path = self.marks / f"{operation}.{number}"
        path.symlink_to(text)
        if end:
            (self.marks / f"{operation}.{number}.ended").symlink_to(end)
        return path

    def age(self, name: str, seconds: float) -> None:
        """Makes a mark as old as this."""
        then = time.time() - seconds
        os.utime(self.marks / name, (then, then), follow_symlinks=False)

    def restarts(self) -> int:
        """How often the stand-in really restarted a unit."""
        log = self.state / "restarts"
        return len(log.read_text().splitlines()) if log.exists() else 0

    async def answers(self) -> bool:
        """Whether the unit's process answers over HTTP."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.unit_port)
        except OSError:
            return False
        writer.write(b"HEAD / HTTP/1.0\r\n\r\n")
        status = await reader.readline()
        writer.close()
        return b" 200 " in status

    def known_hosts(self, *, key: str = "host_key", host: str = "127.0.0.1", port: int | None = None) -> str:
        """The path of a known_hosts file with one line."""
        port = self.port if port is None else port
        path = self.folder / f"known_hosts_{key}_{host}_{port}"
        path.write_text(f"[{host}]:{port} {public_half(self.folder / key)}\n")
        return str(path)

    def options(self, **changed: Any) -> HostOptions:
        options = HostOptions(
            address="127.0.0.1",
            port=self.port,
            user=self.user,
            private_key_file=str(self.folder / "user_key"),
            known_hosts=self.known_hosts(),
            marks=str(self.marks),
            docker_root=str(self.docker_root),
            restart_timeout=30.0,
        )
        return msgspec.structs.replace(options, **changed)


H = TypeVar("H", bound=TestHost)


async def until(condition: Any, what: str, seconds: float = PATIENCE) -> None:
    """Waits until `condition()` is true; fails with `what` was waited for."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {seconds} s in vain: {what}") from None


class Proxy:
    """A TCP proxy whose connections can be cut in the middle."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.accepted = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, far_writer]
        await asyncio.gather(_pour(reader, far_writer), _pour(far_reader, writer))

    def cut(self) -> None:
        """Resets all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def running_host(folder: Path, *, sessions: int = 10) -> AsyncIterator[TestHost]:
    """A host for a test; `sessions` are allowed at once on one connection."""
    async with running(TestHost(folder, sessions=sessions)) as host:
        yield host


@contextlib.asynccontextmanager
async def running(host: H) -> AsyncIterator[H]:
    """The host, started, and stopped in the end."""
    try:
        await host.start()
        yield host
    finally:
        await host.stop()
