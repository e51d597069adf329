"""The class of a failure by its words, and the risk of an operation by its verb."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.words import FailureClass, Risk
from stages.failure_watch.classify import class_of, risk_of


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ('deployments.apps "api" is forbidden: User cannot patch', FailureClass.PERMISSION),
        ("Permission denied (publickey)", FailureClass.PERMISSION),
        ("the API server answered 401 Unauthorized", FailureClass.PERMISSION),
        ("connection timed out", FailureClass.TIMEOUT),
        ("context deadline exceeded", FailureClass.TIMEOUT),
        ("no answer within 8 s", FailureClass.TIMEOUT),
        ("container web was OOMKilled", FailureClass.RESOURCE),
        ("No space left on device", FailureClass.RESOURCE),
        ("exceeded quota: pods=10", FailureClass.RESOURCE),
        ("Connection refused", FailureClass.NETWORK),
        ("unexpected EOF", FailureClass.NETWORK),
        ("x509: certificate has expired", FailureClass.NETWORK),
        ("replicas 0 of 3 are available", FailureClass.KUBERNETES),
        ("Back-off pulling image sim/web", FailureClass.KUBERNETES),
        ("it went wrong", FailureClass.UNKNOWN),
        ("", FailureClass.UNKNOWN),
    ],
)
def test_the_class_of_an_error(text: str, failure: FailureClass) -> None:
    assert class_of(text) is failure


TEXTS: dict[str, list[tuple[str, str]]] = yaml.safe_load((Path(__file__).parents[1] / "data" / "failures.yaml").read_text())


@pytest.mark.parametrize("origin", TEXTS)
def test_real_errors_get_their_class(origin: str) -> None:
    found = {text: class_of(text).value for text, _ in TEXTS[origin]}
    assert found == dict(TEXTS[origin])


def test_there_are_many_real_errors_of_every_class() -> None:
    known = [failure for rows in TEXTS.values() for _, failure in rows]
    assert len(known) >= 60
    assert {*known} == {failure.value for failure in FailureClass}


def test_the_first_text_that_says_anything_decides() -> None:
    assert class_of("it went wrong", "connection refused", "forbidden") is FailureClass.NETWORK


@given(st.text())
def test_any_text_has_a_class(text: str) -> None:
    assert class_of(text) in FailureClass


@pytest.mark.parametrize(
    ("operation", "risk"),
    [
        ("delete", Risk.CRITICAL),
        ("drop the table", Risk.CRITICAL),
        ("force-restart", Risk.CRITICAL),
        ("scale", Risk.MEDIUM),
        ("rollback", Risk.MEDIUM),
        ("patch", Risk.MEDIUM),
        ("Roll back, then restart", Risk.MEDIUM),
        ("rollback, then restart", Risk.MEDIUM),
        ("scale, then restart", Risk.MEDIUM),
        ("update", Risk.MEDIUM),
        ("update, then restart", Risk.MEDIUM),
        ("patch, then clear", Risk.MEDIUM),
        ("restart", Risk.LOW),
        ("restart-unit", Risk.LOW),
        ("refresh", Risk.LOW),
        ("reload-nginx", Risk.LOW),
        ("clear-cache", Risk.LOW),
        ("truncate-log", Risk.LOW),
        ("prune-volumes", Risk.CRITICAL),
        ("cordon", Risk.MEDIUM),
    ],
)
def test_the_risk_of_an_operation(operation: str, risk: Risk) -> None:
    assert risk_of(operation) is risk
