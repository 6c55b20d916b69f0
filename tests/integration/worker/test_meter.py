"""Reading an engine's counters over a real socket: its own key goes along, and whatever comes back
hurts nobody."""

import asyncio
import contextlib

import pytest

from aimindserve.core.launch import Counters
from aimindserve.worker import meter
from aimindserve.worker.meter import PAGE_BYTES_MAX, HttpMeter
from aimindserve.worker.observed import Counted
from unit.worker.world import handle

COUNTERS = Counters(tokens="x:tokens_total", seconds="x:seconds_total")
PAGE = b"x:tokens_total 100\nx:seconds_total 2.5\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"


async def asked(answer, *, hang=False):
    """What the meter makes of `answer`, and what it had asked."""
    heard = []

    async def serve(reader, writer):
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        with contextlib.suppress(ConnectionError):
            for piece in answer:
                writer.write(piece)
                await writer.drain()
            if hang:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await HttpMeter().read(handle(port=port), COUNTERS)
    return found, heard[0]


def test_its_own_key_goes_along_whatever_the_environment_says(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://192.0.2.1:1")
    length = b"content-length: %d\r\n\r\n" % len(PAGE)
    found, heard = asyncio.run(asked([HEAD + length + PAGE]))
    assert found == Counted(100.0, 2.5)
    lines = heard.split(b"\r\n")
    assert lines[0] == b"GET /metrics HTTP/1.1"
    assert b"authorization: Bearer engine-secret" in lines


CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        [HEAD + b"\r\n" + PAGE],
        [HEAD, b"\r\n", PAGE[:20], PAGE[20:]],
        [HEAD + CHUNKED, b"14\r\n" + PAGE[:20] + b"\r\n", b"%x\r\n" % len(PAGE[20:]),
         PAGE[20:] + b"\r\n0\r\n\r\n"],
    ],
    ids=["until it closes", "in pieces", "chunked"],
)  # fmt: skip
def test_a_page_may_be_framed_as_it_likes(answer):
    assert asyncio.run(asked(answer))[0] == Counted(100.0, 2.5)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 40\r\n\r\n" + PAGE],
        [b"HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n"],
        [HEAD + b"content-length: 45\r\n\r\n" + PAGE],
        [HEAD + CHUNKED + b"14\r\n" + PAGE[:20]],
        [HEAD + CHUNKED + b"zz\r\n" + PAGE],
        [HEAD + b"content-length: -5\r\n\r\n" + PAGE],
        [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + PAGE],
        [b"\x16\x03\x01" + b"\x00" * 500],
        [b"SSH-2.0-x\r\n"],
        [HEAD + b"x: " + b"y" * 70_000 + b"\r\n"] * 40,
        [HEAD + b"\r\n" + PAGE, *[b"x:other 1\n" * 10_000] * (PAGE_BYTES_MAX // 100_000 + 2)],
    ],
    ids=[
        "nothing", "refused", "elsewhere", "cut off", "chunk cut off", "no chunk", "no length",
        "another protocol", "tls", "ssh", "endless head", "too large",
    ],
)  # fmt: skip
def test_anything_else_is_no_page(answer):
    assert asyncio.run(asked(answer))[0] is None


def test_who_does_not_listen_says_nothing():
    async def scene():
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return await HttpMeter().read(handle(port=port), COUNTERS)

    assert asyncio.run(scene()) is None


def test_who_is_too_busy_to_answer_is_told_apart(monkeypatch):
    monkeypatch.setattr(meter, "TIMEOUT_S", 0.05)
    with pytest.raises(TimeoutError):
        asyncio.run(asked([HEAD + b"\r\n" + PAGE], hang=True))
