import json
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimindserve.core.errors import BodyInvalidError
from aimindserve.gateway import snapshot
from aimindserve.gateway.meter import Meter, Tally, count
from aimindserve.gateway.multipart import FieldFinder, boundary_of
from aimindserve.gateway.shelf import Shelf, WatchEndedError, read_message
from aimindserve.gateway.usage import read_usage, usage_of
from aimindserve.wire.tap import Tap
from integration.gateway.world import documents


def form(*parts, boundary="xyz"):
    text = b""
    for headers, content in parts:
        text += f"--{boundary}\r\n".encode() + headers + b"\r\n\r\n" + content + b"\r\n"
    return text + f"--{boundary}--\r\n".encode()


FILE = b'Content-Disposition: form-data; name="file"; filename="a name=model.wav"\r\nX: y'
MODEL = b'content-disposition: form-data; name="model"'
AUDIO = b"RIFF\r\n--xy\r\n\r\n--xyzz" + bytes(range(256))
FILE_FIRST = form((FILE, AUDIO), (MODEL, b"whisper"), (b"x: y", b""))
MODEL_FIRST = form((MODEL, b"whisper"), (FILE, AUDIO))


@given(st.sampled_from([FILE_FIRST, MODEL_FIRST]), st.lists(st.integers(1, 80), max_size=20))
def test_the_field_is_found_in_any_pieces(text, cuts):
    finder = FieldFinder(b"xyz", b"model", 1 << 20)
    left = text
    for size in [*cuts, len(text)]:
        if left[:size]:
            finder.feed(left[:size])
        left = left[size:]
    assert finder.value == "whisper"
    assert finder.seen == text


def test_no_more_is_read_than_needed():
    finder = FieldFinder(b"xyz", b"model", 1 << 20)
    finder.feed(MODEL_FIRST[:80])
    assert finder.value == "whisper"


def test_forms_that_are_none():
    finder = FieldFinder(b"xyz", b"model", 1 << 20)
    finder.feed(form((FILE, AUDIO)))
    assert (finder.value, finder.over) == (None, True)
    for content_type in (
        b"",
        b"application/json",
        b"multipart/form-data",
        b"multipart/mixed; boundary=x",
    ):
        with pytest.raises(BodyInvalidError):
            boundary_of(content_type)
    assert boundary_of(b'multipart/form-data; charset=x; boundary="a b"') == b"a b"
    assert boundary_of(b"Multipart/Form-Data;boundary=abc") == b"abc"


@pytest.mark.parametrize(
    "text",
    [
        b"--xyz\r\nx: " + b"a" * 10_000,
        form((MODEL, b"m" * 5000)),
        form(*[(b"x: y", b"z")] * 300),
        b"--xyz\r\n" + FILE + b"\r\n\r\n" + b"a" * 100_000,
    ],
    ids=range(4),
)
def test_forms_are_limited(text):
    finder = FieldFinder(b"xyz", b"model", 50_000)
    with pytest.raises(BodyInvalidError):
        deque(map(finder.feed, (text[at : at + 1000] for at in range(0, len(text), 1000))))


def stream(*events):
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


OPENAI = stream(
    {"choices": [{"delta": {"content": 'say {"usage": {"prompt_tokens": 1}}'}}], "usage": None},
    {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 98}},
)
ANTHROPIC = stream(
    {"type": "message_start", "message": {"usage": {"input_tokens": 25, "output_tokens": 1}}},
    {"type": "message_delta", "usage": {"output_tokens": 15}},
)
LLAMA_CPP = stream({"choices": [], "timings": {"prompt_n": 5, "cache_n": 7, "predicted_n": 9}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OPENAI + b"data: [DONE]\n\n", (20, 98)),
        (ANTHROPIC, (25, 15)),
        (LLAMA_CPP, (12, 9)),
        (stream({"response": {"usage": {"input_tokens": 3, "output_tokens": 4}}}), (3, 4)),
        (stream({"choices": []}), None),
        (b'"usage": {"prompt_tokens": ', None),
        (b'"usage": {"prompt_tokens": "many", "completion_tokens": -1}', None),
        (b'"usage": [1, 2]', None),
        (b"", None),
    ],
    ids=range(9),
)
def test_usage_of_streams(text, expected):
    tap = Tap()
    for at in range(0, len(text), 7):
        tap.feed(text[at : at + 7])
    assert read_usage(tap) == expected


