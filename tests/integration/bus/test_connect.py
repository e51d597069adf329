"""Start-up: which servers are refused, what the refusal says, and that no password is ever told."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL
from pathlib import Path

import pytest

from bus.connect import connect
from bus.errors import BusError, BusUnavailable, InvalidAddress, WrongEvictionPolicy
from tests.integration.bus.conftest import Starter
from tests.integration.bus.ground import Desk, running, until, votes
from tests.ports import free_port


async def test_a_server_that_may_evict_is_refused_with_the_remedy(own_redis: Starter) -> None:
    server = await own_redis("--maxmemory-policy", "allkeys-lru")
    with pytest.raises(WrongEvictionPolicy, match="CONFIG SET maxmemory-policy noeviction") as refusal:
        await connect(server.url, name="test")
    assert "allkeys-lru" in str(refusal.value)


@pytest.mark.parametrize(("policy", "fits"), [("noeviction", True), ("volatile-lru", False)])
async def test_a_server_that_forbids_config_is_read_another_way(own_redis: Starter, policy: str, fits: bool) -> None:
    server = await own_redis("--rename-command", "CONFIG", "", "--maxmemory-policy", policy)
    if fits:
        await (await connect(server.url, name="test")).close()
        return
    with pytest.raises(WrongEvictionPolicy, match=policy):
        await connect(server.url, name="test")


async def test_a_password_is_used_and_never_told(own_redis: Starter) -> None:
    server = await own_redis()
    opener = await connect(server.url, name="test")
    await opener.channel(0).call("CONFIG", "SET", "requirepass", "s3cret-word")
    await opener.close()
    with pytest.raises(BusError) as refusal:
        await connect(f"{server.url}?password=wr0ng-word", name="test")
    assert "wr0ng-word" not in str(refusal.value) + repr(refusal.value.__cause__)
    bus = await connect(f"{server.url}?password=s3cret-word", name="test")
    assert len(await bus.append(votes(2))) == 2
    assert "s3cret-word" not in repr(bus.route) + repr(vars(bus.route))
    await bus.close()


async def test_nobody_answers() -> None:
    with pytest.raises(BusUnavailable, match="cannot be reached"):
        await connect("redis://127.0.0.1:1", name="test")


@pytest.mark.parametrize("url", ["http://localhost", "redis://localhost?socket_bogus=1", "redis://localhost?db=x"])
async def test_a_url_that_cannot_be_used(url: str) -> None:
    with pytest.raises(InvalidAddress, match="URL of Redis"):
        await connect(url, name="test")


async def test_no_partitions() -> None:
    with pytest.raises(BusError, match="at least one partition"):
        await connect("redis://localhost", partitions=0, name="test")


async def test_a_name_with_spaces_is_no_trouble(redis_url: str) -> None:
    bus = await connect(redis_url, name="stage gate\n☂")
    assert await bus.channel(0).call("CLIENT", "GETNAME") == b"mend-stage-gate--"
    await bus.close()


async def test_closing_leaves_no_connection(own_redis: Starter) -> None:
    server = await own_redis()
    watcher, bus = await connect(server.url, name="watcher"), await connect(server.url, name="test")

    async def alone() -> bool:
        return len((await watcher.channel(0).call("CLIENT", "LIST")).splitlines()) == 1

    await bus.append(votes(1))
    assert not await alone()
    async with running(bus, Desk()):
        pass
    await bus.close()
    await until(alone)
    await watcher.close()


async def test_tls(own_redis: Starter, tmp_path: Path) -> None:
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = await asyncio.create_subprocess_exec(*request, *names, "-keyout", "key.pem", "-out", "cert.pem", cwd=tmp_path, stderr=DEVNULL)
    assert await make.wait() == 0
    port = free_port()
    files = ["--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file", str(tmp_path / "key.pem")]
    await own_redis("--tls-port", str(port), *files, "--tls-ca-cert-file", str(tmp_path / "cert.pem"), "--tls-auth-clients", "no")
    url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/cert.pem"
    bus = await connect(url, name="test")
    async with running(bus, Desk()) as (loop,):
        await bus.append(votes(300))
        await until(lambda: loop.meter.topics["decisions"].handled == 300)
    await bus.close()
    with pytest.raises(BusUnavailable, match="certificate"):
        await connect(f"rediss://127.0.0.1:{port}", name="test")
