"""Whom to stop: each rule against the one that follows it."""

import pytest

from aimindserve.core.device import MemoryParts
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.scheduler.retire import Member, choose, shared


def placed(worker="w", device=0, layers=0):
    claims = () if device is None else (Claim(f"{worker}:cuda:{device}", MemoryParts(1), layers),)
    return Placement("p", "s", (Rank(worker, claims),))


def member(name, at=placed(), ready=True, **facts):  # noqa: B008 - a frozen value
    return Member(name, at, ready, **facts)


@pytest.mark.parametrize(
    ("least", "other"),
    [
        (Member("x"), member("a", ready=False, failing=True)),
        (member("x", ready=False), member("a", failing=True, doubtful=True)),
        (member("x", ready=False, failing=True), member("a", ready=False, doubtful=True)),
        (member("x", failing=True), member("a", doubtful=True)),
        (member("x", doubtful=True), member("a", placed(device=None))),
        (member("x", placed(device=None)), member("a", placed(layers=3))),
        (member("x", placed(layers=3)), member("a", placed(layers=30), created_at=9.0)),
        (member("x", created_at=2.0), member("a", created_at=1.0)),
    ],
)
@pytest.mark.parametrize("strategy", ["spread", "binpack"])
def test_the_one_that_would_be_missed_least(least, other, strategy):
    assert choose([other, least], 1, strategy) == ("x",)
    assert choose([least, other], 1, strategy) == ("x",)


def test_spread_stops_where_most_are_together_one_after_the_other():
    members = [
        member("a1", placed("a"), created_at=1),
        member("a2", placed("a"), created_at=2),
        member("a3", placed("a"), created_at=3),
        member("b1", placed("b"), created_at=4),
        member("b2", placed("b"), created_at=5),
    ]
    assert choose(members, 1) == ("a3",)
    assert choose(members, 3) == ("a3", "b2", "a2")


def test_binpack_stops_where_a_device_becomes_whole():
    members = [
        member("alone", placed("a", 0), shared=0, created_at=1),
        member("with-others", placed("b", 0), shared=2, created_at=2),
    ]
    assert choose(members, 1, "binpack") == ("alone",)


def test_no_more_than_there_are_and_never_less_than_none():
    assert choose([member("a")], 5) == ("a",)
    assert choose([member("a")], 0) == ()
    assert choose([member("a")], -1) == ()


def test_claims_of_others_on_the_same_devices_are_counted():
    assert shared(placed("w", 0), [placed("w", 0), placed("w", 1), placed("v", 0)]) == 1
