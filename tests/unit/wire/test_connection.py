import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimindserve.wire.limits import Limits
from unit.wire.fakes import bodies, client, echo

GET = b"GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\ntrailer: t\r\n\r\n"
)
UPGRADE = (
    b"POST /u HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"
    b"http2-settings: AAA\r\ncontent-length: 4\r\n\r\nbody"
)


def talk(data, handler=echo, limits=None):
    connection, transport, _ = client(handler, limits)
    connection.data_received(data)
    return transport


def test_answers_a_request():
    transport = talk(GET)
    assert bodies(transport.written) == [(200, b"GET /a?b=c ")]
    assert not transport.closed


def test_answers_requests_sent_ahead_in_order():
    transport = talk(GET + POST + CHUNKED + UPGRADE + GET)
    assert [body for _, body in bodies(transport.written)] == [
        b"GET /a?b=c ",
        b"POST /p hello",
        b"POST /c hello world",
        b"POST /u body",
        b"GET /a?b=c ",
    ]


@given(st.lists(st.integers(1, 60), max_size=12))
def test_any_cutting_of_the_stream_reads_the_same(cuts):
    stream = GET + POST + CHUNKED + UPGRADE + CHUNKED + GET
    connection, transport, _ = client(echo)
    for size in cuts:
        piece, stream = stream[:size], stream[size:]
        if piece:
            connection.data_received(piece)
    if stream:
        connection.data_received(stream)
    answers = [body for _, body in bodies(transport.written)]
    assert answers[1:4] == [b"POST /p hello", b"POST /c hello world", b"POST /u body"]
    assert len(answers) == 6


def test_waits_with_the_second_request_until_the_first_is_answered():
    held = []
    connection, transport, _ = client(held.append)
    connection.data_received(GET + POST)
    assert len(held) == 1
    held[0].respond(200, b"first")
    assert len(held) == 2
    held[1].respond(200, b"second")
    assert bodies(transport.written) == [(200, b"first"), (200, b"second")]


def smuggled(fields, body=b"", line=b"POST / HTTP/1.1"):
    return line + b"\r\nhost: x\r\n" + fields + b"\r\n\r\n" + body


