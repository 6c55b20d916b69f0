"""A control plane in this process over a memory store, with one party of each kind."""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from aimindserve.backends._all import backends
from aimindserve.controllers.fits import FitParts, Fits
from aimindserve.controllers.inspections import Inspections
from aimindserve.controllers.snapshot import Snapshots
from aimindserve.kit.clock import SystemClock
from aimindserve.kit.secrets import new_secret
from aimindserve.resources.user import Role, UserSpec
from aimindserve.server.app import ControlPlane, create_app
from aimindserve.server.auth.passwords import Passwords
from aimindserve.server.parts import ServerConfig, ServerParts
from aimindserve.store.base import Draft
from aimindserve.store.decisions import Decisions
from aimindserve.store.leases import Leases
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.records._record import Records
from aimindserve.store.records.audit import AUDIT, AuditEntry
from aimindserve.store.records.events import Event, events
from aimindserve.store.resources import ResourceStore

PASSWORD = "correct horse battery"
JOIN = "the-join-token"
GATEWAY = "the-gateway-credential"


class ShiftedClock(SystemClock):
    """This machine's clock, which a test may move."""

    def __init__(self) -> None:
        self.shift = 0.0

    def now(self) -> float:
        return super().now() + self.shift

    def monotonic(self) -> float:
        return super().monotonic() + self.shift


class AuditList(Records[AuditEntry]):
    """The real records, and the entries in the order they were written."""

    def __init__(self, backing: MemoryBacking, clock: SystemClock) -> None:
        super().__init__(AUDIT, backing, clock)
        self._written: list[AuditEntry] = []

    def append(self, record: AuditEntry) -> None:
        self._written.append(record)
        super().append(record)

    def __iter__(self) -> Iterator[AuditEntry]:
        return iter(self._written)


@dataclass
class Plane:
    """The control plane and ways to call it."""

    app: ControlPlane
    store: ResourceStore
    clock: ShiftedClock
    config: ServerConfig
    decisions: Decisions
    audit: AuditList
    history: Records[Event]
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    """Credentials by party."""

    def client(self, party: str = "", **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://aims.example",
            headers={"user-agent": "test", **self.headers.get(party, {}), **headers},
        )

    async def call(
        self, method: str, path: str, party: str = "", *, headers: Any = None, **options: Any
    ) -> httpx.Response:
        async with self.client(party, **(headers or {})) as client:
            return await client.request(method, path, **options)

    async def sign_in(self, name: str, password: str = PASSWORD) -> str:
        answer = await self.call(
            "POST", "/api/v1/auth/login", json={"username": name, "password": password}
        )
        assert answer.status_code == 200, answer.text
        return answer.cookies["aims_session"]

    async def add_user(self, name: str, role: Role = Role.USER) -> None:
        hashed = await _hash()
        await self.store.create(Draft("user", name, UserSpec(role=role, password_hash=hashed)))
        await self.open_session(name)

    async def open_session(self, name: str) -> None:
        """As a sign-in does, without the cost of checking a password."""
        token = await self.app.services.sessions.start(name)
        self.headers[name] = {"cookie": f"aims_session={token}"}

    async def add_key(self, party: str, owner: str, /, **fields: Any) -> str:
        answer = await self.call("POST", "/api/v1/api-keys", owner, json=fields)
        assert answer.status_code == 201, answer.text
        self.headers[party] = {"authorization": f"Bearer {answer.json()['key']}"}
        return answer.json()["metadata"]["name"]

    async def add_worker(self, name: str, /, **fields: Any) -> dict[str, str]:
        body = {"name": name, "machine_id": f"machine-of-{name}", "version": "1", **fields}
        answer = await self.call("POST", "/api/v1/workers/register", "join", json=body)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        self.headers[told["name"]] = {"authorization": f"Bearer {told['credential']}"}
        return told


_hashes: list[str] = []


async def _hash() -> str:
    if not _hashes:
        passwords = Passwords()
        _hashes.append(await passwords.hash(PASSWORD))
        passwords.close()
    return _hashes[0]


@contextlib.asynccontextmanager
async def plane(*, people: bool = True, **settings: Any):
    with tempfile.TemporaryDirectory() as folder:
        clock = ShiftedClock()
        config = ServerConfig(
            version="9.9.9",
            data_dir=Path(folder),
            pepper=b"pepper",
            join_token=JOIN,
            gateway_credential=GATEWAY,
            bootstrap_password=PASSWORD,
        )
        config = replace(config, **settings)
        backing = MemoryBacking()
        store = ResourceStore(backing, clock)
        await store.open()
        decisions, audit = Decisions(), AuditList(backing, clock)
        history = events(backing, clock)
        leases = Leases(clock)
        fits = Fits(
            FitParts(store, Snapshots(store, leases), clock, backends(), Inspections(clock))
        )
        parts = ServerParts(store, leases, clock, decisions, config, audit, history, fits)
        app = create_app(parts)
        made = Plane(app, store, clock, config, decisions, audit, history)
        made.headers = {
            "join": {"authorization": f"Bearer {JOIN}"},
            "gateway": {"authorization": f"Bearer {GATEWAY}"},
            "wrong": {"authorization": f"Bearer sk-aims_00000000_{new_secret()}"},
            "localhost": {"x-aims-client": "127.0.0.1", "host": "localhost"},
        }
        async with started(app):
            if people:
                await made.open_session("admin")
                await made.add_user("ada")
                await made.add_user("bob")
            yield made
        await store.close()


@contextlib.asynccontextmanager
async def started(app: Any):
    """Run the application's lifespan around a block."""
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    running = asyncio.ensure_future(app({"type": "lifespan"}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    told = await outbox.get()
    assert told["type"] == "lifespan.startup.complete", told
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        await outbox.get()
        await running


class Open:
    """A streamed answer of an ASGI application, read while it comes."""

    def __init__(self, app: Any, path: str, headers: dict[str, str], query: str = "") -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = asyncio.Event()
        self._text = b""
        self._more = asyncio.Event()
        self._gone = asyncio.Event()
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
            "scheme": "http",
        }
        self._task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        if not hasattr(self, "_asked"):
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            self._text += message.get("body", b"")
            if not message.get("more_body"):
                self.ended.set()
        self._more.set()

    async def blocks(self, count: int, within_s: float = 5.0) -> list[str]:
        """The next `count` server-sent events."""

        async def wait() -> None:
            while self._text.count(b"\n\n") < count and not self.ended.is_set():
                self._more.clear()
                await self._more.wait()

        await asyncio.wait_for(wait(), within_s)
        *done, rest = self._text.decode().split("\n\n")
        self._text = "\n\n".join([*done[count:], rest]).encode()
        return done[:count]

    async def wait_end(self, within_s: float = 5.0) -> str:
        await asyncio.wait_for(self.ended.wait(), within_s)
        return self._text.decode()

    async def close(self) -> None:
        self._gone.set()
        await asyncio.wait_for(self._task, 5)
