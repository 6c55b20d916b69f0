"""The client for programs that wait for each answer. Its twin for asyncio is `aio`.

    with Client("http://gpu-01", api_key="sk-aims_…") as client:
        for deployment in client.deployments.all():
            print(deployment.name, deployment.status.ready_replicas)

What is sent and how it is read stands in `calls`, `exchange`, `watching` and `waiting`; here is
only the sending. Methods raise the exceptions of `core.errors`, and UnreachableError.
"""

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from typing_extensions import Self

from aimindserve.client import calls, history, objects
from aimindserve.client.calls import Call, Calls
from aimindserve.client.collection import Collection
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

if TYPE_CHECKING:
    from aimindserve.client.aio import AsyncClient

R = TypeVar("R")
LOG_SILENCE_S = 3600.0
ANSWER_SILENCE_S = 600.0


class Client:
    """A connection to one server. Safe to use from several threads; close it, or use `with`."""

    def __init__(
        self,
        server_url: str = "http://127.0.0.1",
        *,
        api_key: str | None = None,
        session: str | None = None,
        timeout_s: float = TIMEOUT_S,
        verify: bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.server_url = base_url(server_url)
        self._credentials = Credentials(api_key, session)
        options = session_options(self.server_url, timeout_s, verify=verify)
        self._http = httpx.Client(**options, transport=transport)
        self._never = threading.Event()
        self.deployments = Collection(Calls(objects.DEPLOYMENT), self.send, self.watch)
        self.instances = Collection(Calls(objects.INSTANCE), self.send, self.watch)
        self.workers = Collection(Calls(objects.WORKER), self.send, self.watch)
        self.model_files = Collection(Calls(objects.MODEL_FILE), self.send, self.watch)
        self.estimates = Collection(Calls(objects.ESTIMATE), self.send, self.watch)
        self.routes = Collection(Calls(objects.ROUTE), self.send, self.watch)
        self.users = Collection(Calls(objects.USER), self.send, self.watch)
        self.api_keys = Collection(Calls(objects.API_KEY), self.send, self.watch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def twin(self) -> "AsyncClient":
        """A client for asyncio of the same server, with the same credential."""
        from aimindserve.client.aio import AsyncClient

        known = self._credentials
        return AsyncClient(self.server_url, api_key=known.api_key, session=known.session)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def collection(self, kind: str) -> Collection[Any, Any]:
        """The objects of the kind called `kind` (singular); raises KeyError."""
        return Collection(Calls(objects.KINDS[kind]), self.send, self.watch)

    def version(self) -> Document:
        """The server's version; needs no credential."""
        return self.send(calls.version())

    def login(self, username: str, password: str) -> Login:
        """Open a session and use it from now on."""
        opened = self.send(calls.login(username, password))
        self._credentials = Credentials(session=opened.session)
        return opened

    def logout(self) -> None:
        """End the session in use."""
        self.send(calls.logout())
        self._credentials = Credentials(self._credentials.api_key)

    def me(self) -> Document:
        """Who the server takes this client for."""
        return self.send(calls.me())

    def change_password(self, current: str, new: str) -> str | None:
        """Choose another password; the session to go on with, when the server opened a new one."""
        session = self.send(calls.change_password(current, new))
        if session is not None:
            self._credentials = Credentials(session=session)
        return session

    def create_key(self, fields: Document) -> NewKey:
        """Make an API key: name, description, expires_in_s, allowed_models, user, labels."""
        return self.send(calls.create_key(fields))

    def create_user(
        self,
        name: str,
        password: str | None = None,
        *,
        spec: Document | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> NewUser:
        """Make a user: spec has role, full_name. Without a password the server makes one."""
        return self.send(calls.create_user(name, password, spec or {}, labels or {}))

    def reset_password(self, user: str, password: str | None = None) -> str | None:
        """Give somebody else another password; the one the server made, when none was given."""
        return self.send(calls.reset_password(user, password))

    def decision(self, instance: str, *, changes: bool = False) -> Document:
        """The scheduler's newest decision about an instance, with every worker's reasons; with
        `changes` also what would make it fit."""
        return self.send(calls.decision(instance, changes=changes))

    def fit(self, question: Mapping[str, Any]) -> Document:
        """Would it fit, where, and why not elsewhere: see `POST /api/v1/fit`."""
        return self.send(calls.fit(question))

    def events(self, query: HistoryQuery = ALL) -> History[EventEntry]:
        """What happened in the cluster, newest first, one page of it."""
        return self.send(history.events(query))

    def audit(self, query: HistoryQuery = ALL) -> History[AuditEntry]:
        """Who did what, newest first, one page of it; for administrators."""
        return self.send(history.audit(query))

    def cordon(self, worker: str) -> objects.Worker:
        """Give a worker no new instances."""
        return self.workers.patch(worker, {"spec": {"cordoned": True}})

    def uncordon(self, worker: str) -> objects.Worker:
        """Give a worker new instances again."""
        return self.workers.patch(worker, {"spec": {"cordoned": False}})

    def logs(self, instance: str, query: LogQuery | None = None) -> Iterator[str]:
        """The lines of an instance's log, while they come when `query.follow` is set."""
        call = calls.logs(instance, query or LogQuery())
        stream = Stream(call.path, call.query, silence_s=LOG_SILENCE_S, accept="text/plain")
        with self._lines(stream) as lines:
            yield from lines

    def models(self) -> Document:
        """The models that can be asked, as OpenAI lists them."""
        return self.send(calls.models())

    @overload
    def chat(
        self,
        model: str,
        messages: Sequence[Document],
        *,
        stream: Literal[False] = False,
        **options: Any,
    ) -> Document: ...
    @overload
    def chat(
        self, model: str, messages: Sequence[Document], *, stream: Literal[True], **options: Any
    ) -> Iterator[Document]: ...
    def chat(
        self,
        model: str,
        messages: Sequence[Document],
        *,
        stream: bool = False,
        **options: Any,
    ) -> Document | Iterator[Document]:
        """A chat completion, or with `stream=True` its chunks, as OpenAI's API has them."""
        call = calls.chat(model, messages, options)
        if not stream:
            return self.send(call)
        return self._chunks(
            Stream(
                call.path,
                method=call.method,
                body={**call.body, "stream": True},
                silence_s=ANSWER_SILENCE_S,
            )
        )

    def watch(
        self, *plurals: str, since: int | None = None, idle_s: float | None = None
    ) -> Generator[Event]:
        """Every change of the given kinds (plural words), for ever: broken connections are opened
        again where they ended. See Event. With `idle_s`, an IDLE event after so long a silence.

        Raises UnauthenticatedError, ForbiddenError, InvalidError; UnreachableError only when the
        very first connection fails.
        """
        follow, met = Follow(plurals, since), False
        while True:
            stream = Stream(WATCH_PATH, follow.query(), silence_s=idle_s or SILENCE_MAX_S)
            try:
                with self._lines(stream) as lines:
                    met = True
                    for line in lines:
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
            self._never.wait(min(follow.pause_s(), idle_s or SILENCE_MAX_S))

    def wait_ready(
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
        from aimindserve.kit.clock import SystemClock

        waiting, clock = Waiting(deployment, generation), SystemClock()
        deadline = clock.monotonic() + timeout_s
        with closing(self.watch("deployments", "instances", idle_s=1.0)) as events:
            for event in events:
                waiting.apply(event)
                now = clock.monotonic()
                progress = waiting.progress(now)
                if seen is not None:
                    seen(progress)
                if progress.outcome is Outcome.READY and waiting.object is not None:
                    return waiting.object
                check(deployment, progress)
                if now > deadline:
                    raise timed_out(deployment, progress, timeout_s)
        raise InternalError("A watch ended, which it never does.")

    def send(self, call: Call[R]) -> R:
        """Send one request and read its answer."""
        try:
            response = self._http.request(**call_arguments(call, self._credentials))
        except httpx.TransportError as error:
            raise unreachable(self.server_url, error) from error
        self._http.cookies.clear()
        return result(call, response, self.server_url)

    @contextmanager
    def _lines(self, stream: Stream) -> Generator[Iterator[str]]:
        """The lines of a streamed answer. Raises SilenceError, UnreachableError when they end."""
        arguments = stream_arguments(stream, self._credentials)
        try:
            with self._http.stream(**arguments) as response:
                if response.status_code >= 300:
                    refuse(response.status_code, response.headers, response.read())
                yield response.iter_lines()
        except httpx.ReadTimeout as error:
            raise silence(self.server_url, stream.silence_s) from error
        except httpx.TransportError as error:
            raise unreachable(self.server_url, error) from error

    def _chunks(self, stream: Stream) -> Iterator[Document]:
        with self._lines(stream) as lines:
            for line in lines:
                chunk = chunk_of(line)
                if chunk is not None:
                    yield chunk
