"""Patches, differences and marks: laws of the pure parts of the Kubernetes adapter."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.kubernetes.marks import EARLIER, OPERATION, TOKEN, carries, marked, token_of
from adapters.kubernetes.resources import is_name
from adapters.kubernetes.trees import difference, merge_patch
from ops.sandbox.patches import merged
from schemas.action import rerun_name

names = st.text("abc", min_size=1, max_size=2)
leaves = st.integers() | st.booleans() | st.text("xyz", max_size=3)
trees = st.recursive(
    st.dictionaries(names, leaves, max_size=4),
    lambda inner: st.dictionaries(names, leaves | inner | st.lists(leaves | inner, max_size=3), max_size=4),
    max_leaves=12,
)
operations = st.text("0123456789abcdef-", min_size=1, max_size=12)


@given(trees, trees)
def test_a_merge_patch_makes_one_tree_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, merge_patch(before, after)) == after


@given(trees)
def test_nothing_changed_needs_no_patch(tree: dict[str, Any]) -> None:
    assert merge_patch(tree, tree) == {}
    assert difference(tree, tree) == ""


def test_a_difference_reads_by_name_and_hides_values_of_the_environment() -> None:
    def pod(image: str, value: str) -> dict[str, Any]:
        container = {"name": "web", "image": image, "env": [{"name": "API_KEY", "value": value}]}
        return {"metadata": {"resourceVersion": image, "annotations": {"mendstream.dev/token": image}}, "spec": {"containers": [container]}}

    lines = difference(pod("a:1", "first-secret"), pod("a:2", "second-secret")).splitlines()

    assert lines == [
        "- spec.containers[web].env[API_KEY].value: ***",
        "+ spec.containers[web].env[API_KEY].value: ***",
        "- spec.containers[web].image: a:1",
        "+ spec.containers[web].image: a:2",
    ]


def test_a_difference_hides_what_its_name_or_the_option_before_it_calls_a_secret() -> None:
    def pod(value: str) -> dict[str, Any]:
        arguments = ["serve", "--password", value, "--mode", value, f"--token={value}"]
        annotations = {"example.com/db-password": value, "note": value}
        return {"metadata": {"annotations": annotations}, "spec": {"args": arguments, "secretName": value}}

    lines = difference({}, pod("hunter2")).splitlines()

    assert lines == [
        "+ metadata.annotations.note: hunter2",
        "+ metadata.annotations[example.com/db-password]: ***",
        "+ spec.args[0]: serve",
        "+ spec.args[1]: --password",
        "+ spec.args[2]: ***",
        "+ spec.args[3]: --mode",
        "+ spec.args[4]: hunter2",
        "+ spec.args[5]: --token=***",
        "+ spec.secretName: hunter2",
    ]


def test_a_difference_shows_that_a_secret_was_changed() -> None:
    assert difference({"password": "one"}, {"password": "two"}) == "- password: ***\n+ password: ***"


def test_a_difference_is_bounded_and_printable() -> None:
    after = {"spec": {f"field{number:03}": "\x1b[31m" + "x" * 500 for number in range(100)}}
    lines = difference({}, after).splitlines()
    assert len(lines) == 40
    assert lines[-1] == "… and 61 more lines"
    assert all(len(line) <= 162 for line in lines)
    assert "\x1b" not in "".join(lines)


@given(st.lists(operations, min_size=1, max_size=8, unique=True))
def test_eight_operations_are_remembered(done: list[str]) -> None:
    annotations: dict[str, str] = {"team": "shop"}
    for number, operation in enumerate(done, 1):
        annotations = marked(annotations, operation, number)
    assert annotations["team"] == "shop"
    assert annotations[OPERATION] == done[-1]
    assert token_of(annotations) == len(done)
    assert all(carries(annotations, operation) is True for operation in done)
    assert carries(annotations, "another") is False


def test_what_may_be_forgotten_is_not_denied() -> None:
    annotations: dict[str, str] = {}
    for number in range(12):
        annotations = marked(annotations, f"operation-{number}", number)
    assert len(annotations[EARLIER].split(",")) == 8
    assert carries(annotations, "operation-0") is None
    assert carries(annotations, "operation-5") is True


def test_nothing_is_forgotten_of_an_operation_that_began_after_the_newest_mark() -> None:
    annotations: dict[str, str] = {}
    for number in range(1, 13):
        annotations = marked(annotations, f"operation-{number}", number)
    assert carries(annotations, "operation-13", 13) is False
    assert carries(annotations, "operation-1", 1) is None
    assert carries(annotations, "operation-0", 12) is None, "what began together with the newest is in doubt"
    assert carries(annotations, "operation-5", 99) is True
    for text in ("", "none"):
        assert carries(annotations | {TOKEN: text}, "operation-13", 13) is None, "a token that somebody removed says nothing"


@given(st.text(max_size=30))
def test_a_token_that_is_no_number_fences_nobody_off(text: str) -> None:
    assert token_of({"mendstream.dev/token": text}) >= 0


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,250}[a-z0-9])?", fullmatch=True), operations)
def test_the_name_of_a_rerun(job: str, operation: str) -> None:
    name = rerun_name(job, operation)
    assert name == rerun_name(job, operation)
    assert is_name(name)
    assert len(name) <= 63


@given(st.text(max_size=40))
def test_only_names_shape_paths(text: str) -> None:
    if is_name(text):
        assert not set(text) - set("abcdefghijklmnopqrstuvwxyz0123456789.-")
        assert text not in (".", "..")
