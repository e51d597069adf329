"""What a machine remembers of a running `mend up`: its lock, its run file and the votes key, in the data folder.

The run file is how every other command finds the stores without settings of its own; the lock, which the kernel takes
back when its process ends however it ends, says whether that file is true.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ops.errors import AlreadyRunning, DataFolderUnusable, NotRunning
from schemas.secret import Secret, SecretUrl, secret_from

_LOCK_WAIT = 0.5  # seconds; a command that only looks holds the lock for an instant


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """Where the parts of a running `mend up` are: `api` where alerts come in, `rest` where people ask, and `sandbox` are URLs or empty."""

    pid: int
    redis: SecretUrl
    postgres: SecretUrl
    partitions: int = 1
    cluster: bool = False
    api: str = ""
    rest: str = ""
    stages: tuple[str, ...] = ()
    sandbox: str = ""


def make_folder(folder: Path) -> Path:
    """Makes the data folder, open to its owner only; raises DataFolderUnusable."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DataFolderUnusable(f"the data folder {folder} cannot be made: {error.strerror}; set data.folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataFolderUnusable(f"the data folder {folder} is not writable: change its owner or set data.folder")
    return folder


@contextmanager
def owner_of(folder: Path) -> Iterator[None]:
    """Holds the data folder for this process; raises AlreadyRunning where another `mend up` has it."""
    with (make_folder(folder) / "lock").open("a") as lock:
        deadline = time.monotonic() + _LOCK_WAIT
        while not _take(lock.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                known = _read(folder)
                who = f" (process {known.pid})" if known else ""
                raise AlreadyRunning(f"another `mend up` already runs on {folder}{who}: stop it first, or set another data.folder")
            time.sleep(0.02)
        (folder / "run.json").unlink(missing_ok=True)  # of one that was killed: until this one is up, there is none
        try:
            yield
        finally:
            (folder / "run.json").unlink(missing_ok=True)


def _take(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_run_file(folder: Path, run: RunFile) -> None:
    """Replaces the run file at once; only its owner can read it, for URLs carry passwords."""
    body = msgspec.json.encode(run, enc_hook=lambda secret: secret.reveal())
    write_private(folder / "run.json", body)


def write_private(path: Path, body: bytes) -> None:
    """Writes a file of mode 0600, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
    draft.replace(path)


def is_running(folder: Path) -> bool:
    """Whether a `mend up` holds the data folder now."""
    try:
        with (folder / "lock").open("r") as lock:
            return not _take(lock.fileno(), fcntl.LOCK_SH)
    except OSError:
        return False


def running(folder: Path) -> RunFile | None:
    """The run file of the `mend up` that holds the data folder, or None."""
    return _read(folder) if is_running(folder) else None


def find_running(folder: Path) -> RunFile:
    """The run file of a running `mend up`; raises NotRunning, which says what was found instead."""
    run = running(folder)
    if run is not None:
        return run
    stale = _read(folder)
    if is_running(folder):
        raise NotRunning(f"`mend up` on {folder} is still starting: try again in a moment")
    if stale is not None:
        raise NotRunning(f"`mend up` (process {stale.pid}) on {folder} is gone without having said so: start `mend up` again")
    raise NotRunning(f"no `mend up` runs on {folder}: start it, or set redis.url and postgres.url")


def _read(folder: Path) -> RunFile | None:
    try:
        return msgspec.json.decode((folder / "run.json").read_bytes(), type=RunFile, dec_hook=secret_from)
    except (OSError, msgspec.DecodeError):
        return None


def votes_key(configured: Secret, folder: Path) -> Secret:
    """The key that proves votes: the one of the settings, else the one in the data folder, which is made where there is none."""
    if configured:
        return configured
    path = make_folder(folder) / "votes.key"
    if not path.exists():
        draft = path.with_name(f".votes.key.{os.getpid()}")
        write_private(draft, secrets.token_urlsafe(32).encode())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return Secret(path.read_text("ascii").strip())
