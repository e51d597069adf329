"""Which tests may run side by side: all but those that share nodes, or what their module sets up once."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

_NODES = (  # these take nodes away, which the others of them would feel
    "tests/cluster/test_kubernetes_lost.py",
    "tests/cluster/test_kubernetes_operations.py",
    "tests/cluster/test_kubernetes_preflight.py",
    "tests/cluster/test_roles.py",
)
_MODULES = (
    "tests/cluster/test_pipeline.py",
    "tests/e2e/test_prometheus.py",
    "tests/integration/bus/test_redis_cluster.py",
    "tests/integration/test_cli.py",
    "tests/integration/test_cli_gate.py",
    "tests/integration/test_secrets.py",
    "tests/scenarios/test_scenarios.py",
    "tests/unit/test_secrets_masked.py",
)


def scope_of(test: str) -> str:
    """What a test, named by its node id, must not be parted from."""
    module = test.partition("::")[0]
    if module in _NODES:
        return "nodes"
    return module if module in _MODULES else test


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Gives whole scopes to a process, the largest ones first."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
