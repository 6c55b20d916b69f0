"""Choosing, ordering and cutting lists."""

import pytest

from aimindserve.core.errors import InvalidError
from aimindserve.resources._kind import Metadata, Resource
from aimindserve.resources.route import RouteSpec, RouteStatus
from aimindserve.server.query import ListQuery, parse_labels, select


def made(name, created=0.0, **labels):
    meta = Metadata(name=name, id=name, labels=labels, revision=len(name), created_at=created)
    return Resource("route", meta, RouteSpec(), RouteStatus())


OBJECTS = [made("a", 3.0, tier="gold"), made("bb", 1.0, tier="tin"), made("ccc", 2.0, tier="gold")]


def names(**query):
    chosen, total = select(OBJECTS, ListQuery(**query))
    return [each.name for each in chosen], total


def test_pages():
    assert names(per_page=2) == (["a", "bb"], 3)
    assert names(per_page=2, page=2) == (["ccc"], 3)
    assert names(per_page=2, page=3) == ([], 3)


def test_orders():
    assert names(sort="-name")[0] == ["ccc", "bb", "a"]
    assert names(sort="created_at")[0] == ["bb", "ccc", "a"]
    assert names(sort="-revision")[0] == ["ccc", "bb", "a"]
    with pytest.raises(InvalidError):
        names(sort="spec.model")
    with pytest.raises(InvalidError):
        names(sort="--name")


def test_choosing():
    assert names(search="B") == (["bb"], 1)
    assert names(search="GOLD") == (["a", "ccc"], 2)
    assert names(label=("tier=gold",)) == (["a", "ccc"], 2)
    assert names(label=("tier=gold", "tier=tin")) == ([], 0)


def test_labels():
    assert parse_labels(["a=b,c=d", "e="]) == (("a", "b"), ("c", "d"), ("e", ""))
    for bad in ("a", "=b"):
        with pytest.raises(InvalidError):
            parse_labels([bad])
