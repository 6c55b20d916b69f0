"""A stream server for the gateway's benchmark: 100 server-sent events for every request, each
written in a turn of the loop of its own, so that it is a chunk of its own on the wire.

    python gateway_mock.py PORT
"""

import asyncio
import sys

from aimindserve.wire.loop import run

CHUNKS = 100
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


DELTA = chunk(
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
)
LAST = (
    chunk(
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[],'
        b'"usage":{"prompt_tokens":20,"completion_tokens":98,"total_tokens":118}}\n\n'
    )
    + chunk(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


class Mock(asyncio.Protocol):
    """Answers every POST, whose body is taken to arrive with its head."""

    def connection_made(self, transport):
        self.transport = transport
        self.loop = asyncio.get_running_loop()
        self.left = 0

    def data_received(self, data):
        if b"\r\n\r\n" in data and not self.left:
            self.left = CHUNKS - 1
            self.transport.write(HEAD)
            self.loop.call_soon(self.more)

    def more(self):
        if self.transport.is_closing():
            return
        self.left -= 1
        if self.left:
            self.transport.write(DELTA)
            self.loop.call_soon(self.more)
        else:
            self.transport.write(LAST)


async def main(port):
    server = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    run(main(int(sys.argv[1])))
