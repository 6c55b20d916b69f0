"""The client for asyncio programs. Its twin for programs that wait is `sync`.

    async with AsyncClient("http://gpu-01", api_key="sk-aims_…") as client:
        async for deployment in client.deployments.all():
            print(deployment.name, deployment.status.ready_replicas)

What is sent and how it is read stands in `calls`, `exchange`, `watching` and `waiting`; here is
only the sending. Methods raise the exceptions of `core.errors`, and UnreachableError.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal, TypeVar, overload

from typing_extensions import Self

from aimindserve.client import calls, history, objects
from aimindserve.client.calls import Call, Calls
from aimindserve.client.collection import AsyncCollection
from aimindserve.client.errors import SilenceError, silence, unreachable
from aimindserve.client.exchange import (
    TIMEOUT_S,
    Credentials,
    Stream,
    base_url,
    call_arguments,
    refuse,
    result,
    session_options,
    stream_arguments,
)
from aimindserve.client.history import ALL, AuditEntry, EventEntry, History, HistoryQuery
from aimindserve.client.objects import Document, Event, Login, LogQuery, NewKey, NewUser
from aimindserve.client.quick import httpx
from aimindserve.client.waiting import Outcome, Progress, Waiting, check, timed_out
from aimindserve.client.watching import PATH as WATCH_PATH
from aimindserve.client.watching import SILENCE_MAX_S, Follow, chunk_of
from aimindserve.core.errors import GoneError, InternalError, UnavailableError, UpstreamError
from aimindserve.kit.clock import SystemClock

R = TypeVar("R")
LOG_SILENCE_S = 3600.0
ANSWER_SILENCE_S = 600.0


class AsyncClient:
    """A connection to one server. Close it, or use `async with`."""

    def __init__(
        self,
        server_url: str = "http://127.0.0.1",
        *,
        api_key: str | None = None,
        session: str | None = None,
        timeout_s: float = TIMEOUT_S,
        verify: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.server_url = base_url(server_url)
        self._credentials = Credentials(api_key, session)
        options = session_options(self.server_url, timeout_s, verify=verify)
        self._http = httpx.AsyncClient(**options, transport=transport)
        self._clock = SystemClock()
        self.deployments = AsyncCollection(Calls(objects.DEPLOYMENT), self.send, self.watch)
        self.instances = AsyncCollection(Calls(objects.INSTANCE), self.send, self.watch)
        self.workers = AsyncCollection(Calls(objects.WORKER), self.send, self.watch)
        self.model_files = AsyncCollection(Calls(objects.MODEL_FILE), self.send, self.watch)
        self.estimates = AsyncCollection(Calls(objects.ESTIMATE), self.send, self.watch)
        self.routes = AsyncCollection(Calls(objects.ROUTE), self.send, self.watch)
        self.users = AsyncCollection(Calls(objects.USER), self.send, self.watch)
        self.api_keys = AsyncCollection(Calls(objects.API_KEY), self.send, self.watch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    def collection(self, kind: str) -> AsyncCollection[Any, Any]:
        """The objects of the kind called `kind` (singular); raises KeyError."""
        return AsyncCollection(Calls(objects.KINDS[kind]), self.send, self.watch)

    async def version(self) -> Document:
        """The server's version; needs no credential."""
        return await self.send(calls.version())

    async def login(self, username: str, password: str) -> Login:
        """Open a session and use it from now on."""
        opened = await self.send(calls.login(username, password))
        self._credentials = Credentials(session=opened.session)
        return opened

    async def logout(self) -> None:
        """End the session in use."""
        await self.send(calls.logout())
        self._credentials = Credentials(self._credentials.api_key)

    async def me(self) -> Document:
        """Who the server takes this client for."""
        return await self.send(calls.me())

    async def change_password(self, current: str, new: str) -> str | None:
        """Choose another password; the session to go on with, when the server opened a new one."""
        session = await self.send(calls.change_password(current, new))
        if session is not None:
            self._credentials = Credentials(session=session)
        return session

    async def create_key(self, fields: Document) -> NewKey:
        """Make an API key: name, description, expires_in_s, allowed_models, user, labels."""
        return await self.send(calls.create_key(fields))

    async def create_user(
        self,
        name: str,
        password: str | None = None,
        *,
        spec: Document | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> NewUser:
        """Make a user: spec has role, full_name. Without a password the server makes one."""
        return await self.send(calls.create_user(name, password, spec or {}, labels or {}))

    async def reset_password(self, user: str, password: str | None = None) -> str | None:
        """Give somebody else another password; the one the server made, when none was given."""
        return await self.send(calls.reset_password(user, password))

    async def decision(self, instance: str, *, changes: bool = False) -> Document:
        """The scheduler's newest decision about an instance, with every worker's reasons; with
        `changes` also what would make it fit."""
        return await self.send(calls.decision(instance, changes=changes))

    async def fit(self, question: Mapping[str, Any]) -> Document:
        """Would it fit, where, and why not elsewhere: see `POST /api/v1/fit`."""
        return await self.send(calls.fit(question))

    async def events(self, query: HistoryQuery = ALL) -> History[EventEntry]:
        """What happened in the cluster, newest first, one page of it."""
        return await self.send(history.events(query))

    async def audit(self, query: HistoryQuery = ALL) -> History[AuditEntry]:
        """Who did what, newest first, one page of it; for administrators."""
        return await self.send(history.audit(query))

    async def cordon(self, worker: str) -> objects.Worker:
        """Give a worker no new instances."""
        return await self.workers.patch(worker, {"spec": {"cordoned": True}})

    async def uncordon(self, worker: str) -> objects.Worker:
        """Give a worker new instances again."""
        return await self.workers.patch(worker, {"spec": {"cordoned": False}})

    async def logs(self, instance: str, query: LogQuery | None = None) -> AsyncIterator[str]:
        """The lines of an instance's log, while they come when `query.follow` is set."""
        call = calls.logs(instance, query or LogQuery())
        stream = Stream(call.path, call.query, silence_s=LOG_SILENCE_S, accept="text/plain")
        async with self._lines(stream) as lines:
            async for line in lines:
                yield line

    async def models(self) -> Document:
        """The models that can be asked, as OpenAI lists them."""
        return await self.send(calls.models())

    @overload
    async def chat(
        self,
        model: str,
        messages: Sequence[Document],
        *,
        stream: Literal[False] = False,
        **options: Any,
    ) -> Document: ...
    @overload
    async def chat(
        self, model: str, messages: Sequence[Document], *, stream: Literal[True], **options: Any
    ) -> AsyncIterator[Document]: ...
    async def chat(
        self,
        model: str,
        messages: Sequence[Document],
        *,
        stream: bool = False,
        **options: Any,
    ) -> Document | AsyncIterator[Document]:
        """A chat completion, or with `stream=True` its chunks, as OpenAI's API has them."""
        call = calls.chat(model, messages, options)
        if not stream:
            return await self.send(call)
        return self._chunks(
            Stream(
                call.path,
                method=call.method,
                body={**call.body, "stream": True},
                silence_s=ANSWER_SILENCE_S,
            )
        )

    async def watch(
        self, *plurals: str, since: int | None = None, idle_s: float | None = None
    ) -> AsyncGenerator[Event]:
        """Every change of the given kinds (plural words), for ever: broken connections are opened
        again where they ended. See Event. With `idle_s`, an IDLE event after so long a silence.

        Raises UnauthenticatedError, ForbiddenError, InvalidError; UnreachableError only when the
        very first connection fails.
        """
        follow, met = Follow(plurals, since), False
        while True:
            stream = Stream(WATCH_PATH, follow.query(), silence_s=idle_s or SILENCE_MAX_S)
            try:
                async with self._lines(stream) as lines:
                    met = True
                    async for line in lines:
                        event = follow.feed(line)
                        if event is not None:
                            yield event
            except SilenceError:
                yield Event("IDLE")
                continue
            except GoneError:
                follow.restart()
                yield Event("RESYNC")
            except (UnavailableError, UpstreamError, InternalError):
                if not met:
                    raise
                yield Event("IDLE")
            await self._clock.sleep(min(follow.pause_s(), idle_s or SILENCE_MAX_S))

    async def wait_ready(
        self,
        deployment: str,
        *,
        timeout_s: float = 600.0,
        generation: int = 0,
        seen: Callable[[Progress], None] | None = None,
    ) -> objects.Deployment:
        """Wait until all instances of `deployment` answer; `seen` is told how it goes.

        Raises NotFoundError, TargetFailedError, CannotScheduleError, WaitTimeoutError.
        """
        waiting = Waiting(deployment, generation)
        deadline = self._clock.monotonic() + timeout_s
        async with aclosing(self.watch("deployments", "instances", idle_s=1.0)) as events:
            async for event in events:
                waiting.apply(event)
                now = self._clock.monotonic()
                progress = waiting.progress(now)
                if seen is not None:
                    seen(progress)
                if progress.outcome is Outcome.READY and waiting.object is not None:
                    return waiting.object
                check(deployment, progress)
                if now > deadline:
                    raise timed_out(deployment, progress, timeout_s)
        raise InternalError("A watch ended, which it never does.")

    async def send(self, call: Call[R]) -> R:
        """Send one request and read its answer."""
        try:
            response = await self._http.request(**call_arguments(call, self._credentials))
        except httpx.TransportError as error:
            raise unreachable(self.server_url, error) from error
        self._http.cookies.clear()
        return result(call, response, self.server_url)

    @asynccontextmanager
    async def _lines(self, stream: Stream) -> AsyncGenerator[AsyncIterator[str]]:
        """The lines of a streamed answer. Raises SilenceError, UnreachableError when they end."""
        arguments = stream_arguments(stream, self._credentials)
        try:
            async with self._http.stream(**arguments) as response:
                if response.status_code >= 300:
                    refuse(response.status_code, response.headers, await response.aread())
                yield response.aiter_lines()
        except httpx.ReadTimeout as error:
            raise silence(self.server_url, stream.silence_s) from error
        except httpx.TransportError as error:
            raise unreachable(self.server_url, error) from error

    async def _chunks(self, stream: Stream) -> AsyncIterator[Document]:
        async with self._lines(stream) as lines:
            async for line in lines:
                chunk = chunk_of(line)
                if chunk is not None:
                    yield chunk
