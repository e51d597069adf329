"""Every scenario as a test: all of them run at once, before the first one is judged."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.cluster.conftest import kubeconfig  # noqa: F401 - the fixture
from tests.e2e.sshd import SSHD
from tests.scenarios.load import address
from tests.scenarios.run import Report, catalogue, play
from tests.scenarios.scenario import Result, Scenario

pytestmark = pytest.mark.cluster


@pytest_asyncio.fixture(scope="module")
async def reports(request: pytest.FixtureRequest, kubeconfig: str) -> dict[str, Report]:  # noqa: F811
    """What became of each scenario that is among the chosen tests."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function) and "reports" in item.fixturenames]
    chosen = [str(test.callspec.params["name"]) for test in tests]
    return await play([name for name in chosen if _can_play(catalogue()[name])], kubeconfig)


def _can_play(one: Scenario) -> bool:
    return (SSHD is not None or not one.host) and (address() != "" or not one.metrics)


_NO_SSHD = pytest.mark.skipif(SSHD is None, reason="sshd is not installed: apt-get install openssh-server")


_NO_ADDRESS = pytest.mark.skipif(not address(), reason="this machine has loopback addresses only: no control plane asks there for metrics")


def _marks(one: Scenario) -> list[pytest.MarkDecorator]:
    return [mark for mark, wanted in ((_NO_SSHD, one.host), (_NO_ADDRESS, one.metrics)) if wanted]


@pytest.mark.parametrize("name", [pytest.param(name, marks=_marks(one)) for name, one in catalogue().items()])
async def test_it_heals_or_is_left_to_people_and_nothing_else_is_touched(name: str, reports: dict[str, Report]) -> None:
    report = reports[name]
    assert not report.wrong
    assert report.result not in (Result.WRONG, Result.MISSED), report.error
