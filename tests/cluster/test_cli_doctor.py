"""`mend doctor` asks a real API server what the identity in use may do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.examination.permissions import READS, WRITES
from tests.integration.mend_process import Mend, installation

pytestmark = pytest.mark.cluster
ADMIN = os.environ.get("MEND_TEST_KUBECONFIG", "")
LIMITED = Path(ADMIN).parent / "limited.kubeconfig"


@pytest.fixture
def mend() -> Iterator[Mend]:
    with installation() as mend:
        yield mend


def of_cluster(mend: Mend, code: int = 0, **variables: str) -> list[dict[str, str]]:
    return [finding for finding in mend.json("doctor", code=code, **variables) if finding["about"].startswith("cluster ")]


def test_an_identity_that_may_do_everything_is_fine(mend: Mend) -> None:
    reached, granted = of_cluster(mend, KUBECONFIG=ADMIN)
    assert "version v1." in reached["said"]
    assert granted["said"] == f"all {len(READS) + len(WRITES)} permissions are granted in every namespace"
    assert {granted["level"], reached["level"]} == {"fine"}


def test_an_identity_that_lacks_permissions_has_each_named(mend: Mend) -> None:
    if not LIMITED.exists():
        pytest.skip(f"{LIMITED} is not there")
    _, granted = of_cluster(mend, MEND_CLUSTERS_PROD_KUBECONFIG=str(LIMITED))
    assert granted["about"] == "cluster prod"
    assert granted["level"] == "warning"
    assert "patch deployments.apps" in granted["said"]
    assert "ClusterRole" in granted["mend"]


def test_a_cluster_that_does_not_answer_is_wrong(mend: Mend) -> None:
    (found,) = of_cluster(mend, code=1, MEND_CLUSTERS_PROD_SERVER="http://127.0.0.1:1")
    assert found["level"] == "wrong"
    assert "127.0.0.1" in found["said"]
