"""Trust belongs to a pattern, an approval to the exact action: neither may be confused with a neighbour's."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.action import (
    Action,
    DeletePod,
    DiagnoseHost,
    HostAction,
    PruneImages,
    PruneSystem,
    PruneVolumes,
    ReloadNginx,
    RenewCertificates,
    RestartComposeService,
    RestartContainer,
    RestartUnit,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    TruncateContainerLog,
    action_hash,
    describe,
    is_observation,
    needs_grant,
    pattern_of,
    unit_name,
    why_not_restarted,
)
from schemas.target import Kind, Target
from schemas.words import Probe

names = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
targets = st.builds(Target, cluster=names, kind=st.sampled_from([Kind.DEPLOYMENT, Kind.STATEFULSET]), name=names, namespace=names)
actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(RestartWorkload, target=targets),
    st.builds(ScaleWorkload, target=targets, replicas=st.integers(0, 50)),
    st.builds(RollBackWorkload, target=targets, to_revision=st.integers(1, 50)),
    st.builds(DeletePod, target=targets, uid=names),
)


@given(actions, actions, names, names)
def test_two_actions_have_one_hash_only_if_they_are_the_same(one: Action, two: Action, uid: str, other: str) -> None:
    assert (action_hash(one, uid) == action_hash(two, other)) == (one == two and uid == other)


@given(actions, names)
def test_the_hash_does_not_depend_on_how_the_action_was_made(action: Action, uid: str) -> None:
    again = type(action)(**{field: getattr(action, field) for field in reversed(action.__struct_fields__)})
    assert action_hash(again, uid) == action_hash(action, uid)
    assert len(action_hash(action, uid)) == 64


def pod(name: str, cluster: str = "prod") -> DeletePod:
    return DeletePod(target=Target(cluster=cluster, kind=Kind.POD, namespace="shop", name=name), uid="u")


def test_pods_of_one_workload_share_a_pattern() -> None:
    assert pattern_of(pod("api-7d9c8b6f5-x2x4z")) == pattern_of(pod("api-6b5d4c7f89-abcde")) == "delete:prod/shop/api-*"
    assert pattern_of(pod("db-0")) == "delete:prod/shop/db-*"


def test_another_cluster_namespace_or_verb_is_another_pattern() -> None:
    target = Target(cluster="prod", kind=Kind.DEPLOYMENT, namespace="shop", name="api")
    staging = Target(cluster="staging", kind=Kind.DEPLOYMENT, namespace="shop", name="api")
    tried: tuple[Action, ...] = (
        RestartWorkload(target=target),
        RestartWorkload(target=staging),
        ScaleWorkload(target=target, replicas=3),
    )
    assert {pattern_of(action) for action in tried} == {"restart:prod/shop/api", "restart:staging/shop/api", "scale:prod/shop/api"}


HOST = Target(cluster="hosts", kind=Kind.HOST, name="web-1")
ON_HOSTS: tuple[tuple[HostAction, str, str, str], ...] = (
    (DiagnoseHost(target=HOST, probes=(Probe.DF,)), "read", "diagnose:hosts/web-1", "run df on host web-1"),
    (RestartUnit(target=HOST, unit="nginx"), "write", "restart-unit:hosts/web-1/nginx.service", "restart unit nginx.service on host web-1"),
    (RestartContainer(target=HOST, container="web"), "write", "restart-container:hosts/web-1/web", "restart container web on host web-1"),
    (
        RestartComposeService(target=HOST, service="api", project="shop"),
        "write",
        "restart-service:hosts/web-1/shop/api",
        "restart compose service shop/api on host web-1",
    ),
    (
        TruncateContainerLog(target=HOST, container="web"),
        "write",
        "truncate-log:hosts/web-1/web",
        "delete the log lines of container web on host web-1",
    ),
    (RenewCertificates(target=HOST), "write", "renew-certificates:hosts/web-1", "renew the certificates that are due on host web-1"),
    (ReloadNginx(target=HOST), "write", "reload-nginx:hosts/web-1", "reload nginx on host web-1"),
    (
        PruneImages(target=HOST),
        "admin",
        "prune-images:hosts/web-1",
        "delete the images without a name that no container uses on host web-1",
    ),
    (
        PruneVolumes(target=HOST),
        "admin",
        "prune-volumes:hosts/web-1",
        "delete the volumes that no container uses, with their data, on host web-1",
    ),
    (
        PruneSystem(target=HOST),
        "admin",
        "prune-system:hosts/web-1",
        "delete stopped containers, unused networks and images without a name on host web-1",
    ),
)


@pytest.mark.parametrize(("action", "scope", "pattern", "words"), ON_HOSTS, ids=lambda value: getattr(value, "verb", ""))
def test_every_host_tool_has_its_scope_its_pattern_and_its_words(action: HostAction, scope: str, pattern: str, words: str) -> None:
    assert (action.scope, pattern_of(action), describe(action)) == (scope, pattern, words)
    assert is_observation(action) is (scope == "read")
    assert needs_grant(action) is (scope != "read")
    assert msgspec.json.decode(msgspec.json.encode(action), type=Action) == action


def test_every_host_tool_is_listed_above() -> None:
    assert {type(action) for action, *_ in ON_HOSTS} == set(get_args(HostAction)) < set(get_args(Action))


def test_what_changes_a_cluster_needs_no_grant() -> None:
    assert not needs_grant(pod("api-1"))


NEVER_RESTARTED = [
    *(f"{name}.target" for name in ("reboot", "poweroff", "halt", "kexec", "rescue", "emergency", "suspend", "default", "multi-user")),
    *("data.mount", "data.automount", "swapfile.swap", "spool.path", "system.slice", "init.scope", "dev-sda.device"),
    *(f"systemd-{name}.service" for name in ("reboot", "poweroff", "halt", "kexec", "soft-reboot", "exit", "suspend", "hibernate")),
    *("systemd-hybrid-sleep.service", "systemd-suspend-then-hibernate.service", "systemd-sysupdate-reboot.timer", "systemd-reboot"),
    *("emergency.service", "rescue", "debug-shell.service", "initrd-switch-root.service"),
]


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("nginx", "nginx.service"),
        ("nginx.service", "nginx.service"),
        ("backup.timer", "backup.timer"),
        ("a.b", "a.b.service"),
        ("getty@tty1", "getty@tty1.service"),
        ("data.mount", "data.mount"),
    ],
)
def test_a_unit_has_one_name_however_it_is_written(name: str, full: str) -> None:
    assert unit_name(name) == full
    if not why_not_restarted(name):
        assert pattern_of(RestartUnit(target=HOST, unit=name)) == pattern_of(RestartUnit(target=HOST, unit=full))


@pytest.mark.parametrize("unit", NEVER_RESTARTED)
def test_what_ends_a_host_or_is_no_service_cannot_be_said_as_a_restart(unit: str) -> None:
    with pytest.raises(ValueError, match="is never restarted"):
        RestartUnit(target=HOST, unit=unit)
    written = msgspec.json.encode(RestartUnit(target=HOST, unit="nginx.service")).replace(b"nginx.service", unit.encode())
    with pytest.raises(msgspec.ValidationError, match="is never restarted"):
        msgspec.json.decode(written, type=Action)


@pytest.mark.parametrize("unit", ["nginx", "reboot-notifier.service", "sleep-tracker.timer", "a.target.service", "haltd.socket"])
def test_what_is_only_called_alike_can_be_restarted(unit: str) -> None:
    assert RestartUnit(target=HOST, unit=unit).unit == unit