SMUGGLING = {
    "length and chunked": smuggled(
        b"content-length: 4\r\ntransfer-encoding: chunked", b"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"
    ),
    "two lengths": smuggled(b"content-length: 4\r\ncontent-length: 4", b"abcd"),
    "two different lengths": smuggled(b"content-length: 4\r\ncontent-length: 5", b"abcde"),
    "a list of lengths": smuggled(b"content-length: 4, 4", b"abcd"),
    "a signed length": smuggled(b"content-length: +4", b"abcd"),
    "a hexadecimal length": smuggled(b"content-length: 0x4", b"abcd"),
    "a negative length": smuggled(b"content-length: -4", b"abcd"),
    "an empty length": smuggled(b"content-length:", b"abcd"),
    "a huge length": smuggled(b"content-length: 99999999999999999999", b"abcd"),
    "unknown coding": smuggled(b"transfer-encoding: xchunked", b"0\r\n\r\n"),
    "two codings": smuggled(b"transfer-encoding: gzip, chunked", b"0\r\n\r\n"),
    "chunked twice": smuggled(
        b"transfer-encoding: chunked\r\ntransfer-encoding: chunked", b"0\r\n\r\n"
    ),
    "chunked not last": smuggled(b"transfer-encoding: chunked, identity", b"0\r\n\r\n"),
    "space before the colon": smuggled(b"transfer-encoding : chunked", b"0\r\n\r\n"),
    "folded line": smuggled(b"x: a\r\n b", b""),
    "bare line feed": b"POST / HTTP/1.1\nhost: x\n\n",
    "bare line feed in a field": smuggled(b"x: a\ncontent-length: 4", b"abcd"),
    "bare carriage return": smuggled(b"x: a\rcontent-length: 4", b"abcd"),
    "a zero byte": smuggled(b"x: a\0b", b""),
    "no name": smuggled(b": a", b""),
    "bad chunk size": smuggled(b"transfer-encoding: chunked", b"zz\r\nhello\r\n0\r\n\r\n"),
    "signed chunk size": smuggled(b"transfer-encoding: chunked", b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk too long": smuggled(b"transfer-encoding: chunked", b"5\r\nhelloX\r\n0\r\n\r\n"),
    "chunk with bare line feed": smuggled(b"transfer-encoding: chunked", b"5\nhello\n0\n\n"),
    "chunked in 1.0": smuggled(
        b"transfer-encoding: chunked", b"0\r\n\r\n", line=b"POST / HTTP/1.0"
    ),
    "no host": b"GET / HTTP/1.1\r\nx: y\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\nhost: x\r\n\r\n",
    "a path that is not ASCII": b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\nhost: x\r\n\r\n",
    "an unknown method": b"FROB / HTTP/1.1\r\nhost: x\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "an expectation": smuggled(b"expect: miracles\r\ncontent-length: 1", b"a"),
}


@pytest.mark.parametrize("name", SMUGGLING)
@pytest.mark.parametrize("split", [False, True], ids=["whole", "byte by byte"])
def test_what_could_be_read_in_two_ways_is_refused_and_ends_the_connection(name, split):
    seen = []

    def handler(request):
        seen.append(request.target)
        request.body.collect(1000, lambda data: request.respond(200, data), lambda error: None)

    connection, transport, _ = client(handler)
    data = SMUGGLING[name]
    for piece in [data[i : i + 1] for i in range(len(data))] if split else [data]:
        connection.data_received(piece)
    answers = bodies(transport.written)
    assert len(answers) == 1
    assert 400 <= answers[0][0] < 600, answers
    assert b"connection: close" in transport.written
    assert transport.eof or transport.closed
    assert "/evil" not in seen
    connection.data_received(GET)  # nothing that comes afterwards is read
    assert len(bodies(transport.written)) == 1


def test_answers_what_came_before_the_refused_request():
    held = []
    connection, transport, _ = client(held.append)
    connection.data_received(GET + SMUGGLING["two lengths"])
    assert transport.written == b""
    held[0].respond(200, b"good")
    assert [status for status, _ in bodies(transport.written)] == [200, 400]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 40000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 40000, 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431),
        (smuggled(b"content-length: 999999999999"), 413),
        (smuggled(b"transfer-encoding: chunked", b"5;" + b"x" * 40000), 400),
        (smuggled(b"transfer-encoding: chunked", b"0\r\nt: " + b"x" * 40000), 400),
    ],
)
def test_sizes_are_limited(data, status):
    connection, transport, _ = client(echo)
    connection.data_received(data[:200])
    connection.data_received(data[200:])
    assert bodies(transport.written)[0][0] == status
    assert transport.eof


def test_head_without_end_in_small_pieces_is_refused_within_its_limit():
    connection, transport, _ = client(echo)
    connection.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n")
    sent = 0
    while not transport.written:
        connection.data_received(b"a: bbbbbbbbbbbb\r\n" if sent % 2 else b"b" * 17)
        sent += 17
        assert sent < 40_000
    assert bodies(transport.written)[0][0] in (400, 431)


def test_a_body_over_its_limit_is_refused_while_it_comes():
    limits = Limits(body_bytes=1000)
    connection, transport, _ = client(echo, limits)
    connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    connection.data_received(b"3e8\r\n" + b"a" * 1000 + b"\r\n")
    assert not transport.written
    connection.data_received(b"1\r\na\r\n")
    assert bodies(transport.written)[0][0] == 413


def test_a_body_nobody_reads_stops_the_reading():
    held = []
    connection, transport, _ = client(held.append, Limits(body_buffer_bytes=1000))
    connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n")
    connection.data_received(b"a" * 2000)
    assert not transport.reading
    got = []
    held[0].body.collect(5000, got.append, got.append)
    assert transport.reading
    connection.data_received(b"a" * 3000)
    assert got == [b"a" * 5000]


def test_100_continue_is_said_when_the_body_is_wanted():
    held = []
    connection, transport, _ = client(held.append)
    connection.data_received(
        b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    )
    assert transport.written == b""
    held[0].body.collect(10, lambda data: held[0].respond(200, data), lambda error: None)
    assert transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.data_received(b"ok")
    assert transport.written.endswith(b"\r\n\r\nok")


