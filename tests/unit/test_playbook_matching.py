"""Which playbook fits an incident: its parts, their weights, and what comes near."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.words import Severity
from stages.propose.playbooks.index import SHOWN, Index
from stages.propose.playbooks.similarity import WEIGHTS, fit, words_of
from stages.propose.playbooks.source import subject_of
from tests.unit.playbook_cases import OPTIONS, case, matches, playbook, row
from tests.unit.snapshots import TARGET, pod, snapshot

CRASHING = snapshot(pod("a", "crash"), services=("api", "pay"))


def names(found: tuple[object, ...]) -> list[str]:
    return [one.entry.row.name for one in found]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("alerts", "fits"),
    [
        ("alertname=A", True),
        ('alertname=~"A|B"', True),
        ('alertname=~"A.*"', True),
        ("namespace=shop", True),
        ("alertname=A, namespace=shop", True),
        ("alertname=A, namespace=pay", False),
        ('alertname=A, namespace!~"shop|pay"', False),
        ("alertname=A, namespace=shop, pod=a, job=other", False),
        ("alertname=B", False),
    ],
)
def test_all_matchers_of_one_selector_have_to_hold_for_one_alert(alerts: str, fits: bool) -> None:
    about = case(CRASHING, "A", namespace="shop", pod="a", job="kube-state-metrics")
    assert bool(matches(about, playbook(alerts=alerts)).fitting) is fits


def test_matchers_of_one_selector_hold_for_one_alert_and_not_for_two_together() -> None:
    about = case(CRASHING, labels=({"alertname": "A", "tier": "web"}, {"alertname": "B", "tier": "data"}))
    assert not matches(about, playbook(alerts="alertname=A, tier=data")).fitting
    (found,) = matches(about, playbook(alerts="alertname=B, tier=data")).fitting
    assert found.labels["alertname"] == "B"


@pytest.mark.parametrize(
    ("symptoms", "similarity"),
    [
        ("{alerts: [alertname=A]}", 1),
        ("{alerts: [alertname=A], severities: [P1, P2]}", 1),
        ("{alerts: [alertname=A], severities: [P0]}", 0.35 / 0.52),
        ("{alerts: [alertname=A], services: [pay]}", 1),
        ("{alerts: [alertname=A], services: [pay, web]}", (0.35 + 0.17 / 2) / 0.52),
        ("{alerts: [alertname=A], services: [web]}", 0.35 / 0.52),
        ("{alerts: [alertname=A], evidence: [evidence.pods.crashing > 0]}", 1),
        ("{alerts: [alertname=A], evidence: [evidence.pods.crashing > 1]}", 0.35 / 0.66),
        ("{alerts: [alertname=A], evidence: [evidence.pods.crashing > 0, evidence.job.failed == true]}", (0.35 + 0.31 / 4) / 0.66),
        ("{alerts: [alertname=A], targets: [prod/shop/Deployment/api]}", 1),
        ("{alerts: [alertname=A], targets: [prod/shop/Deployment/web]}", 0.5),
        ("{alerts: [alertname=B]}", 0),
    ],
)
def test_the_similarity_is_the_weighted_mean_of_what_is_stated(symptoms: str, similarity: float) -> None:
    (entry,) = Index([row(playbook(symptoms=symptoms))])._by_name.popitem()[1]
    found = fit(entry, subject_of(case(CRASHING, "A"), OPTIONS))
    assert found.similarity == pytest.approx(similarity, abs=1e-4)
    assert all(share.why for share in found.shares)
    assert {share.part for share in found.shares} <= set(WEIGHTS)


def test_with_any_other_part_stated_an_alert_a_condition_or_a_severity_that_does_not_fit_is_enough_to_fail() -> None:
    wrong = {"alerts": 0.5, "evidence": 0.5, "severity": 0.0}
    for stated in product((True, False), repeat=len(WEIGHTS)):
        parts = [part for part, said in zip(WEIGHTS, stated, strict=True) if said or part == "alerts"]
        whole = sum(WEIGHTS[part] for part in parts)
        for part in wrong.keys() & set(parts):
            assert (whole - WEIGHTS[part] * (1 - wrong[part])) / whole < OPTIONS.similarity


def test_the_one_that_states_more_comes_first_then_the_one_that_did_better() -> None:
    wide, narrow = playbook("wide"), playbook("narrow", "alertname=A, namespace=shop")
    tried, untried = row(playbook("tried"), trust=0.9), row(playbook("untried"))
    about = case(CRASHING, "A", namespace="shop")
    assert names(matches(about, wide, narrow).fitting) == ["narrow", "wide"]
    assert names(matches(about, untried, tried).fitting) == ["tried", "untried"]


def test_what_nearly_fits_says_what_it_lacks_and_never_proposes() -> None:
    books = [
        playbook("severe", symptoms="{alerts: [alertname=KubePodCrashLooping], severities: [P0]}"),
        playbook("elsewhere", "alertname=KubePodCrashLooping, namespace=pay"),
        playbook("alike", "alertname=KubePodCrashLoopingOften"),
        playbook("other", "alertname=NodeDown"),
    ]
    found = matches(case(CRASHING, "KubePodCrashLooping", namespace="shop"), *books)
    assert not found.fitting
    assert names(found.near) == ["severe", "alike"]
    assert found.near[0].lacks == "severity P2 is none of P0"
    assert "does not hold for alert KubePodCrashLooping" in found.near[1].lacks


def test_one_that_is_not_understood_is_told_and_keeps_no_other_from_proposing(caplog: pytest.LogCaptureFixture) -> None:
    odd = playbook("odd")
    odd = msgspec.structs.replace(odd, symptoms=msgspec.structs.replace(odd.symptoms, alerts=("nonsense",)))
    assert names(matches(case(CRASHING, "A"), odd, playbook("even")).fitting) == ["even"]
    assert "playbook odd version 1 is left out" in caplog.text


def test_only_the_nearest_are_shown() -> None:
    books = [playbook(f"p{number}", symptoms="{alerts: [alertname=A], severities: [P0]}") for number in range(9)]
    assert len(matches(case(CRASHING, "A"), *books).near) == SHOWN


def test_the_words_of_an_alert() -> None:
    assert words_of("KubePodCrashLooping") == {"kube", "pod", "crash", "looping"}
    assert words_of("CPUThrottlingHigh") == {"cpu", "throttling", "high"}


@given(st.lists(st.sampled_from(["A", "B", "C", "D"]), min_size=1, max_size=4), st.sampled_from(Severity))
def test_law_the_index_finds_what_a_look_at_every_playbook_finds(alerts: list[str], severity: Severity) -> None:
    selectors = ["alertname=A", 'alertname=~"B|C"', 'alertname=~"[AD]"', "namespace=shop", 'alertname!="A"', "alertname=A, namespace=pay"]
    rows = [row(playbook(f"p{number}", text)) for number, text in enumerate(selectors)]
    about = case(snapshot(pod("a"), target=TARGET), *alerts, severity=severity, namespace="shop")
    alone = {name for one in rows for name in names(matches(about, one).fitting)}
    assert set(names(matches(about, *rows).fitting)) == alone
