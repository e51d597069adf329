"""The catalogue of texts: nothing is said in one language only, and nothing is left out in the other."""

from __future__ import annotations

import re
import string

import msgspec
import pytest

from schemas.action import Action, DiagnoseHost, RestartComposeService, RestartUnit, ScaleWorkload, describe
from schemas.target import Kind, Target
from schemas.words import Disposition, Language, Outcome, Probe, Verdict
from stages.notify.texts import TEXTS, action_in, say

TARGET = Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="api")
VALUES = {
    "to_revision": 3,
    "replicas": 4,
    "autoscaler": "api",
    "minimum": 2,
    "maximum": 9,
    "uid": "u",
    "container": "web",
    "memory": "1Gi",
    "unit": "nginx",
    "service": "web",
    "project": "shop",
    "reason": "why",
    "probes": (Probe.PS, Probe.DF),
}
ACTIONS = [kind(target=TARGET, **{name: VALUES[name] for name in kind.__struct_fields__ if name != "target"}) for kind in Action.__args__]


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_have_the_same_placeholders(key: str) -> None:
    text = TEXTS[key]
    assert text.english.strip()
    assert text.chinese.strip()
    assert placeholders(text.english) == placeholders(text.chinese)
    assert "" not in placeholders(text.english), "a placeholder has a name"


def test_every_sentence_is_translated() -> None:
    untranslated = {key for key, text in TEXTS.items() if not re.search(r"[\u4e00-\u9fff]", text.chinese)}
    assert untranslated == {
        "plain",
        "past.one",
        "tried.one",
        "vote.said",
        "judged",
        "ended",
        "press.answer",
        "wanted.how",
        "problem",
        "opened.about",
    } & set(untranslated)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_every_action_is_said_in_both_languages(action: Action) -> None:
    english, chinese = (action_in(language, action) for language in Language)
    assert english == describe(action)
    assert re.search(r"[\u4e00-\u9fff]", chinese)
    assert str(TARGET) in chinese
    template = TEXTS[f"do.{type(action).__name__}"].english
    filled = msgspec.structs.asdict(action) | {"part": "shop/web"} | {"unit": "nginx.service", "probes": "ps, df"}
    assert template.format(**filled) == english


def test_every_word_of_ours_that_is_looked_up_is_there() -> None:
    for language in Language:
        for outcome in Outcome:
            assert say(language, f"outcome.{outcome}")
        for verdict in Verdict:
            assert say(language, f"verdict.{verdict}")
        for disposition in Disposition:
            assert say(language, f"how.{disposition}")


def test_what_is_put_in_is_never_read_as_a_placeholder() -> None:
    scale = ScaleWorkload(target=msgspec.structs.replace(TARGET, name="{replicas}"), replicas=2)
    assert action_in(Language.CHINESE, scale) == "將 deployment shop/{replicas} 調整為 2 個副本"
    assert say(Language.CHINESE, "people", severity="P1", reason="{severity}") == "P1 需要人員處理：{severity}"


def test_values_that_an_action_leaves_out_are_filled() -> None:
    assert action_in(Language.CHINESE, DiagnoseHost(target=TARGET)).count(",") == len(Probe) - 1
    assert "nginx.service" in action_in(Language.CHINESE, RestartUnit(target=TARGET, unit="nginx"))
    assert "shop/web" in action_in(Language.CHINESE, RestartComposeService(target=TARGET, service="web", project="shop"))