def test_usage_of_whole_answers():
    assert usage_of(b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}') == (3, 4)
    assert usage_of(b'{"usage": {"prompt_tokens": 3, "total_tokens": 3}}') == (3, 0)
    assert usage_of(b'{"usage": {"input_tokens": 3, "output_tokens": 4}}') == (3, 4)
    assert usage_of(b'{"timings": {"prompt_n": 1, "predicted_n": 2}}') == (1, 2)
    assert usage_of(b"RIFF....") is None
    assert usage_of(b"{") is None


def test_usage_at_the_beginning_of_a_huge_answer():
    tap = Tap()
    tap.feed(b'{"object":"list","usage":{"prompt_tokens":6,"total_tokens":6},"data":[')
    for _ in range(100):
        tap.feed(b"0.123456789," * 1000)
    assert tap.dropped
    assert read_usage(tap) == (6, 0)


def test_counting_and_showing():
    meter = Meter()
    tally = meter.tally('k"1', "tiny")
    tally.requests += 1
    count(tally, (3, 4))
    count(tally, None)
    meter.begin("i")
    meter.begin("i")
    meter.end("i")
    text = meter.render({"aims_gateway_connections": 2})
    assert 'aims_gateway_prompt_tokens_total{key="k\\"1",model="tiny"} 3' in text
    assert 'aims_gateway_unmetered_requests_total{key="k\\"1",model="tiny"} 1' in text
    assert 'aims_gateway_in_flight_requests{instance="i"} 1' in text
    assert "aims_gateway_connections 2" in text
    meter.end("i")
    assert meter.in_flight == {}


def test_labels_are_bounded(monkeypatch):
    monkeypatch.setattr("aimindserve.gateway.meter.SERIES_LIMIT", 2)
    meter = Meter()
    for number in range(10):
        meter.tally("k", f"m{number}").requests += 1
    assert len(meter.tallies) == 3
    assert meter.tallies["other", "other"] == Tally(requests=8)


def test_a_snapshot_comes_back_and_a_damaged_one_does_not(tmp_path):
    path = tmp_path / "table.json"
    assert snapshot.load(path) is None
    snapshot.save(path, documents(1), 7)
    assert path.stat().st_mode & 0o777 == 0o600
    assert snapshot.load(path) == (documents(1), 7)
    good = path.read_bytes()
    for damaged in (b"", b"{", good[:-9], good.replace(b'"w1"', b'"w2"'), b"[]", b'{"format":9}'):
        path.write_bytes(damaged)
        assert snapshot.load(path) is None


def message(kind_of, revision=1, **rest):
    return read_message(json.dumps({"type": kind_of, "revision": revision, **rest}).encode())


def test_a_listing_is_swapped_in_whole_at_its_bookmark():
    shelf = Shelf()
    shelf.put_back({"user": {"old": {}}})
    shelf.begin_listing()
    assert not shelf.apply(message("ADDED", kind="user", name="ann", object={"a": 1}))
    assert shelf.documents == {"user": {"old": {}}}
    assert shelf.apply(message("BOOKMARK", 5))
    assert shelf.documents == {"user": {"ann": {"a": 1}}}
    assert shelf.revision == 5
    assert shelf.apply(message("MODIFIED", 6, kind="user", name="ann", object={"a": 2}))
    assert shelf.apply(message("DELETED", 7, kind="user", name="ann", object={}))
    assert not shelf.apply(message("BOOKMARK", 9))
    assert (shelf.documents, shelf.revision) == ({"user": {}}, 9)
    with pytest.raises(WatchEndedError):
        shelf.apply(message("RESYNC"))
    assert shelf.revision == 0
    with pytest.raises(WatchEndedError):
        read_message(b"nonsense")
