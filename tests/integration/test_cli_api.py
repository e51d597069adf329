"""The process `api` as it is started: beside a `mend up`, with people's tokens from the terminal, and ended by a signal."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from tests.bench.ground import peak_memory
from tests.integration.mend_process import Mend, end, installation, until
from tests.integration.test_cli_lifecycle import _get
from tests.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def mend() -> Iterator[Mend]:
    with installation() as mend:
        yield mend


def test_the_api_for_people_is_a_process_of_its_own(mend: Mend) -> None:
    whole = mend.up("--sandbox", "--stage", "archive")
    assert mend.run.rest == ""
    port = free_port()
    process = mend.start("stage", "api", MEND_API_PORT=str(port))
    until(lambda: "up: stages api" in mend.log.read_text(), mend.log)
    assert _get(port, "/readyz") == '{"ok":true}'
    token = mend.said("people", "add", "ana", "--role", "viewer").strip()
    bearer = {"Authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{port}/v1"
    with urllib.request.urlopen(urllib.request.Request(f"{url}/incidents", headers=bearer), timeout=10) as answer:
        assert answer.read() == b'{"items":[],"next":""}'
    assert peak_memory(process.pid) <= 120
    with urllib.request.urlopen(urllib.request.Request(f"{url}/events", headers=bearer), timeout=30) as answer:
        assert answer.readline() == b"retry: 2000\n"
        assert end(process) == 0
        assert answer.read() == b"\n", "a stream ends when its process does"
    assert end(whole) == 0


def test_the_api_of_a_second_process_leaves_people_to_the_first(mend: Mend) -> None:
    whole = mend.up("--sandbox")
    port = mend.run.rest.rpartition(":")[2]
    assert _get(int(port), "/livez") == '{"ok":true}'
    second = mend.start("stage", "api", MEND_API_PORT=port)
    until(lambda: "nothing is left to do here" in mend.log.read_text(), mend.log)
    assert end(second) == 0
    assert end(whole) == 0
