"""The process of the fake backend: `python _fake_engine.py CONFIG.json`.

A program of its own on the standard library: an OpenAI-compatible server that answers with the
words of the question, counts tokens by words, and fails when its configuration says so.
"""

import contextlib
import hmac
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any, cast

BODY_BYTES_MAX = 64 * 1024**2
EMBEDDING_LENGTH = 8
_ANSWER = ("An", "answer", "without", "a", "model", "behind", "it.")


class Engine:
    """What the process was told to be, and how many requests it has seen."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.alias = str(config["alias"])
        self.api_key = str(config["api_key"])
        self.categories = frozenset(config["categories"])
        self.fields: dict[str, Any] = config["fields"]
        self.ready = False
        self.requests = 0
        self.generated_tokens = self.answers = 0
        self.generation_s = 0.0
        self._lock = threading.Lock()

    def count(self) -> int:
        """Number this request, from 1."""
        with self._lock:
            self.requests += 1
            return self.requests

    def reached(self, field: str, number: int) -> bool:
        """Whether request `number` has come to what `field` names."""
        limit = int(self.fields.get(field, 0))
        return 0 < limit <= number

    def answer(self, prompt: str) -> Iterator[str]:
        """The words of the answer, at the pace that was asked for."""
        words = prompt.split() or _ANSWER
        for index in range(int(self.fields.get("tokens", 16))):
            pause_s = float(self.fields.get("token_delay_s", 0.0))
            if pause_s:
                time.sleep(pause_s)  # noqa: TID251 - a program of its own without a Clock
            yield words[index % len(words)] + " "

    def counting(self, words: Iterator[str]) -> Iterator[str]:
        """`words` of one answer, counted when it ends, however that comes."""
        count, first, last = 0, 0.0, 0.0
        try:
            for word in words:
                last = time.monotonic()
                first = first or last
                count += 1
                yield word
        finally:
            with self._lock:
                self.answers += bool(count)
                self.generated_tokens += count
                self.generation_s += last - first

    def counted(self) -> tuple[float, float, float]:
        """Tokens generated, seconds from each answer's first to its last, answers."""
        with self._lock:
            return self.generated_tokens, self.generation_s, self.answers

    def counters(self) -> str:
        """What it has counted, in Prometheus' text format."""
        names = ("generated_tokens", "generation_seconds", "answers")
        return "".join(
            f"# TYPE fake:{name}_total counter\nfake:{name}_total {count}\n"
            for name, count in zip(names, self.counted(), strict=True)
        )

    def die(self, why: str) -> None:
        """End at once, as a crash would."""
        _say(f"engine failed: {why}")
        os._exit(int(self.fields.get("exit_code", 1)))


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    engine: Engine

    def do_GET(self) -> None:
        """Health, models, counters."""
        if self.path in ("/health", "/v1/health"):
            self._health()
        elif not self._authorized():
            self._error(401, "invalid api key")
        elif self.path == "/v1/models":
            model = {"id": self.engine.alias, "object": "model", "owned_by": "fake"}
            self._json(200, {"object": "list", "data": [model]})
        elif self.path == "/metrics":
            self._answer(200, self.engine.counters().encode(), "text/plain; version=0.0.4")
        else:
            self._error(404, f"no such path: {self.path}")

    def do_POST(self) -> None:
        """Inference."""
        size = int(self.headers.get("content-length") or 0)
        if size > BODY_BYTES_MAX:
            self.close_connection = True
            self._error(413, "the body is too large")
            return
        raw = self.rfile.read(size)
        if not self._authorized():
            self._error(401, "invalid api key")
            return
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._error(400, "the body is not a JSON object")
            return
        self._infer(cast("dict[str, Any]", body))

    def log_message(self, format: str, *args: object) -> None:
        """Into the run's log."""
        _say(format % args)

    def _infer(self, body: dict[str, Any]) -> None:
        engine = self.engine
        number = engine.count()
        prompt = _prompt(body)
        if engine.reached("crash_at", number):
            engine.die(f"told to crash at request {number}")
        word = str(engine.fields.get("die_on", ""))
        if word and word in prompt:
            engine.die(f"the prompt holds {word!r}")
        if engine.reached("stuck_at", number):
            threading.Event().wait()
        if self.path == "/v1/embeddings":
            self._embeddings(body)
        elif self.path in ("/v1/chat/completions", "/v1/completions"):
            self._complete(body, prompt, chat=self.path.endswith("chat/completions"))
        else:
            self._error(404, f"no such path: {self.path}")

    def _health(self) -> None:
        engine = self.engine
        if not engine.ready:
            self._error(503, "Loading model")
        elif engine.reached("unhealthy_at", engine.requests):
            self._error(500, "told to be unhealthy")
        else:
            self._json(200, {"status": "ok"})

    def _embeddings(self, body: dict[str, Any]) -> None:
        if "embedding" not in self.engine.categories:
            self._error(501, "this model does not embed")
            return
        given = body.get("input", "")
        texts = cast("list[Any]", given) if isinstance(given, list) else [given]
        data = [
            {"object": "embedding", "index": index, "embedding": _vector(str(text))}
            for index, text in enumerate(texts)
        ]
        tokens = sum(len(str(text).split()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        self._json(
            200, {"object": "list", "model": self.engine.alias, "data": data, "usage": usage}
        )

    def _complete(self, body: dict[str, Any], prompt: str, *, chat: bool) -> None:
        words = self.engine.answer(prompt)
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        if isinstance(limit, int):
            words = (word for _, word in zip(range(limit), words, strict=False))
        words = self.engine.counting(words)
        if body.get("stream"):
            self._stream(words, prompt, chat=chat, usage=_wants_usage(body))
            return
        text = "".join(words)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if chat:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        usage = _usage(prompt, len(text.split()))
        self._json(200, {**self._head(chat, stream=False), "choices": [choice], "usage": usage})

    def _stream(self, words: Iterator[str], prompt: str, *, chat: bool, usage: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        head = self._head(chat, stream=True)
        count = 0
        for word in words:
            count += 1
            part = {"delta": {"content": word}} if chat else {"text": word}
            self._event({**head, "choices": [{"index": 0, "finish_reason": None, **part}]})
        last: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        self._event({**head, "choices": [{"index": 0, "finish_reason": "stop", **last}]})
        if usage:
            self._event({**head, "choices": [], "usage": _usage(prompt, count)})
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _head(self, chat: bool, *, stream: bool) -> dict[str, Any]:
        kind = "chat.completion" if chat else "text_completion"
        return {
            "id": f"fake-{self.engine.requests}",
            "object": kind + (".chunk" if chat and stream else ""),
            "created": 0,
            "model": self.engine.alias,
        }

    def _authorized(self) -> bool:
        given = self.headers.get("authorization") or ""
        return hmac.compare_digest(given.encode(), f"Bearer {self.engine.api_key}".encode())

    def _event(self, document: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(document).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _error(self, status: int, message: str) -> None:
        error = {"message": message, "type": "fake_error", "code": status}
        self._json(status, {"error": error})

    def _json(self, status: int, document: dict[str, Any]) -> None:
        self._answer(status, json.dumps(document).encode(), "application/json")

    def _answer(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    """Many requests at once; a client that hangs up is no news."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base's
        """Say in one line what the standard library would print as a traceback."""
        _say(f"request failed: {sys.exc_info()[1]!r}")


def main(arguments: list[str]) -> int:
    """Serve until told to stop."""
    config: dict[str, Any] = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    engine = Engine(config)
    if "start_exit" in engine.fields:
        _say("engine failed: told to end at its start")
        return int(engine.fields["start_exit"])
    server = Server((config["host"], config["port"]), type("Bound", (Handler,), {"engine": engine}))
    if not engine.fields.get("ignore_stop"):
        signal.signal(signal.SIGTERM, _end)
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_load, args=(engine,), daemon=True).start()
    server.serve_forever()
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


def _load(engine: Engine) -> None:
    if engine.fields.get("start_stuck"):
        return
    threading.Event().wait(float(engine.fields.get("start_delay_s", 0.0)))
    engine.ready = True
    _say("engine ready")


def _prompt(body: dict[str, Any]) -> str:
    messages = body.get("messages")
    if isinstance(messages, list) and messages:
        last = cast("list[Any]", messages)[-1]
        return (
            str(cast("dict[str, Any]", last).get("content", "")) if isinstance(last, dict) else ""
        )
    return str(body.get("prompt", ""))


def _wants_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and bool(cast("dict[str, Any]", options).get("include_usage"))


def _usage(prompt: str, completion: int) -> dict[str, int]:
    tokens = len(prompt.split())
    return {
        "prompt_tokens": tokens,
        "completion_tokens": completion,
        "total_tokens": tokens + completion,
    }


def _vector(text: str) -> list[float]:
    """The same text gives the same vector in every process."""
    return [((sum(text.encode()) * (index + 1)) % 97) / 97 for index in range(EMBEDDING_LENGTH)]


def _say(line: str) -> None:
    """Write a line of the log. A disk that is full must not end an engine that works."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
