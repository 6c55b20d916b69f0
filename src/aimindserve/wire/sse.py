"""Server-sent events: read them incrementally, write one. WHATWG HTML section 9.2.

The reader holds at most one unfinished line and one unfinished event, both within a limit.
"""

from dataclasses import dataclass

from aimindserve.kit.units import MIB
from aimindserve.wire.errors import WireError

EVENT_BYTES = 16 * MIB


class EventTooLargeError(WireError):
    """One event is larger than the reader allows."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `id` is the last id seen, as the standard says."""

    data: bytes
    name: str = "message"
    id: str = ""


class EventReader:
    """Feed it bytes in any pieces; it returns the events that are complete."""

    __slots__ = ("_data", "_held", "_id", "_limit", "_name", "_size")

    def __init__(self, limit_bytes: int = EVENT_BYTES) -> None:
        self._limit = limit_bytes
        self._held = b""
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._id = ""

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. Raises EventTooLargeError."""
        text = (self._held + data).replace(b"\r\n", b"\n")
        cut = len(text)
        if text.endswith(b"\r"):  # its line feed may still come
            cut -= 1
        lines = text[:cut].replace(b"\r", b"\n").split(b"\n")
        self._held = lines.pop() + text[cut:]
        events = [event for line in lines if (event := self._line(line)) is not None]
        if self._size + len(self._held) > self._limit:
            raise EventTooLargeError(f"an event is larger than {self._limit} bytes")
        return events

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        return None  # comments and unknown fields mean nothing

    def _dispatch(self) -> Event | None:
        data, name = self._data, self._name
        self._data, self._name, self._size = [], "", 0
        if not data:
            return None
        return Event(b"\n".join(data), name or "message", self._id)


def encode_event(data: bytes, *, name: str = "", event_id: str = "") -> bytes:
    """One event as bytes. Raises ValueError for a line end in `name` or `event_id`."""
    if "\n" in name + event_id or "\r" in name + event_id:
        raise ValueError("an event's name and id are single lines")
    lines: list[bytes] = []
    if event_id:
        lines.append(b"id: " + event_id.encode())
    if name:
        lines.append(b"event: " + name.encode())
    lines.extend(b"data: " + line for line in data.split(b"\n"))
    return b"\n".join(lines) + b"\n\n"
