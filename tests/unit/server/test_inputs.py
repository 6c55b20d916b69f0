"""What requests may say, and RFC 7396 by its own examples."""

import pytest

from aimindserve.core.errors import InvalidError
from aimindserve.resources._all import kinds
from aimindserve.resources._kind import secret_fields
from aimindserve.server.inputs import (
    check_labels,
    check_name,
    hidden_or_owned,
    merge_patch,
    new_spec,
    read_input,
    read_patch,
)

# The table in appendix A of RFC 7396.
EXAMPLES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), EXAMPLES)
def test_merge_patch(target, patch, result):
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "a-", "a/b", "a b", "é", "a" * 64, "a\n", "..", "."]
)
def test_names_that_are_none(name):
    with pytest.raises(InvalidError):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "0", "a.b_c-d", "a" * 63])
def test_names(name):
    check_name(name)


@pytest.mark.parametrize(
    "labels",
    [
        {"": "x"},
        {"a b": "x"},
        {"a": "x\n"},
        {"a": "-x"},
        {"a": "x" * 129},
        {"a": "\x1b[0m"},
        {"a": "<b>"},
        {f"k{n}": "v" for n in range(65)},
    ],
)
def test_labels_that_are_none(labels):
    with pytest.raises(InvalidError):
        check_labels(labels)


def test_labels():
    check_labels({"team": "", "example.com/tier": "gold", "a": "registry:5000/x@y+z"})


def test_unknown_parts_of_a_request_are_refused():
    kind = kinds()["deployment"]
    for document in (
        {"metadata": {"name": "a"}, "status": {}},
        {"metadata": {"name": "a", "uid": "x"}},
        {"metadata": "x"},
        {"kind": "worker", "metadata": {"name": "a"}},
        {"spec": []},
    ):
        with pytest.raises(InvalidError):
            read_input(document, kind)


def test_patches_reach_only_labels_and_spec():
    kind = kinds()["deployment"]
    assert read_patch({"spec": {"replicas": 1}, "metadata": {"revision": 4}}, kind) == (
        {},
        {"replicas": 1},
        4,
    )
    for document in (
        {"status": {}},
        {"metadata": {"name": "b"}},
        {"metadata": {"revision": "4"}},
        {"metadata": {"revision": True}},
        {"spec": 4},
        {"metadata": {"labels": []}},
        {"kind": "user"},
    ):
        with pytest.raises(InvalidError):
            read_patch(document, kind)


@pytest.mark.parametrize("kind", list(kinds().values()), ids=lambda kind: kind.name)
def test_no_kind_takes_a_secret_from_a_request(kind):
    assert secret_fields(kind.spec) <= hidden_or_owned(kind)
    for field in hidden_or_owned(kind):
        with pytest.raises(InvalidError) as caught:
            new_spec(kind, "a", {field: "x"})
        assert caught.value.params["fields"] == [f"spec.{field}"]
