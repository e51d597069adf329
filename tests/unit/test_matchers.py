"""Alertmanager's matchers: its syntax, its meaning, and no value that takes long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.matchers import Matcher, MatcherWrong, Sign, parse_selector, write_selector

HOSTILE = "a" * 4096 + "!"


@pytest.mark.parametrize(
    ("text", "matchers"),
    [
        ('alertname="X"', [("alertname", "=", "X")]),
        ("alertname=X", [("alertname", "=", "X")]),
        ('{alertname="X",namespace=~"shop|pay"}', [("alertname", "=", "X"), ("namespace", "=~", "shop|pay")]),
        (' { a = "1" , b != "2", } ', [("a", "=", "1"), ("b", "!=", "2")]),
        (r'a="quo\"te, \\ and \n"', [("a", "=", 'quo"te, \\ and \n')]),
        (r'a=~"\\d+"', [("a", "=~", r"\d+")]),
        (r'a=~"\d+"', [("a", "=~", r"\d+")]),
        ('a=""', [("a", "=", "")]),
        ('"with space"="x"', [("with space", "=", "x")]),
        ('a!~"x.*"', [("a", "!~", "x.*")]),
    ],
)
def test_what_is_written_as_in_alertmanager_is_understood(text: str, matchers: list[tuple[str, str, str]]) -> None:
    assert parse_selector(text) == tuple(Matcher(name, Sign(sign), value) for name, sign, value in matchers)


@pytest.mark.parametrize(
    ("text", "offset", "reason"),
    [
        ("", 0, "there is no matcher"),
        ("{}", 0, "there is no matcher"),
        ("a", 1, "one of = != =~ !~"),
        ("a==b", 2, "a value"),
        ('a="b', 2, "a closing quote"),
        ('a="b" c="d"', 6, "a comma"),
        ('{a="b"', 6, "the closing brace is missing"),
        ('a="b"}', 5, "without an opening one"),
        ('{a="b"} x', 7, "nothing may follow"),
        ('1a="b"', 0, "the name of a label"),
        ('a=~"("', 3, "is no regular expression: missing )"),
        ('a=~"(?=x)"', 3, "is no regular expression"),
        ('a=~"(x{1000}){1000}"', 3, "is no regular expression"),
        (f'a="{"x" * 1025}"', 2, "1024 are allowed"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, offset: int, reason: str) -> None:
    with pytest.raises(MatcherWrong) as wrong:
        parse_selector(text)
    assert reason in str(wrong.value)
    assert wrong.value.offset == offset


@pytest.mark.parametrize(
    ("text", "labels", "holds"),
    [
        ('a=~"sho"', {"a": "shop"}, False),
        ('a=~"sho."', {"a": "shop"}, True),
        ('a=~"x|shop"', {"a": "shops"}, False),
        ('a!~"sho."', {"a": "shop"}, False),
        ('a=""', {}, True),
        ('a!="x"', {}, True),
        ('a=~".+"', {}, False),
        ('a!~".+"', {}, True),
        ('a=~"(a+)+b"', {"a": HOSTILE}, False),
        ('a=~"(a|a)*"', {"a": HOSTILE}, False),
    ],
)
def test_matchers_hold_for_the_whole_value_and_a_label_that_is_missing_is_empty(text: str, labels: dict[str, str], holds: bool) -> None:
    (matcher,) = parse_selector(text)
    assert matcher.holds(labels) is holds


@pytest.mark.parametrize(
    ("text", "literals"),
    [("a=x", ("x",)), ('a=~"x|y z"', ("x", "y z")), ('a=~"(x|y)"', ("x", "y")), ('a=~"x.*"', ()), ("a!=x", ()), ('a=~"(x|y"', None)],
)
def test_a_short_list_of_values_is_known(text: str, literals: tuple[str, ...] | None) -> None:
    if literals is None:
        with pytest.raises(MatcherWrong):
            parse_selector(text)
    else:
        assert parse_selector(text)[0].literals == literals


values = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)


@given(name=st.from_regex(r"\A[a-z_]{1,9}\Z"), value=values, sign=st.sampled_from((Sign.EQUAL, Sign.NOT_EQUAL)))
def test_law_what_is_written_is_read_as_the_same(name: str, value: str, sign: Sign) -> None:
    selector = (Matcher(name, sign, value), Matcher("b", Sign.EQUAL, "c"))
    assert parse_selector(write_selector(selector)) == selector


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_law_any_text_is_a_selector_or_is_refused_with_a_place_in_it(text: str) -> None:
    place = -1
    try:
        found = parse_selector(text)
    except MatcherWrong as wrong:
        found, place = (), wrong.offset
    assert found or 0 <= place <= len(text)
