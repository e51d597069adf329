"""Every scenario as a test: all of them run at once, before the first one is judged."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.cluster.conftest import kubeconfig  # noqa: F401 - the fixture
from tests.e2e.sshd import SSHD
from tests.scenarios.run import Report, catalogue, play
from tests.scenarios.scenario import Result

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module")
async def reports(request: pytest.FixtureRequest, kubeconfig: str) -> dict[str, Report]:  # noqa: F811
    """What became of each scenario that is among the chosen tests."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function) and "reports" in item.fixturenames]
    chosen = [str(test.callspec.params["name"]) for test in tests]
    return await play([name for name in chosen if SSHD is not None or not catalogue()[name].host], kubeconfig)


_NO_SSHD = pytest.mark.skipif(SSHD is None, reason="sshd is not installed: apt-get install openssh-server")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[_NO_SSHD] if one.host else []) for name, one in catalogue().items()])
async def test_it_heals_or_is_left_to_people_and_nothing_else_is_touched(name: str, reports: dict[str, Report]) -> None:
    report = reports[name]
    assert not report.wrong
    assert report.result not in (Result.WRONG, Result.MISSED), report.error
