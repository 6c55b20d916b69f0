"""Transports in memory, so that protocol objects can be driven without a socket or a clock."""

import asyncio

from aimindserve.kit.clock import SystemClock
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.wire.connection import Connection, Shared, plain_error
from aimindserve.wire.limits import Limits


class MemoryTransport(asyncio.Transport):
    """Collects what is written. `stuck` bytes stay in its buffer."""

    def __init__(self, peer=("127.0.0.1", 5000)):
        super().__init__()
        self.protocol = None
        self.written = b""
        self.closed = False
        self.aborted = False
        self.eof = False
        self.reading = True
        self.stuck = 0
        self.peer = peer

    def connect(self, protocol):
        self.protocol = protocol
        protocol.connection_made(self)
        return protocol

    def write(self, data):
        assert not self.closed
        self.written += data

    def get_extra_info(self, name, default=None):
        return self.peer if name == "peername" else default

    def set_write_buffer_limits(self, high=None, low=None):
        self.high = high

    def get_write_buffer_size(self):
        return self.stuck

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.eof = True

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def close(self):
        if not self.closed:
            self.closed = True
            self.protocol.connection_lost(None)

    def abort(self):
        self.aborted = True
        self.close()


def client(handler, limits=None, peer=("127.0.0.1", 5000)):
    """(connection, transport, shared) of a client whose requests `handler` answers."""
    shared = Shared(
        handler=handler,
        limits=limits or Limits(),
        error_reply=plain_error,
        tasks=TaskSupervisor(SystemClock()),
        scheme="http",
        now=100.0,
    )
    transport = MemoryTransport(peer)
    return transport.connect(Connection(shared)), transport, shared


def echo(request):
    """Answers with what was asked: method, target and body."""

    def done(data):
        request.respond(200, f"{request.method} {request.target} ".encode() + data)

    request.body.collect(1 << 20, done, lambda error: request.respond(413, str(error).encode()))


def bodies(written):
    """(status, body) of every answer with a content-length in `written`."""
    found = []
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b": ")
            if name == b"content-length":
                length = int(value)
        found.append((status, rest[:length]))
        written = rest[length:]
    return found
