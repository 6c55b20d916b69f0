"""Reading a run's log for people: the last lines, only those with a word, and the coming ones.

Never more than a bounded part is read or held, however large the log or however many lines are
wished for.
"""

import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from aimindserve.kit.clock import Clock
from aimindserve.worker.logs import END_BYTES, files_of

TAIL_MAX = 10_000
LINE_BYTES_MAX = 16 * 1024
CHUNK_BYTES = 256 * 1024
POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Wish:
    """Which lines: at most `tail` of the past, only with `text` in them (case does not matter)."""

    tail: int = 1000
    text: str = ""

    def wants(self, line: bytes) -> bool:
        """Whether this line is among them."""
        return not self.text or self.text.lower().encode() in line.lower()


async def past(path: Path, wish: Wish) -> bytes:
    """The last wished lines of one run, across its rotated files."""
    return await anyio.to_thread.run_sync(_past, path, wish)


async def coming(
    path: Path, wish: Wish, clock: Clock, lives: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """First the past, then every new wished line until the run has ended and all is read. Yields
    empty bytes when nothing came for a while, so that the reader can see whether anybody listens.
    """
    offset = await anyio.to_thread.run_sync(_size, path)
    yield await past(path, wish)
    rest = b""
    while True:
        alive = lives()
        data, offset = await anyio.to_thread.run_sync(_read_from, path, offset)
        if data:
            lines, rest = _split(rest + data)
            yield b"".join(line for line in lines if wish.wants(line))
            continue
        if not alive:
            if rest and wish.wants(rest):
                yield rest + b"\n"
            return
        yield b""
        await clock.sleep(POLL_S)


def _past(path: Path, wish: Wish) -> bytes:
    tail = max(0, min(wish.tail, TAIL_MAX))
    if tail == 0:
        return b""
    quick = _end_lines(path, tail) if not wish.text else None
    if quick is not None:
        return b"".join(quick)
    kept: deque[bytes] = deque(maxlen=tail)
    for file in files_of(path):
        kept.extend(line for line in _lines(file) if wish.wants(line))
    return b"".join(kept)


def _end_lines(path: Path, tail: int) -> list[bytes] | None:
    """The last lines out of the last block, or None when they are not all in it."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - END_BYTES)
            file.seek(start)
            lines = file.read(END_BYTES).splitlines(keepends=True)
    except OSError:
        return []
    if start > 0:
        lines = lines[1:]
    elif len(files_of(path)) > 1 and len(lines) < tail:
        return None
    if start > 0 and len(lines) < tail:
        return None
    return [_ended(line) for line in lines[-tail:]]


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while line := file.readline(LINE_BYTES_MAX):
                yield _ended(line)
    except OSError:
        return


def _ended(line: bytes) -> bytes:
    return line if line.endswith(b"\n") else line + b"\n"


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """(whole lines, the beginning of the next one); a line without end is cut somewhere."""
    lines = data.splitlines(keepends=True)
    if lines and not lines[-1].endswith((b"\n", b"\r")):
        rest = lines.pop()
        if len(rest) > LINE_BYTES_MAX:
            lines.append(rest + b"\n")
            rest = b""
        return lines, rest
    return lines, b""


def _read_from(path: Path, offset: int) -> tuple[bytes, int]:
    """What was written since `offset`; from the beginning when the file was cut meanwhile."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < offset:
                offset = 0
            file.seek(offset)
            data = file.read(CHUNK_BYTES)
    except OSError:
        return b"", offset
    return data, offset + len(data)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
