"""Simulated engines that answer: one small HTTP server stands for all of a demo.

The way there is the real one, gateway, worker's proxy and all; only at its end there is no model.
What the demo says is made of the question, at the pace of a small model.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from aimindserve.backends._fake_engine import Engine, Handler, Server
from aimindserve.core.launch import LaunchSpec
from aimindserve.kit.clock import Clock
from aimindserve.kit.secrets import new_secret
from aimindserve.runtimes.base import Handle, RunPlace
from aimindserve.runtimes.fake import FakeRuntime, Play

LOOPBACK = "127.0.0.1"
PAUSE_S = 0.03
WORDS_MAX = 200


class Talk:
    """The server behind every engine of a demo, on a free loopback port, in threads of its own."""

    def __init__(self) -> None:
        self.secret = new_secret()
        config = {"alias": "demo", "api_key": self.secret, "categories": ["embedding"]}
        engine = _Speaker({**config, "fields": {}})
        engine.ready = True
        self.counted = engine.counted
        """What it has counted, for all engines that it stands for together."""
        self._server = Server((LOOPBACK, 0), type("Bound", (_Handler,), {"engine": engine}))
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._server.serve_forever, daemon=True, name="talk").start()

    def stop(self) -> None:
        """Answer no more. Only after `start`."""
        self._server.shutdown()
        self._server.server_close()


class TalkingRuntime(FakeRuntime):
    """A fake runtime whose engines are reached where a `Talk` listens."""

    def __init__(self, root: Path, clock: Clock, play: Play, talk: Talk) -> None:
        super().__init__(root, clock, play)
        self._talk = talk

    @override
    async def start(self, spec: LaunchSpec, place: RunPlace) -> Handle:
        """As the fake one, with the address and the secret of the server."""
        handle = await super().start(spec, place)
        talking = replace(handle, port=self._talk.port, secret=self._talk.secret)
        self._lives[handle.token].handle = talking
        return talking

    @override
    def counted(self, handle: Handle) -> tuple[float, float, float] | None:
        """As the server behind it counts: all engines are as fast as it is."""
        return None if super().counted(handle) is None else self._talk.counted()


class _Speaker(Engine):
    @override
    def answer(self, prompt: str) -> Iterator[str]:
        question = " ".join(prompt.split()[:WORDS_MAX]) or "nothing"
        told = (
            f"You said: {question} – this is a simulated model of the demo, so there is no more to "
            "this answer; server, scheduler, gateway and everything else on its way were real."
        )
        for word in told.split():
            threading.Event().wait(PAUSE_S)
            yield f"{word} "


class _Handler(Handler):
    _model = ""

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Simulated engines keep no log."""

    @override
    def _infer(self, body: dict[str, Any]) -> None:
        self._model = str(body.get("model", ""))
        super()._infer(body)

    @override
    def _head(self, chat: bool, *, stream: bool) -> dict[str, Any]:
        return {**super()._head(chat, stream=stream), "model": self._model}
