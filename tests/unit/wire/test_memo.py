import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimindserve.wire.memo import MISSES, HeadMemo
from unit.wire.fakes import bodies, client

HEAD = b"POST /p?q HTTP/1.1\r\nHost: x\r\nX-A: b\r\nContent-Length: %d\r\nX-C: d\r\n\r\n"


def message(size, head=HEAD):
    return head % size + b"z" * size


def remembered(size=5):
    memo = HeadMemo()
    memo.remember(message(size), "made")
    return memo


def test_the_same_head_with_another_length_is_recognised():
    memo = remembered()
    assert memo.made == "made"
    for size in (5, 0, 7, 12345):
        assert memo.match(message(size)) == size
        assert message(size)[memo.start :] == b"z" * size


@pytest.mark.parametrize(
    "data",
    [
        b"",
        message(5)[:-1],
        message(5) + b"z",
        message(5) + message(5),
        message(5).replace(b"POST", b"post"),
        message(5).replace(b"X-C: d", b"X-C: e"),
        message(5).replace(b"X-C: d\r\n", b""),
        message(5).replace(b"X-C: d", b"Transfer-Encoding: chunked"),
        message(5).replace(b"Length: 5", b"Length: +5"),
        message(5).replace(b"Length: 5", b"Length: -5"),
        message(5).replace(b"Length: 5", b"Length: 5 "),
        message(5).replace(b"Length: 5", b"Length: 5, 5"),
        message(5).replace(b"Length: 5", b"Length: "),
        message(5).replace(b"Length: 5", b"Length: 0x5"),
        message(5).replace(b"Length: 5", b"Length: 5\r\nContent-Length: 5"),
        message(5).replace(b"Length: 5\r\n", b"Length: 5\n"),
        message(5).replace(b"Length: 5", b"Length: \xb2"),
        HEAD.replace(b"%d", b"00000000000000000005") + b"z" * 5,
    ],
    ids=range(18),
)
def test_anything_else_is_not(data):
    assert remembered().match(data) == -1


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        message(5)[:-1],
        message(5) + message(5),
        b"HTTP/1.1 103 Early\r\nx: y\r\n\r\n" + message(5),
        b"no end",
    ],
    ids=range(5),
)
def test_what_is_not_one_whole_message_is_not_remembered(data):
    memo = HeadMemo()
    memo.remember(data, "made")
    assert memo.made is None


def test_a_sender_that_varies_its_heads_is_left_alone():
    memo = HeadMemo()
    for number in range(MISSES + 3):
        memo.remember(message(5, HEAD.replace(b"X-A: b", b"X-A: %d" % number)), number)
    assert memo.made == MISSES - 1


def described(request):
    """Everything a handler can see of a request."""
    fields = b"".join(b"%b=%b;" % field for field in request.headers)
    head = f"{request.method} {request.target} {request.peer} {request.keep_alive} ".encode()
    assert dict(request.headers) == request.index
    request.body.collect(
        1 << 20,
        lambda data: request.respond(200, head + fields + data),
        lambda error: request.respond(413),
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from([b"X-A: b", b"X-A: other", b"Expect: x"])),
        max_size=9,
    )
)
def test_requests_read_the_same_with_and_without_it(series):
    """Whole messages (recognised) and the same ones cut in two (parsed) give the same answers."""
    stream = [message(size, HEAD.replace(b"X-A: b", field)) for size, field in series]
    whole, whole_transport, _ = client(described)
    cut, cut_transport, _ = client(described)
    for data in stream:
        whole.data_received(data)
        cut.data_received(data[:9])
        cut.data_received(data[9:])
    assert bodies(whole_transport.written) == bodies(cut_transport.written)
    assert whole_transport.closed == cut_transport.closed


def test_a_recognised_request_still_waits_its_turn():
    held = []
    connection, transport, _ = client(held.append)
    for size in (3, 4, 5):
        connection.data_received(message(size))
    assert len(held) == 1
    while not held[-1].ended:
        held[-1].respond(200, held[-1].body.take())
    assert [len(body) for _, body in bodies(transport.written)] == [3, 4, 5]
