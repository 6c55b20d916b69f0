"""One child process of the supervisor: start it, read what it says, tell it to end, kill it.

Must not decide anything: what happens is told to the supervisor as events.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aimindserve.boot.log_file import LogFile
from aimindserve.boot.order import Order

LINE_MAX_BYTES = 64 * 1024
LAST_WORDS_S = 1.0
READY_LINE = "\x1eready"
"""What a child writes on standard output when it does its work."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and where its words go."""

    name: str
    argv: Sequence[str]
    cwd: Path
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Started:
    """The child does its work."""

    name: str
    life: int


@dataclass(frozen=True, slots=True)
class Said:
    """The child wrote a line."""

    name: str
    line: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The child is gone. `code` is negative for a signal, as `subprocess` has it."""

    name: str
    life: int
    code: int


Event = Started | Said | Ended


class Process:
    """One life of one child. Events of it reach `tell` from other threads."""

    def __init__(
        self, command: Command, life: int, log: LogFile, tell: Callable[[Event], None]
    ) -> None:
        self._command = command
        self._life = life
        self._log = log
        self._tell = tell
        # A session of its own: Ctrl-C in the terminal is for the supervisor, which stops in order.
        self._process = subprocess.Popen(  # noqa: S603 - our own modules with a path as argument
            list(command.argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=command.cwd,
            env=dict(command.environ),
            start_new_session=sys.platform != "win32",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        name = f"{command.name}-{life}"
        self._reader = threading.Thread(target=self._read, name=f"{name}-read", daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, name=f"{name}-wait", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def life(self) -> int:
        """How many times this child has been started, counting this one."""
        return self._life

    def order(self, order: Order) -> None:
        """Tell it something; one that is gone, or does not listen, is left alone."""
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                pipe.write(f"{order.value}\n".encode())
                pipe.flush()

    def kill(self) -> None:
        """End it and everything in its session, now."""
        if sys.platform == "win32":
            self._process.kill()
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        with stream:
            while line := stream.readline(LINE_MAX_BYTES):
                self._take(line)

    def _take(self, line: bytes) -> None:
        if line.rstrip() == READY_LINE.encode():
            self._tell(Started(self._command.name, self._life))
            return
        self._log.write(line if line.endswith(b"\n") else line + b"\n")
        self._tell(Said(self._command.name, line.decode("utf-8", "replace").rstrip()))

    def _wait(self) -> None:
        code = self._process.wait()
        # What it said last is told before its end; a stray grandchild must not hold that up.
        self._reader.join(LAST_WORDS_S)
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
        self._tell(Ended(self._command.name, self._life, code))
