"""The way to a cluster: what is wrong with it is said in one sentence, and no secret in it is ever said."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.errors import AdapterError, Refused, WrongSettings
from adapters.kubernetes import connect
from schemas.action import RestartWorkload
from schemas.target import Kind, Target

SENTINEL = "sentinel-token-7f3a9c"
TARGET = Target(cluster="", kind=Kind.DEPLOYMENT, name="api", namespace="shop")


def config(**changes: Any) -> dict[str, Any]:
    """A kubeconfig with a secret in every place that can have one."""
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "mend", "user": {"token": SENTINEL}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "mend"}}],
        "current-context": "local",
    }
    return whole | changes


def written(folder: Path, content: object) -> str:
    path = folder / "kubeconfig"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "clusters, users, contexts and current-context"),
        ("just text", "not a usable kubeconfig"),
        (f"users: [{{name: x, token: {SENTINEL}", "not valid YAML (line 1)"),
        (f"token: {SENTINEL}", "not a usable kubeconfig"),
        (config(contexts=[]), "Expected object with name local"),
        (config(clusters=[{"name": "other", "cluster": {"server": "http://127.0.0.1:1"}}]), "Expected object with name local"),
        (config(clusters=[{"name": "local", "cluster": {}}]), "not a usable kubeconfig"),
        (config(clusters=[{"name": "local", "cluster": {"server": "127.0.0.1"}}]), "https://HOST:PORT"),
        (
            config(clusters=[{"name": "local", "cluster": {"server": "https://x", "certificate-authority": "/nowhere/ca.crt"}}]),
            "/nowhere/ca.crt",
        ),
        (
            config(clusters=[{"name": "local", "cluster": {"server": "https://x", "certificate-authority-data": "QUJD"}}]),
            "certificates for https://x",
        ),
        (
            config(clusters=[{"name": "local", "cluster": {"server": "https://x", "certificate-authority-data": "QUJDR"}}]),
            "not a usable kubeconfig",
        ),
        (
            config(
                users=[{"name": "mend", "user": {"exec": {"command": "/nowhere/login", "apiVersion": "client.authentication.k8s.io/v1"}}}]
            ),
            "kubeconfig",
        ),
    ],
)
async def test_a_bad_kubeconfig(tmp_path: Path, content: object, says: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(WrongSettings) as raised:
        await connect(kubeconfig=path)
    message = str(raised.value)
    assert says in message
    assert "\n" not in message
    assert SENTINEL not in message
    assert path in message or "https://x" in message


async def test_the_ways_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match="there is no kubeconfig file"):
        await connect(kubeconfig=str(tmp_path / "nothing"))
    with pytest.raises(WrongSettings, match="context 'prod'"):
        await connect(kubeconfig=written(tmp_path, config()), context="prod")
    with pytest.raises(WrongSettings, match="not in a pod with a service account"):
        await connect()
    with pytest.raises(WrongSettings, match="http://HOST:PORT"):
        await connect(server="127.0.0.1:8080")


async def test_a_list_of_kubeconfigs_is_merged(tmp_path: Path) -> None:
    (tmp_path / "first").write_text(yaml.safe_dump(config(users=[], contexts=[], clusters=[])))
    second = written(tmp_path, config())
    world = await connect(kubeconfig=f"{tmp_path / 'first'}:{tmp_path / 'nothing'}:{second}")
    assert world.server == "http://127.0.0.1:1"
    await world.close()


async def test_no_token_in_errors_logs_or_repr(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world = await connect(kubeconfig=written(tmp_path, config()))
    texts = [repr(world), repr(vars(world)), repr(await world.observe(TARGET))]
    for work in (world.owner(TARGET), world.preflight(RestartWorkload(target=TARGET))):
        try:
            await work
        except AdapterError as error:
            texts.append("".join(traceback.format_exception(error)))
    await world.close()
    assert len(texts) == 5
    assert not [text for text in [*texts, caplog.text] if SENTINEL in text]


async def test_the_token_reaches_the_server_and_its_refusal_says_nothing_of_it(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        body = b'{"kind":"Status","message":"token ' + SENTINEL.encode() + b" is bad, password=" + SENTINEL.encode() + b'"}'
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    world = await connect(kubeconfig=written(tmp_path, config(clusters=[{"name": "local", "cluster": {"server": url}}])))
    with pytest.raises(Refused, match="401") as raised:
        await world.owner(TARGET)
    await world.close()
    server.close()

    assert f"authorization: bearer {SENTINEL}" in seen[0].decode().lower()
    assert len(seen) == 2, "after a 401 the credentials are read again, once"
    assert "password=***" in str(raised.value)


@pytest.mark.cluster
async def test_a_certificate_that_is_not_trusted_is_said(kubeconfig: str, tmp_path: Path) -> None:
    loaded = yaml.safe_load(await asyncio.to_thread(Path(kubeconfig).read_text))
    del loaded["clusters"][0]["cluster"]["certificate-authority"]
    world = await connect(kubeconfig=written(tmp_path, loaded))
    with pytest.raises(Refused, match=r"certificate of https://.* is not trusted.*certificate-authority"):
        await world.owner(TARGET)
    await world.close()


MEASURE = """
import asyncio, sys
from adapters.kubernetes import connect
assert not {"kubernetes_asyncio", "aiohttp"} & set(sys.modules), "the client was loaded before it was asked for"
async def main():
    world = await connect(server="http://127.0.0.1:1")
    pages = int(open("/proc/self/statm").read().split()[1])
    print(pages * 4096 / 2**20)
    await world.close()
asyncio.run(main())
"""


def test_a_process_that_holds_the_client_stays_small() -> None:
    """Under 120 MB with all of a stage; the client itself leaves a third of that to the rest."""
    ran = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, timeout=60)
    assert 20 < float(ran.stdout) < 90
