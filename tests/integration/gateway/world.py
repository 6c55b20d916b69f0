"""A gateway among scripted neighbours: a control plane that speaks the watch, workers that answer.

Everything goes over real sockets; only what stands behind the gateway is scripted.
"""

import asyncio
import json
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

from aimindserve.gateway.app import Gateway
from aimindserve.gateway.config import BodyLimits, CorsConfig, GatewayConfig
from aimindserve.kit.clock import SystemClock
from aimindserve.kit.secrets import keyed_hash
from aimindserve.wire.server import Request, Server, ServerConfig
from aimindserve.wire.upstream import Origin

PEPPER = b"pepper"
KEY = "sk-aims_00000000_test"
KEY_HEADERS = {"authorization": f"Bearer {KEY}"}


def api_key(secret=KEY, **spec):
    return {"spec": {"user": "ann", "key_hash": keyed_hash(PEPPER, secret), **spec}}


def instance(deployment, worker, *, state="ready", placement="p1", seen="p1", stopping=False):
    return {
        "spec": {"deployment": deployment, "stopping": stopping},
        "status": {
            "placement": {"id": placement, "ranks": [{"worker": worker}]},
            "observed": {"placement_id": seen, "state": state, "port": 40000},
            "phase": state,
        },
    }


def worker(port, *, ready=True, host="127.0.0.1"):
    return {
        "spec": {"proxy_key": "proxy-secret"},
        "status": {"ready": ready, "observed": {"host": host, "port": port}},
    }


def route(*targets, categories=("llm",)):
    return {
        "metadata": {"created_at": "2026-01-02T03:04:05.000Z"},
        "spec": {"targets": [{"deployment": name, "weight": weight} for name, weight in targets]},
        "status": {"categories": list(categories), "context_length": 8192},
    }


def documents(worker_port):
    """One model `tiny` on one worker, one user, one key."""
    return {
        "user": {"ann": {"spec": {"role": "user"}}},
        "api-key": {"k1": api_key()},
        "worker": {"w1": worker(worker_port)},
        "instance": {"tiny-aaaaa": instance("tiny", "w1")},
        "route": {"tiny": route(("tiny", 1))},
        "deployment": {"tiny": {"spec": {"replicas": 1}}},
    }


class Control:
    """The control plane: a watch over `documents`, and an echo of every other request."""

    def __init__(self, path):
        self.path = path
        self.documents = {}
        self.revision = 10
        self.watches = []
        self.targets = []
        self.seen = []
        self.server = None

    async def start(self):
        self.path.unlink(missing_ok=True)
        self.server = Server(self.handle, ServerConfig(unix_path=self.path), SystemClock())
        await self.server.start()

    async def stop(self):
        for watch in self.watches:
            watch.abort()
        self.watches = []
        await self.server.stop(0)

    async def handle(self, request: Request):
        if request.path == "/api/v1/watch":
            await self.watch(request)
            return
        body = await request.body.read(1 << 30)
        self.seen.append((request.method, request.target, dict(request.headers), len(body)))
        headers = [(b"set-cookie", b"a=b"), (b"set-cookie", b"c=d"), (b"x-thing", b"1")]
        request.respond(200, body or b"console", headers=headers)

    async def watch(self, request):
        self.targets.append(request.target)
        request.start(200, [(b"content-type", b"text/event-stream")])
        if "since=" not in request.target:
            for kind, named in self.documents.items():
                for name, document in named.items():
                    request.write(self.event("ADDED", kind, name, document))
        request.write(self.event("BOOKMARK"))
        self.watches.append(request)
        while not request.ended:
            await asyncio.sleep(0.05)

    def event(self, kind_of, kind=None, name=None, document=None):
        message = {"revision": self.revision, "type": kind_of}
        if kind:
            message |= {"kind": kind, "name": name, "object": document}
        return f"id: {self.revision}\ndata: {json.dumps(message)}\n\n".encode()

    def change(self, kind, name, document):
        """Put (or with None: delete) a document and tell the watchers."""
        self.revision += 1
        named = self.documents.setdefault(kind, {})
        if document is None:
            named.pop(name, None)
        else:
            named[name] = document
        event = self.event("MODIFIED" if document else "DELETED", kind, name, document)
        for watch in self.watches:
            watch.write(event)


class Worker:
    """A worker's proxy whose engine is `answer(request, body)`."""

    def __init__(self, answer, port=0):
        self.answer = answer
        self.requests = []
        self.gone = 0
        self.server = Server(self.handle, ServerConfig(port=port), SystemClock())

    @property
    def port(self):
        return self.server.port

    async def handle(self, request: Request):
        fields = dict(request.headers)
        if request.body.length:
            fields[b"content-length"] = b"%d" % request.body.length
        body = await request.body.read(1 << 30)
        self.requests.append((request.method, request.target, fields, body))
        try:
            await self.answer(request, body)
        except asyncio.CancelledError:
            self.gone += 1
            raise


class World:
    """Gateway, control plane and one worker."""

    def __init__(self, gateway, control, main, base):
        self.gateway = gateway
        self.control = control
        self.worker = main
        self.base = base

    @property
    def url(self):
        return f"http://127.0.0.1:{self.gateway.port}"

    async def until(self, condition, seconds=5.0):
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
            await asyncio.sleep(0.01)


async def chat(request, body):
    """A constant chat completion."""
    request.respond(200, ANSWER, content_type=b"application/json", headers=[(b"server", b"x")])


ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }
).encode()


@asynccontextmanager
async def world(answer=chat, *, docs=documents, cors=None, **config):
    """Start everything, wait for the table, stop everything."""
    with tempfile.TemporaryDirectory(prefix="aims") as folder:
        base = Path(folder)
        main, control = Worker(answer), Control(base / "control.sock")
        settings = GatewayConfig(
            control=Origin.unix(str(control.path)),
            credential="gw",
            pepper=PEPPER,
            host="127.0.0.1",
            port=0,
            metrics_host="127.0.0.1",
            **{
                "metrics_port": 0,
                "table_path": base / "table.json",
                "trust_localhost": False,
                "cors": cors or CorsConfig(),
                "bodies": BodyLimits(),
                **config,
            },
        )
        gateway = Gateway(settings, SystemClock())
        await main.server.start()
        control.documents = docs(main.port)
        await control.start()
        await gateway.start()
        here = World(gateway, control, main, base)
        try:
            await here.until(lambda: gateway.table.revision)
            yield here
        finally:
            await gateway.stop(0)
            await control.stop()
            await main.server.stop(0)