def test_an_answer_before_the_body_ends_the_connection_after_a_moment():
    connection, transport, shared = client(lambda request: request.respond(401, b"no"))
    connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\nabc")
    assert b"connection: close" in transport.written
    assert transport.eof
    assert not transport.closed
    connection.data_received(b"b" * 1000)  # thrown away
    connection.check(shared.now + 3)
    assert transport.closed


def test_time_limits():
    def status_after(data, seconds, handler=echo, limits=None):
        connection, transport, shared = client(handler, limits)
        if data:
            connection.data_received(data)
        connection.check(shared.now + seconds)
        return bodies(transport.written)[-1][0] if transport.written else transport.closed

    assert status_after(b"", 9) is False
    assert status_after(b"", 11) == 408
    assert status_after(b"GET / HT", 11) == 408
    slow = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\n"
    assert status_after(slow, 9) is False
    assert status_after(slow + b"a" * 1000, 11) == 408
    assert status_after(slow + b"a" * 20000, 11) is False

    connection, transport, shared = client(echo)
    connection.data_received(GET)
    connection.check(shared.now + 29)
    assert not transport.closed
    connection.check(shared.now + 31)
    assert transport.closed


def test_a_slow_answer_is_no_reason_to_close():
    connection, transport, shared = client(lambda request: None)
    connection.data_received(GET)
    connection.check(shared.now + 1000)
    assert not transport.closed


def test_a_reader_without_progress_is_cut_and_one_with_progress_is_not():
    connection, transport, shared = client(lambda request: request.start(200))
    connection.data_received(GET)
    transport.stuck = 1000
    connection.check(shared.now)
    transport.stuck = 999
    connection.check(shared.now + 59)
    connection.check(shared.now + 118)
    assert not transport.aborted
    connection.check(shared.now + 120)
    assert transport.aborted


def test_a_client_that_ends_its_side_is_gone():
    held, gone = [], []
    connection, transport, _ = client(held.append)
    connection.data_received(GET + GET)
    held[0].on_disconnect = lambda: gone.append(1)
    connection.eof_received()
    assert gone == [1]
    assert held[0].ended
    held[0].respond(200, b"late")  # goes nowhere, and is no error
    transport.close()
    assert transport.written == b""


def test_pressure_and_drain_reach_who_answers():
    held, told = [], []
    connection, _, _ = client(held.append)
    connection.data_received(GET)
    held[0].on_pressure = lambda: told.append("stop")
    held[0].on_drain = lambda: told.append("go")
    connection.pause_writing()
    connection.resume_writing()
    assert told == ["stop", "go"]


def test_too_many_requests_sent_ahead_end_the_connection():
    held = []
    connection, transport, _ = client(held.append, Limits(pipelined=4))
    connection.data_received(GET * 20)
    while held and not held[-1].ended:
        held[-1].respond(200, b"x")
    assert [status for status, _ in bodies(transport.written)] == [200] * 4 + [503]


def test_a_handler_that_fails_is_one_500():
    def handler(request):
        raise LookupError("secret detail")

    transport = talk(GET, handler)
    assert bodies(transport.written)[0][0] == 500
    assert b"secret" not in transport.written


def test_framing_of_answers():
    def answered(data, answer):
        connection, transport, _ = client(answer)
        connection.data_received(data)
        return transport

    def stream(request):
        request.start(200, [(b"a", b"b")])
        request.write(b"xyz")
        request.finish()

    written = answered(GET, stream).written
    assert written.endswith(b"transfer-encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n")
    old = answered(b"GET / HTTP/1.0\r\n\r\n", stream)
    assert old.written.endswith(b"connection: close\r\n\r\nxyz")
    assert old.closed
    head = answered(GET.replace(b"GET", b"HEAD"), lambda r: r.respond(200, b"12345")).written
    assert head.endswith(b"content-length: 5\r\n\r\n")
    empty = answered(GET, lambda r: r.respond(204)).written
    assert b"content-length" not in empty
    close = answered(GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), echo)
    assert b"connection: close" in close.written
    assert close.closed


def test_a_field_may_not_begin_another_line():
    connection, transport, _ = client(lambda r: r.respond(200, headers=[(b"x", b"a\r\nb: c")]))
    connection.data_received(GET)
    assert b"500" in transport.written.split(b"\r\n")[0]
