"""Which servers of this user run on this machine: a small file for each, which commands read.

    $XDG_RUNTIME_DIR/aimindserve/<pid>.json      where the system has such a place for the user
    /run/aimindserve/<pid>.json                  root's
    <temporary>/aimindserve-<uid>/<pid>.json     elsewhere

A file counts only while the process that wrote it lives: its id and the time it was started are in
it, so that neither a crash nor a process id used again leads to a server that is gone. The folders
are readable by their user alone; whoever else could write there could redirect commands.
"""

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aimindserve.boot.settings import Machine

NAME = "aimindserve"
SAME_START_S = 2.0
"""Clocks are read twice, and some systems know the start of a process only to a hundredth."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A server that runs here."""

    url: str
    """Its address for this machine."""
    pid: int
    started: float
    """When its process was started, in seconds since the epoch."""
    data_dir: str


def announce(machine: Machine, url: str, data_dir: Path) -> Path:
    """Say that this process is a server at `url`; the file to remove at the end.

    Files of servers that are gone are removed. Raises OSError when there is no place for it.
    """
    pid = os.getpid()
    told = Presence(url, pid, _started(pid) or 0.0, str(data_dir))
    tried = (_write(folder, told) for folder in _folders(machine))
    errors: list[OSError] = []
    for outcome in tried:
        if isinstance(outcome, Path):
            return outcome
        errors.append(outcome)
    raise errors[-1]


def present(machine: Machine) -> Sequence[Presence]:
    """The servers of this user that run now, the oldest first."""
    found = (_read(file) for folder in _folders(machine, reading=True) for file in _files(folder))
    # Two places may hold one server's file; a process is one server.
    living = {each.pid: each for each in found if each is not None and _lives(each)}
    return sorted(living.values(), key=lambda each: (each.started, each.pid))


def _folders(machine: Machine, *, reading: bool = False) -> Iterator[Path]:
    """Where the files may be, the best place first."""
    getuid = getattr(os, "getuid", None)
    uid = None if getuid is None else getuid()
    runtime = machine.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        yield Path(runtime) / NAME
    elif reading and uid is not None and machine.platform == "linux":
        # Where a session has it; a job without one, such as cron's, is not told. Nothing is written
        # there then: it is removed when the last session ends, and a service goes on.
        yield Path("/run/user") / str(uid) / NAME
    if machine.is_root and machine.platform == "linux" and (reading or not runtime):
        yield Path("/run") / NAME
    yield Path(tempfile.gettempdir()) / (NAME if uid is None else f"{NAME}-{uid}")


def _write(folder: Path, told: Presence) -> Path | OSError:
    from aimindserve.kit.secrets import write_private

    file = folder / f"{told.pid}.json"
    try:
        _make_private(folder)
        _sweep(folder)
        write_private(file, json.dumps(asdict(told)) + "\n")
    except OSError as error:
        return error
    return file


def _make_private(folder: Path) -> None:
    """Raises OSError when the folder cannot be ours alone."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_ours(folder):
        raise PermissionError(f"{folder} belongs to somebody else")
    folder.chmod(0o700)


def _is_ours(folder: Path) -> bool:
    getuid = getattr(os, "getuid", None)
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and (getuid is None or facts.st_uid == getuid())


def _files(folder: Path) -> Sequence[Path]:
    """Nothing from a folder that somebody else may have made in a shared place."""
    if not _is_ours(folder):
        return []
    try:
        return sorted(folder.glob("*.json"))
    except OSError:
        return []


def _read(file: Path) -> Presence | None:
    try:
        known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        started, folder = float(known["started"]), str(known["data_dir"])
        return Presence(str(known["url"]), int(known["pid"]), started, folder)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _sweep(folder: Path) -> None:
    for file in _files(folder):
        known = _read(file)
        if known is None or not _lives(known):
            with contextlib.suppress(OSError):
                file.unlink()


def _lives(known: Presence) -> bool:
    started = _started(known.pid)
    return started is not None and abs(started - known.started) < SAME_START_S


def _started(pid: int) -> float | None:
    """When the process was started; None when there is none."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except (psutil.Error, ValueError, OverflowError):
        return None
