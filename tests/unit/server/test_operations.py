"""The table of operations: what matches what."""

import pytest

from aimindserve.server.operations import Audience, Operation, Table, routing_order


def made(method, path):
    async def endpoint(request):
        raise NotImplementedError

    return Operation(method, path, endpoint, Audience.ADMIN, f"{method}{path}", "s", "t")


OPERATIONS = [
    made("GET", "/a/{name}"),
    made("POST", "/a/b"),
    made("GET", "/a/{name}/c"),
    made("GET", "/a"),
    made("DELETE", "/a/{name}"),
]


def found(method, path):
    operation, values = Table.of(OPERATIONS).find(method, path)
    return (operation.path, dict(values)) if operation else None


def test_literal_paths_win_and_leave_the_rest():
    assert found("POST", "/a/b") == ("/a/b", {})
    assert found("GET", "/a/b") == ("/a/{name}", {"name": "b"})
    assert found("GET", "/a/x/c") == ("/a/{name}/c", {"name": "x"})
    assert [each.path for each in routing_order(OPERATIONS)][:2] == ["/a/b", "/a"]


@pytest.mark.parametrize("path", ["", "/", "/a/", "//a", "/a//c", "/A", "/a/x/c/", "/a/x/d", "a"])
def test_nothing_else_matches(path):
    assert found("GET", path) is None


def test_methods_of_a_path():
    table = Table.of(OPERATIONS)
    assert table.methods("/a/b") == ["DELETE", "GET", "POST"]
    assert table.methods("/nothing") == []


def test_two_of_a_kind_are_refused():
    with pytest.raises(ValueError, match="twice"):
        Table.of([made("GET", "/a/{name}"), made("GET", "/a/{name}")])
