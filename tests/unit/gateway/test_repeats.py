"""A client that sends the same head again: answered quickly, and believed no longer than is right.

The gateway's door, a client's connection and a worker's link, joined in memory.
"""

import json
import sys
from types import SimpleNamespace

import pytest

from aimindserve.gateway.admit import Doorkeeper
from aimindserve.gateway.config import BodyLimits, CorsConfig
from aimindserve.gateway.cors import Cors
from aimindserve.gateway.door import Door
from aimindserve.gateway.meter import Meter
from aimindserve.gateway.proxy import Proxy
from aimindserve.gateway.request_ids import RequestIds
from aimindserve.gateway.table import build
from aimindserve.wire.limits import UpstreamLimits
from aimindserve.wire.link import Link
from integration.gateway.world import (
    ANSWER,
    KEY,
    PEPPER,
    api_key,
    documents,
    instance,
    route,
    worker,
)
from unit.wire.fakes import MemoryTransport, bodies, client

CALLS = 50
"""Calls of Python functions for a request whose head came before. A guard against creeping growth:
each costs about a quarter of a microsecond, nginx takes some ten for all of a request."""
DOCS = documents(1) | {
    "route": {"tiny": route(("tiny", 1)), "twin": route(("tiny", 1))},
    "api-key": {"k1": api_key(), "k2": api_key("second", expires_at=50.0)},
}
HEAD = (
    "POST /v1/chat/completions?x=1 HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key}\r\n"
    "content-type: application/json\r\naccept: a/b\r\ncontent-length: {length}\r\n\r\n"
)
FIELDS = b"content-type: application/json\r\nx-engine: 1\r\n"


def ask(model="tiny", words="", key=KEY):
    body = json.dumps({"model": model, "messages": words})
    return (HEAD.format(key=key, length=len(body)) + body).encode()


class Workers:
    """In the place of the pool: one kept connection, to whatever origin."""

    limits = UpstreamLimits()
    now = 0.0

    def __init__(self):
        self.transport = MemoryTransport()
        self.link = self.transport.connect(Link(self, None))
        self.asked = []

    def send(self, origin, exchange):
        self.asked.append((origin.port, exchange.head, exchange.body))
        assert self.link.carry(exchange)

    def idle(self, link):
        pass

    def answer(self, body=ANSWER):
        head = b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (FIELDS, len(body))
        self.link.data_received(head + body)


class House:
    """A door that one client knocks at."""

    def __init__(self):
        self.now = 10.0
        self.spawned = []
        clock = SimpleNamespace(now=lambda: self.now, monotonic=lambda: self.now)
        self.workers = Workers()
        tasks = SimpleNamespace(spawn=self.spawn)
        self.proxy = Proxy(self.workers, Meter(), clock, tasks, BodyLimits(), 5.0, build(DOCS, 1))
        keeper = Doorkeeper(PEPPER, trust_localhost=False)
        door = Door(self.proxy, None, keeper, Cors(CorsConfig()), lambda: "", RequestIds())
        self.connection, self.transport, _ = client(door)

    def spawn(self, work, *, name):
        work.close()
        self.spawned.append(name)

    def ask(self, data):
        before = len(self.workers.asked)
        self.connection.data_received(data)
        if len(self.workers.asked) > before:
            self.workers.answer()
        return bodies(self.transport.written)[-1] if self.transport.written else None


@pytest.fixture
def house():
    return House()


def test_every_request_is_told_anew(house):
    for words in ("", "a", "b" * 1000, "", "c"):
        assert house.ask(ask(words=words)) == (200, ANSWER)
    ids = set()
    for (port, head, body), words in zip(
        house.workers.asked, ("", "a", "b" * 1000, "", "c"), strict=True
    ):
        assert (port, json.loads(body)["messages"]) == (1, words)
        line, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
        fields = dict(each.split(": ") for each in lines)
        assert line == "POST /v1/chat/completions?x=1 HTTP/1.1"
        ids.add(fields.pop("x-request-id"))
        assert fields == {
            "host": "127.0.0.1:1",
            "x-aims-instance": "tiny-aaaaa",
            "authorization": "Bearer proxy-secret",
            "content-type": "application/json",
            "accept": "a/b",
            "content-length": str(len(body)),
        }
    assert len(ids) == 5
    [tally] = house.proxy.meter.tallies.values()
    assert (tally.requests, tally.prompt_tokens, tally.completion_tokens) == (5, 55, 35)
    assert house.proxy.meter.in_flight == {}


def test_models_take_turns(house):
    for model in ("tiny", "twin", "tiny", "nothing", "tiny"):
        status, _ = house.ask(ask(model))
        assert status == (404 if model == "nothing" else 200)
    counted = {name: tally.requests for name, tally in house.proxy.meter.tallies.items()}
    assert counted == {("k1", "tiny"): 3, ("k1", "twin"): 1}


def test_a_revoked_key_opens_nothing_more(house):
    assert house.ask(ask())[0] == house.ask(ask())[0] == 200
    house.proxy.table = build(DOCS | {"api-key": {}}, 2)
    house.ask(ask())
    assert len(house.workers.asked) == 2
    assert house.spawned == ["gateway.second_look"]


def test_a_key_that_lost_a_model_loses_it_at_once(house):
    assert house.ask(ask())[0] == house.ask(ask())[0] == 200
    narrowed = {"k1": api_key(allowed_models=["twin"])}
    house.proxy.table = build(DOCS | {"api-key": narrowed}, 2)
    assert house.ask(ask())[0] == 403
    assert house.ask(ask("twin"))[0] == 200


def test_a_key_expires_between_two_requests(house):
    assert house.ask(ask(key="second"))[0] == house.ask(ask(key="second"))[0] == 200
    house.now = 50.0
    house.ask(ask(key="second"))
    assert len(house.workers.asked) == 2


def test_a_changed_table_is_followed_at_once(house):
    assert house.ask(ask())[0] == house.ask(ask())[0] == 200
    moved = {"worker": {"w2": worker(2)}, "instance": {"tiny-bbbbb": instance("tiny", "w2")}}
    house.proxy.table = build(DOCS | moved, 2)
    house.ask(ask())
    assert [port for port, _, _ in house.workers.asked] == [1, 1, 2]
    assert b"x-aims-instance: tiny-bbbbb\r\n" in house.workers.asked[-1][1]


def test_another_model_than_the_endpoint_takes_is_refused_every_time(house):
    house.proxy.table = build(
        DOCS | {"route": {"tiny": route(("tiny", 1), categories=("embedding",))}}, 2
    )
    for _ in range(3):
        assert house.ask(ask())[0] == 422


def test_a_request_starts_no_task_and_takes_few_calls(house):
    for _ in range(3):
        house.ask(ask())
    question, calls = ask(), []
    sys.setprofile(
        lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None
    )
    house.connection.data_received(question)
    house.workers.answer()
    sys.setprofile(None)
    assert len(calls) <= CALLS, calls
    assert house.spawned == []
    [tally] = house.proxy.meter.tallies.values()
    assert tally.requests == 4
