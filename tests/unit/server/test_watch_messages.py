"""Several changes of one object become few messages, and none that matters is lost."""

from aimindserve.resources._kind import Metadata, Resource
from aimindserve.resources.route import RouteSpec, RouteStatus
from aimindserve.server.watch import Message, coalesced
from aimindserve.store.base import ChangeType

ADDED, MODIFIED, DELETED = ChangeType.ADDED, ChangeType.MODIFIED, ChangeType.DELETED


def message(revision, kind, name, identity="1"):
    meta = Metadata(name=name, id=identity, revision=revision)
    return Message(revision, kind, Resource("route", meta, RouteSpec(), RouteStatus()))


def short(messages):
    return [(each.revision, each.type, each.resource.name) for each in coalesced(messages)]


def test_the_newest_of_several_changes():
    news = [message(n, MODIFIED, "a") for n in range(1, 6)]
    assert short(news) == [(5, MODIFIED, "a")]


def test_a_new_object_stays_new():
    assert short([message(1, ADDED, "a"), message(2, MODIFIED, "a")]) == [(2, ADDED, "a")]


def test_the_order_is_that_of_revisions():
    news = [message(1, MODIFIED, "a"), message(2, MODIFIED, "b"), message(3, MODIFIED, "a")]
    assert short(news) == [(2, MODIFIED, "b"), (3, MODIFIED, "a")]


def test_births_and_deaths_are_all_told():
    news = [
        message(1, MODIFIED, "a"),
        message(2, DELETED, "a"),
        message(3, ADDED, "a", "2"),
        message(4, MODIFIED, "a", "2"),
        message(5, DELETED, "a", "2"),
    ]
    told = short(news)
    assert [each[1] for each in told if each[1] is not MODIFIED] == [DELETED, ADDED, DELETED]
    assert told[-1] == (5, DELETED, "a")
    assert [each[0] for each in told] == sorted({each[0] for each in told})
