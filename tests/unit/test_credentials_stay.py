"""No credential of ours goes to a proxy of the environment where the server is on this machine, nor after a redirect anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from adapters.alertmanager.client import AlertmanagerClient
from adapters.errors import AdapterError
from adapters.kubernetes.ways import by_kubeconfig
from adapters.model.client import ModelClient
from adapters.model.options import ModelOptions
from adapters.notify import WebhookChannel
from adapters.prometheus.client import PrometheusClient
from adapters.prometheus.options import PrometheusOptions
from ops.cli.send import post
from ops.errors import CommandFailed
from ops.settings.model import HttpSettings
from schemas.secret import Password, Secret, SecretUrl, Token

KEY = "a-credential-of-the-test"
Ask = Callable[[str, Path], Awaitable[object]]


class Listener:
    """Keeps the head of every request, and answers each with the same words."""

    def __init__(self, answer: str) -> None:
        self.heads: list[str] = []
        self.url = ""
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.read(65_536)).decode("latin-1"))
            writer.write(f"HTTP/1.1 {self._answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(answer: str) -> AsyncIterator[Listener]:
    listener = Listener(answer)
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield listener


async def send_alert(url: str, folder: Path) -> None:
    await asyncio.to_thread(post, url, b"{}", HttpSettings(token=Token(KEY)))


async def prometheus(url: str, folder: Path) -> None:
    client = PrometheusClient(PrometheusOptions(url=SecretUrl(url), token=Secret(KEY)))
    try:
        await client.alerts()
    finally:
        await client.close()


async def alertmanager(url: str, folder: Path) -> None:
    client = AlertmanagerClient(url, token=Secret(KEY))
    try:
        await client.is_firing({"alertname": "Down"})
    finally:
        await client.close()


async def model(url: str, folder: Path) -> None:
    options = ModelOptions(url=SecretUrl(url), name="small", key=Secret(KEY), retries=0)
    client = ModelClient(options, clock=lambda: datetime.now(UTC))
    try:
        await client.models()
    finally:
        await client.close()


async def webhook(url: str, folder: Path) -> None:
    channel = WebhookChannel(SecretUrl(f"{url}/{KEY}"), clock=lambda: datetime.now(UTC))
    try:
        await channel.send(["a line"], delivery="1")
    finally:
        await channel.close()


async def kubernetes(url: str, folder: Path) -> None:
    """A write, for a redirect would make a read of it, whose answer says nothing of the write."""
    one = {"name": "one"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [{**one, "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{**one, "user": {"token": KEY}}],
        "contexts": [{**one, "context": {"cluster": "one", "user": "one"}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    client = await by_kubeconfig(str(folder / "kubeconfig"))
    try:
        await client.request("PATCH", "/api/v1/namespaces/shop", body={}, content="application/merge-patch+json", write=True)
    finally:
        await client.close()


async def kubernetes_by_tls(url: str, folder: Path) -> None:
    await kubernetes(url.replace("http://", "https://"), folder)


ASKS: list[Ask] = [send_alert, prometheus, alertmanager, model, webhook, kubernetes]


@pytest.mark.parametrize("ask", [*ASKS, kubernetes_by_tls])
async def test_a_server_on_this_machine_is_reached_past_a_proxy_of_the_environment(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening("500 No") as proxy, listening("500 No") as server:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.upper(), proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises((AdapterError, CommandFailed)):
            await ask(server.url, tmp_path)
        assert proxy.heads == []
        assert server.heads


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("ask", ASKS)
async def test_a_redirect_is_an_error_that_says_so(ask: Ask, status: int, tmp_path: Path) -> None:
    async with listening("200 OK") as elsewhere, listening(f"{status} Moved\r\nLocation: {elsewhere.url}/") as server:
        with pytest.raises((AdapterError, CommandFailed), match=str(status)) as raised:
            await ask(server.url, tmp_path)
        assert elsewhere.heads == []
        assert len(server.heads) == 1
    assert KEY not in str(raised.value)


async def test_who_has_no_credential_for_the_api_is_told_where_it_is() -> None:
    async with listening("401 Unauthorized") as server:
        with pytest.raises(CommandFailed, match=r"the settings at hand have no http\.token, .*: run this where the mend\.toml .*--config"):
            await asyncio.to_thread(post, server.url, b"{}", HttpSettings())
        for given in (HttpSettings(token=Token(KEY)), HttpSettings(username="ana", password=Password(KEY))):
            with pytest.raises(CommandFailed, match="the API answered 401") as raised:
                await asyncio.to_thread(post, server.url, b"{}", given)
            assert "settings" not in str(raised.value)
            assert KEY not in str(raised.value)


async def test_who_posts_an_alert_is_told_where_to_go(tmp_path: Path) -> None:
    async with listening("301 Moved\r\nLocation: https://mend.example/") as server:
        with pytest.raises(CommandFailed, match=r"the API answered 301: it sends us elsewhere, .*: say with --url where it really is"):
            await send_alert(server.url, tmp_path)
