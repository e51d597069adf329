"""Text becomes a typed action by one of the accepted spellings, or it becomes a ParseFailure that quotes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.action import (
    Action,
    DeletePod,
    DiagnoseHost,
    Investigate,
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
    describe,
)
from schemas.target import Kind, Target
from schemas.words import Probe
from stages.propose.parse import ParseFailure, parse
from tests.unit.snapshots import HOST, TARGET, pod, revision, snapshot

SEEN = snapshot(
    pod("api-1-abc"), pod("api-1-def"), revisions=(revision(7, "api:2", current=True, minutes=1), revision(6, "api:1", minutes=9000))
)
OTHER = Target(cluster="prod", namespace="shop", kind=Kind.STATEFULSET, name="db")
POD = Target(cluster="prod", namespace="shop", kind=Kind.POD, name="api-1-abc")
POD_2 = Target(cluster="prod", namespace="shop", kind=Kind.POD, name="api-1-def")


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("kubectl rollout restart deployment/api -n shop", RestartWorkload(target=TARGET)),
        ("kubectl rollout restart deployment api", RestartWorkload(target=TARGET)),
        ("kubectl -n shop rollout restart deploy/api", RestartWorkload(target=TARGET)),
        ("kubectl rollout restart deployment/api --namespace=shop", RestartWorkload(target=TARGET)),
        ("  kubectl   rollout restart\tdeployment.apps/api ", RestartWorkload(target=TARGET)),
        ("kubectl rollout undo deployment/api", RollBackWorkload(target=TARGET, to_revision=6)),
        ("kubectl rollout undo deployment/api --to-revision=3 -n shop", RollBackWorkload(target=TARGET, to_revision=3)),
        ("kubectl scale deployment/api --replicas=5", ScaleWorkload(target=TARGET, replicas=5)),
        ("kubectl scale --replicas 5 deployment api -n shop", ScaleWorkload(target=TARGET, replicas=5)),
        ("kubectl delete pod api-1-abc -n shop", DeletePod(target=POD, uid="uid-api-1-abc")),
        ("kubectl delete pod/api-1-abc", DeletePod(target=POD, uid="uid-api-1-abc")),
        ("kubectl delete pods api-1-def --namespace shop", DeletePod(target=POD_2, uid="uid-api-1-def")),
        ("kubectl delete po/api-1-abc -n shop", DeletePod(target=POD, uid="uid-api-1-abc")),
        ("kubectl rollout undo deploy api --to-revision 3", RollBackWorkload(target=TARGET, to_revision=3)),
        ("Restart deployment: api", RestartWorkload(target=TARGET)),
        ("restart Deployment shop/api", RestartWorkload(target=TARGET)),
        ("Rollback deployment: api", RollBackWorkload(target=TARGET, to_revision=6)),
        ("Scale up deployment: api", ScaleWorkload(target=TARGET, replicas=3)),
        ("Scale deployment: api to 3 replicas", ScaleWorkload(target=TARGET, replicas=3)),
        ("Scale deployment api to 1 replica", ScaleWorkload(target=TARGET, replicas=1)),
        ("roll back deployment shop/api to revision 3", RollBackWorkload(target=TARGET, to_revision=3)),
        ("Scale up deploy: shop/api", ScaleWorkload(target=TARGET, replicas=3)),
    ],
)
def test_accepted_spellings(text: str, action: Action) -> None:
    found = parse(text, TARGET, SEEN)
    assert found.action == action
    assert not found.elsewhere


@pytest.mark.parametrize(
    "text",
    ["", "  ", "NO_ACTION", "no action", "OBSERVE", "OBSERVE_ONLY for now", "Investigate the memory", "INVESTIGATE: logs"]
    + [f"kubectl {verb} pods -n shop" for verb in ("get", "describe", "logs", "top")]
    + ["ps aux", "df -h", "free -m", "top", "uptime"],
)
def test_looking_is_observation_and_not_failure(text: str) -> None:
    found = parse(text, TARGET, SEEN)
    assert isinstance(found.action, Investigate)
    assert found.action.target == TARGET


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("systemctl restart nginx", RestartUnit(target=HOST, unit="nginx.service")),
        ("sudo systemctl restart getty@tty1.service", RestartUnit(target=HOST, unit="getty@tty1.service")),
        ("docker restart web_1", RestartContainer(target=HOST, container="web_1")),
        ("sudo docker restart web_1", RestartContainer(target=HOST, container="web_1")),
        ("docker compose restart web", RestartComposeService(target=HOST, service="web")),
        ("docker-compose restart web", RestartComposeService(target=HOST, service="web")),
        ("docker image prune", PruneImages(target=HOST)),
        ("docker image prune -f", PruneImages(target=HOST)),
        ("docker volume prune", PruneVolumes(target=HOST)),
        ("sudo docker system prune --force", PruneSystem(target=HOST)),
        ("nginx reload", ReloadNginx(target=HOST)),
        ("nginx -s reload", ReloadNginx(target=HOST)),
        ("systemctl reload nginx", ReloadNginx(target=HOST)),
        ("certbot renew", RenewCertificates(target=HOST)),
    ],
)
def test_host_forms_are_for_hosts(text: str, action: Action) -> None:
    assert parse(text, HOST).action == action
    with pytest.raises(ParseFailure, match="is for a host"):
        parse(text, TARGET, SEEN)


@pytest.mark.parametrize("unit", ["reboot.target", "data.mount", "rescue"])
def test_a_unit_that_is_never_restarted_is_no_action(unit: str) -> None:
    with pytest.raises(ParseFailure, match="is never restarted"):
        parse(f"systemctl restart {unit}", HOST)


@pytest.mark.parametrize("probe", list(Probe))
def test_probes_are_run_on_a_host(probe: Probe) -> None:
    assert parse(f"{probe} -h", HOST).action == DiagnoseHost(target=HOST, probes=(probe,))


@pytest.mark.parametrize(
    "text", ["docker image prune -a", "docker system prune --volumes", "docker compose restart", "certbot renew --force-renewal"]
)
def test_a_wider_form_of_a_host_action_is_not_taken_for_the_narrow_one(text: str) -> None:
    with pytest.raises(ParseFailure):
        parse(text, HOST)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("kubectl rollout restart statefulset/db", OTHER),
        ("kubectl rollout restart deployment/api -n other", Target(cluster="prod", namespace="other", kind=Kind.DEPLOYMENT, name="api")),
        ("Restart deployment: web", Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="web")),
    ],
)
def test_another_target_is_told_apart(text: str, target: Target) -> None:
    found = parse(text, TARGET, SEEN)
    assert found.action.target == target
    assert found.elsewhere


@pytest.mark.parametrize(
    "text",
    [
        "rm -rf /",
        "kubectl delete deployment api",
        "kubectl delete pod not-ours",
        "kubectl delete pod api-1-abc -n other",
        "kubectl delete pod api-1-abc --force --grace-period=0",
        "kubectl rollout restart deployment/api; rm -rf /",
        "kubectl rollout restart deployment/api && reboot",
        "kubectl rollout restart deployment/api | sh",
        "kubectl rollout restart deployment/$(reboot)",
        "kubectl rollout restart deployment/api -n shop -n other",
        "kubectl --context=other rollout restart deployment/api",
        "kubectl rollout restart deployment/api --kubeconfig=/tmp/x",
        "kubectl scale deployment/api --replicas=-1",
        "kubectl scale deployment/api --replicas=99999",
        "kubectl rollout undo statefulset/db",
        "kubectl get pods; reboot",
        "kubectl get pods $(reboot)",
        "ps aux | sh",
        "systemctl restart -H other nginx",
        "NO_ACTIONABLE",
        "kubectl get pods\nreboot",
        "kubectl rollout restart deployment/api\nkubectl rollout restart deployment/api",
        "kubectl exec api-1-abc -- reboot",
        "kubectl apply -f https://example.org/x.yaml",
        "kubectl delete namespace shop",
        "kubectl delete pods --all",
        "kubectl delete pod api-1-abc api-1-def",
        "kubectl rollout restart deployment --all",
        "kubectl rollout restart deployment/*",
        "kubectl rollout restart -f x.yaml",
        "kubectl rollout restart pod/api-1-abc",
        "kubectl rollout undo deployment/api --to-revision=0",
        "kubectl scale deployment/api --replicas=$(whoami)",
        "kubectl scale --replicas=2 deployment/api deployment/web",
        "KUBECONFIG=/tmp/x kubectl rollout restart deployment/api",
        "sudo kubectl rollout restart deployment/api",
        "sh -c 'kubectl rollout restart deployment/api'",
        "Restart everything",
        "Restart deployment: ../api",
        "Restart node: node-1",
        "approved",
        '{"action": "kubectl rollout restart deployment/api"}',
        "kubectl rollout restart deployment/api\x00",
        "kubectl rollout restart deployment/апи",
        "x" * 5000,
    ],
)
def test_anything_else_is_a_failure_that_quotes_the_text(text: str) -> None:
    with pytest.raises(ParseFailure) as caught:
        parse(text, TARGET, SEEN)
    assert caught.value.text
    assert text.startswith(caught.value.text[:10])
    assert len(str(caught.value)) < 500


def test_an_undo_needs_a_revision_from_the_text_or_from_evidence() -> None:
    with pytest.raises(ParseFailure, match="names no revision"):
        parse("kubectl rollout undo deployment/api", TARGET)


ACCEPTED = (
    "kubectl rollout restart deployment/api -n shop",
    "kubectl rollout undo deployment/api --to-revision=3",
    "kubectl scale deployment/api --replicas=5",
    "kubectl delete pod api-1-abc -n shop",
    "kubectl get pods -n shop",
    "Restart deployment: shop/api",
    "Roll back deployment: api to revision 3",
    "Scale up deployment: api",
    "systemctl restart nginx",
    "docker restart web_1",
    "docker compose restart web",
    "docker volume prune -f",
    "certbot renew",
    "nginx -s reload",
    "df -h",
)
META = ";|&$`()<>\\'\"*?#~!{}[]\n\r\x00"
WORDS = (
    "kubectl",
    "rollout",
    "restart",
    "undo",
    "scale",
    "delete",
    "pod",
    "deployment/api",
    "statefulset/db",
    "-n",
    "other",
    "--replicas=2",
)
GRAMMAR = (
    *(RestartWorkload, RollBackWorkload, ScaleWorkload, DeletePod, Investigate, DiagnoseHost, RestartUnit, RestartContainer),
    *(RestartComposeService, PruneImages, PruneVolumes, PruneSystem, ReloadNginx, RenewCertificates),
)


@st.composite
def _bent(draw: st.DrawFn) -> str:
    """An accepted spelling with something put into it: a metacharacter, a word of the grammar, or any text."""
    text = draw(st.sampled_from(ACCEPTED))
    put = draw(st.sampled_from(META) | st.sampled_from(WORDS) | st.text(max_size=20))
    place, cut = draw(st.integers(0, len(text))), draw(st.integers(0, 3))
    return text[:place] + put + text[place + cut :]


TEXTS = st.text() | st.lists(st.sampled_from(WORDS) | st.text(max_size=10), max_size=9).map(" ".join) | _bent()


@given(TEXTS, st.sampled_from([TARGET, HOST]))
def test_no_text_yields_an_action_outside_the_grammar_or_on_another_target_unsaid(text: str, target: Target) -> None:
    try:
        found = parse(text, target, SEEN if target is TARGET else None)
    except ParseFailure:
        return
    there = found.action.target
    assert isinstance(found.action, GRAMMAR)
    assert there.cluster == target.cluster
    assert (
        found.elsewhere
        or there == target
        or (isinstance(found.action, DeletePod) and found.action.uid in ("uid-api-1-abc", "uid-api-1-def"))
    )
    if there not in (target, POD, POD_2):
        assert there.name in text.lower()


@pytest.mark.parametrize("text", ACCEPTED)
def test_a_shell_metacharacter_anywhere_inside_is_refused(text: str) -> None:
    target, seen = (HOST, None) if text.startswith(("systemctl", "docker", "certbot", "nginx", "df")) else (TARGET, SEEN)
    parse(text, target, seen)
    for meta in META:
        for place in range(1, len(text)):
            with pytest.raises(ParseFailure):
                parse(text[:place] + meta + text[place:], target, seen)


@pytest.mark.parametrize("text", ["NO_ACTION; reboot", "INVESTIGATE $(reboot) | sh", "OBSERVE `reboot`"])
def test_words_after_a_word_for_looking_are_words_and_only_looked_at(text: str) -> None:
    assert isinstance(parse(text, TARGET, SEEN).action, Investigate)


def test_a_failure_quotes_the_text_without_its_secrets_and_control_characters() -> None:
    with pytest.raises(ParseFailure) as caught:
        parse("curl -H 'Authorization: Bearer abcdef0123456789abcdef' \x1b[31m\u202ehttps://example.org", TARGET)
    assert "abcdef0123456789" not in str(caught.value)
    assert "\x1b" not in caught.value.text
    assert "\u202e" not in caught.value.text
    assert caught.value.text.startswith("curl")


@given(st.sampled_from(["restart", "scale", "roll back"]), st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True))
def test_what_describe_says_of_an_action_is_an_accepted_spelling(verb: str, name: str) -> None:
    target = Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name=name)
    actions: dict[str, Action] = {
        "restart": RestartWorkload(target=target),
        "scale": ScaleWorkload(target=target, replicas=4),
        "roll back": RollBackWorkload(target=target, to_revision=2),
    }
    assert parse(describe(actions[verb]), TARGET, SEEN).action == actions[verb]
