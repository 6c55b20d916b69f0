"""Reading the watch stream line by line, and knowing where to go on after it broke. Pure.

follow.query() ─▶ (a client opens the stream) ─▶ follow.feed(line) ─▶ Event
      ▲                                                │
      └────── it broke: from the last revision ◀───────┘
"""

import json
from collections.abc import Sequence
from typing import Any, cast

from aimindserve.client.errors import from_answer
from aimindserve.client.objects import Event, known
from aimindserve.core.errors import UpstreamError

PAUSE_FIRST_S = 0.25
PAUSE_MAX_S = 10.0
SILENCE_MAX_S = 35.0
"""The server sends a bookmark every 10 s; a stream silent for longer than this is broken."""
PATH = "/api/v1/watch"


class Follow:
    """One watch over however many connections it takes."""

    def __init__(self, plurals: Sequence[str], since: int | None = None) -> None:
        self._plurals = tuple(plurals)
        self._since = since
        self._pause_s = PAUSE_FIRST_S

    def query(self) -> dict[str, str]:
        """The query to open, or open again, the stream with."""
        query = {"kinds": ",".join(self._plurals)}
        if self._since is not None:
            query["since"] = str(self._since)
        return query

    def feed(self, line: str) -> Event | None:
        """The event a line of the stream carries, if any; remembers how far it came."""
        if not line.startswith("data:"):
            return None
        event = _event(line[5:].strip())
        self._pause_s = PAUSE_FIRST_S
        if event.type == "RESYNC":
            self._since = None
        elif self._since is not None or event.type == "BOOKMARK":
            # Until the first bookmark the snapshot is incomplete: resuming inside it loses objects.
            self._since = max(self._since or 0, event.revision)
        return event

    def restart(self) -> None:
        """Begin anew with everything: the revision is no longer kept."""
        self._since = None

    def pause_s(self) -> float:
        """How long to wait before the next connection; grows while nothing comes."""
        pause = self._pause_s
        self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)
        return pause


def chunk_of(line: str) -> Any:
    """The JSON value of one `data:` line of a streamed answer; None for other lines and `[DONE]`.

    An error inside the stream is raised: its status came too late to say so.
    """
    if not line.startswith("data:"):
        return None
    text = line[5:].strip()
    if not text or text == "[DONE]":
        return None
    try:
        chunk: Any = json.loads(text)
    except ValueError as error:
        raise UpstreamError("A stream carried something that is not JSON.") from error
    if isinstance(chunk, dict) and "error" in chunk:
        raise from_answer(502, text.encode())
    return cast("Any", chunk)


def _event(text: str) -> Event:
    try:
        message: dict[str, Any] = json.loads(text)
        found = message.get("object")
        return Event(
            type=str(message["type"]),
            revision=int(message.get("revision") or 0),
            object=None if found is None else known(found),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UpstreamError("The watch stream carried something that is no event.") from error
