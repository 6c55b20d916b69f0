import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimindserve.wire.errors import Failure
from aimindserve.wire.exchange import Exchange
from aimindserve.wire.limits import UpstreamLimits
from aimindserve.wire.link import Link
from aimindserve.wire.origin import Origin
from unit.wire.fakes import MemoryTransport


class Owner:
    def __init__(self, limits=None, resend=False):
        self.limits = limits or UpstreamLimits()
        self.now = 0.0
        self.told = []
        self.resend = resend

    def idle(self, link):
        self.told.append("idle")

    def gone(self, link):
        self.told.append("gone")

    def unanswered(self, exchange, link):
        self.told.append("unanswered")
        return self.resend


class Answer:
    def __init__(self):
        self.head = None
        self.data = b""
        self.ended = False
        self.failures = []

    def on_head(self, head):
        assert self.head is None
        self.head = head

    def on_data(self, data, ended):
        assert not self.ended
        self.data += data
        self.ended = ended

    def on_whole(self, head, data):
        self.on_head(head)
        self.on_data(data, True)

    def on_failure(self, error):
        self.failures.append(error.kind)


def begun(body=b"", *, owner=None, bodyless=False):
    owner = owner or Owner()
    transport = MemoryTransport()
    link = transport.connect(Link(owner, Origin("h", 1)))
    answer = Answer()
    exchange = Exchange(b"GET / HTTP/1.1\r\n\r\n", body, answer)
    exchange.bodyless_answer = bodyless
    link.carry(exchange)
    return link, transport, owner, answer, exchange


COUNTED = b"HTTP/1.1 200 Fine\r\nX-A: b\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
    b"2\r\nhe\r\n3;e\r\nllo\r\n0\r\nt: u\r\n\r\n"
)


@given(st.sampled_from([COUNTED, CHUNKED]), st.lists(st.integers(1, 40), max_size=8))
def test_answers_in_any_pieces(stream, cuts):
    link, transport, owner, answer, _ = begun()
    for size in cuts:
        piece, stream = stream[:size], stream[size:]
        if piece:
            link.data_received(piece)
    if stream:
        link.data_received(stream)
    assert (answer.data, answer.ended) == (b"hello", True)
    assert answer.head.lines == [b"X-A: b\r\n"]
    assert answer.head.index[b"x-a"] == b"b"
    assert owner.told == ["idle"]
    assert not transport.closed


def test_one_read_is_one_call():
    link, _, _, answer, _ = begun()
    calls = []
    answer.on_data = lambda data, ended: calls.append((data, ended))
    link.data_received(CHUNKED)
    assert calls == [(b"hello", True)]


def test_head_and_reason_are_as_sent():
    link, _, _, answer, _ = begun()
    link.data_received(COUNTED)
    assert (answer.head.status, answer.head.reason, answer.head.length) == (200, b"Fine", 5)


def test_informational_answers_are_skipped():
    link, _, _, answer, _ = begun()
    link.data_received(b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + COUNTED)
    assert answer.head.status == 200
    assert answer.head.lines == [b"X-A: b\r\n"]


def test_an_answer_without_length_ends_with_the_connection():
    link, transport, owner, answer, _ = begun()
    link.data_received(b"HTTP/1.1 200 OK\r\n\r\nsome")
    assert not answer.ended
    transport.close()
    assert (answer.data, answer.ended) == (b"some", True)
    assert "idle" not in owner.told


@pytest.mark.parametrize("body", [b"", b"he"])
def test_a_cut_answer_is_a_failure(body):
    link, transport, _, answer, _ = begun()
    link.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" + body)
    transport.close()
    assert answer.failures == [Failure.LOST]
    assert not answer.ended


def test_a_connection_lost_before_any_byte_may_be_tried_again_by_the_pool():
    _, transport, _, answer, _ = begun(owner=Owner(resend=True))
    transport.close()
    assert answer.failures == []
    _, transport, _, answer, _ = begun(owner=Owner(resend=False))
    transport.close()
    assert answer.failures == [Failure.LOST]


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n",
    ],
    ids=range(8),
)
def test_garbage_is_a_failure_and_closes(garbage):
    link, transport, _, answer, _ = begun()
    link.data_received(garbage)
    assert answer.failures == [Failure.GARBAGE]
    assert transport.aborted


def test_more_than_was_asked_for_is_not_kept():
    link, transport, _, answer, _ = begun()
    link.data_received(COUNTED)
    link.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert transport.closed
    assert answer.data == b"hello"


def test_close_is_honoured():
    link, transport, owner, answer, _ = begun()
    link.data_received(COUNTED.replace(b"keep-alive", b"close"))
    assert answer.ended
    assert transport.closed
    assert "idle" not in owner.told


def test_head_answers_have_no_body():
    link, transport, _, answer, _ = begun(bodyless=True)
    link.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n")
    assert answer.ended
    assert answer.head.length == 500
    assert transport.closed


def test_204_is_complete():
    link, _, owner, answer, _ = begun()
    link.data_received(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert answer.ended
    assert owner.told == ["idle"]


def test_cancelling_closes_at_once_and_says_nothing():
    link, transport, _, answer, exchange = begun()
    link.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe")
    exchange.cancel()
    assert transport.aborted
    assert answer.failures == []


def test_an_answer_that_takes_too_long_is_a_failure_where_that_is_limited():
    link, _, _, answer, _ = begun(owner=Owner(UpstreamLimits(head_timeout_s=5)))
    link.check(4)
    assert answer.failures == []
    link.check(6)
    assert answer.failures == [Failure.TIMEOUT]


def test_a_streamed_body_begins_when_the_connection_is_there():
    owner, transport, answer = Owner(), MemoryTransport(), Answer()
    exchange = Exchange(b"HEAD", None, answer)
    exchange.on_drain = lambda: exchange.write_body(b"BODY", ended=True)
    transport.connect(Link(owner, Origin("h", 1))).carry(exchange)
    assert transport.written == b"HEADBODY"


def test_an_answer_before_the_end_of_a_streamed_body_ends_the_connection():
    owner, transport, answer = Owner(), MemoryTransport(), Answer()
    link = transport.connect(Link(owner, Origin("h", 1)))
    link.carry(Exchange(b"HEAD", None, answer))
    link.data_received(COUNTED)
    assert answer.ended
    assert transport.closed


def test_answers_read_the_same_when_their_head_comes_again():
    owner, transport = Owner(), MemoryTransport()
    link = transport.connect(Link(owner, Origin("h", 1)))
    heads = set()
    for body in (b"hello", b"hello", b"", b"goodbye", b"hello"):
        answer = Answer()
        link.carry(Exchange(b"", b"", answer))
        link.data_received(
            COUNTED.replace(b"Length: 5", b"Length: %d" % len(body)).replace(b"hello", body)
        )
        assert (answer.data, answer.ended, answer.head.length) == (body, True, len(body))
        assert answer.head.index[b"content-length"] == b"%d" % len(body)
        heads.add((answer.head.status, answer.head.reason, *answer.head.lines))
    assert heads == {(200, b"Fine", b"X-A: b\r\n")}
    assert owner.told == ["idle"] * 5


def test_a_recognised_head_does_not_hide_what_another_exchange_drops():
    owner, transport = Owner(), MemoryTransport()
    link = transport.connect(Link(owner, Origin("h", 1)))
    for drop, lines in ((frozenset(), 3), (frozenset({b"x-a"}), 2), (frozenset(), 3)):
        answer = Answer()
        link.carry(Exchange(b"", b"", answer, drop))
        link.data_received(COUNTED)
        assert len(answer.head.lines) == lines
