from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimindserve.wire.sse import Event, EventReader, EventTooLargeError, encode_event
from aimindserve.wire.tap import Tap

STREAM = (
    b": hello\n\nid: 7\nevent: a\ndata: one\ndata: two\n\ndata:three\r\n\r\n"
    b"data: four\r\rretry: 5\nunknown\ndata\n\ndata: last, unfinished\n"
)
EVENTS = [
    Event(b"one\ntwo", "a", "7"),
    Event(b"three", "message", "7"),
    Event(b"four", "message", "7"),
    Event(b"", "message", "7"),
]


def pieces_of(stream, cuts):
    for size in cuts:
        if stream[:size]:
            yield stream[:size]
        stream = stream[size:]
    if stream:
        yield stream


@given(st.lists(st.integers(1, 20), max_size=30))
def test_events_in_any_pieces(cuts):
    reader = EventReader()
    found = [event for piece in pieces_of(STREAM, cuts) for event in reader.feed(piece)]
    assert found == EVENTS


@pytest.mark.parametrize("line", [b"x" * 100, b"data: " + b"x" * 100 + b"\n"])
def test_an_event_without_end_is_limited(line):
    reader = EventReader(1000)
    with pytest.raises(EventTooLargeError):
        deque(map(reader.feed, [line] * 100))


def test_what_is_written_can_be_read():
    data = encode_event(b"a\nb", name="n", event_id="3")
    assert EventReader().feed(data) == [Event(b"a\nb", "n", "3")]
    with pytest.raises(ValueError, match="single lines"):
        encode_event(b"", name="a\nb")


@given(st.binary(max_size=600), st.lists(st.integers(1, 90), max_size=20))
def test_a_tap_keeps_both_ends_and_little_more(stream, cuts):
    tap = Tap(head_bytes=50, tail_bytes=60)
    for piece in pieces_of(stream, cuts):
        tap.feed(piece)
    assert tap.size == len(stream)
    assert tap.head() == stream[:50]
    tail = tap.tail()
    assert stream.endswith(tail)
    assert len(tail) >= min(len(stream), 60)
    assert len(tail) <= 50 + 60 + 90
    assert tap.dropped == (tail != stream)
    assert tap.ends_with(stream[-2:])
    assert not tap.ends_with(stream[-2:] + b"!")
