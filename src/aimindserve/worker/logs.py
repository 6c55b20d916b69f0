"""Where runs of engines write to, kept within bounds.

An engine writes straight into its log file, opened for appending: its output needs no agent and no
pipe that could break. Rotation therefore copies and cuts: what grew over the limit is copied to
`….log.1` (older ones move up) and the file is cut to nothing; because the engine appends, its next
line goes to the new beginning. Lines written between the copy's end and the cut are lost; that is
the price for output that survives the agent. While no agent runs nobody cuts.

    <log_dir>/serve/<instance>/<run>.log   <run>.log.1   <run>.log.2
    <root>/runs/<instance>/<run>/          private directory of the run: configuration, secrets
    <root>/runs/<instance>/home/           what its engine keeps from run to run: compiled code
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aimindserve.core.errors import InvalidError
from aimindserve.core.ids import is_name
from aimindserve.kit.log import get_logger

log = get_logger("worker")

SIZE_LIMIT = 10 * 1024**2
FILES_PER_RUN = 3
RUNS_KEPT = 5
INSTANCES_KEPT = 64
"""Logs of instances that are gone, the most recent ones."""
END_BYTES = 64 * 1024
HEAD_BYTES = 1024 * 1024
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_GONE = ".gone-"
_RUN_FILE = re.compile(r"^(\d{1,9})\.log(?:\.\d)?$")


class RunLogs:
    """The log files and run directories of one worker."""

    def __init__(self, runs_root: Path, logs_root: Path, *, size_limit: int = SIZE_LIMIT) -> None:
        self._runs = runs_root
        self._logs = logs_root
        self._size_limit = size_limit

    def place(self, instance: str, run: int) -> tuple[str, str]:
        """(run directory, log path) of one run. Raises InvalidError for a name that is none."""
        if not is_name(instance):
            raise InvalidError(f"{instance!r} is not the name of an instance.")
        run_dir = self._runs / instance / str(run)
        return str(run_dir), str(self._logs / instance / f"{run}.log")

    def size(self, log_path: str) -> int:
        """Bytes in the present log file."""
        try:
            return Path(log_path).stat().st_size
        except OSError:
            return 0

    async def last_lines(self, log_path: str, count: int) -> Sequence[str]:
        """The end of a log, without control characters."""
        return await asyncio.to_thread(last_lines, Path(log_path), count)

    async def first_lines(self, log_path: str, count: int) -> Sequence[str]:
        """The beginning of a log, without control characters; the oldest part that is kept."""
        return await asyncio.to_thread(first_lines, Path(log_path), count)

    async def sweep(self, living: Sequence[tuple[str, int]], known: Sequence[str]) -> None:
        """After a crash: remove private directories of runs that do not live, (instance, run), and
        everything of instances that are not known."""
        await asyncio.to_thread(self._sweep, living, known)

    async def tidy(self, living: Sequence[tuple[str, int]]) -> None:
        """Rotate logs that have grown, drop those of old runs and of instances long gone."""
        await asyncio.to_thread(self._tidy, living)

    def home(self, instance: str) -> str:
        """The directory in which an instance's engine may keep things from one run to the next."""
        if not is_name(instance):
            raise InvalidError(f"{instance!r} is not the name of an instance.")
        return str(self._runs / instance / "home")

    def drop_run(self, instance: str, run: int) -> None:
        """Remove the private directory of a run that is over."""
        if is_name(instance):
            shutil.rmtree(self._runs / instance / str(run), ignore_errors=True)
            self._remove_if_empty(self._runs / instance)

    async def forget(self, instance: str) -> None:
        """Remove every private directory of an instance that is not wanted here any more."""
        if not is_name(instance):
            return
        # Out of the way at once, so that this cannot hit a next life of the same name.
        with contextlib.suppress(OSError):
            (self._runs / instance).rename(self._runs / f"{_GONE}{secrets.token_hex(4)}")
        await asyncio.to_thread(self._drop_gone)

    def runs(self, instance: str) -> Sequence[int]:
        """Runs of which there is a log, oldest first."""
        if not is_name(instance):
            return []
        numbers = {run for run, _ in _run_files(self._logs / instance)}
        return sorted(numbers)

    def _tidy(self, living: Sequence[tuple[str, int]]) -> None:
        for instance, run in living:
            if is_name(instance):
                rotate(self._logs / instance / f"{run}.log", self._size_limit)
                self._drop_old_runs(self._logs / instance)
        names = {instance for instance, _ in living}
        gone = [path for path in _folders(self._logs) if path.name not in names]
        gone.sort(key=_modified, reverse=True)
        for path in gone[INSTANCES_KEPT:]:
            shutil.rmtree(path, ignore_errors=True)

    def _drop_old_runs(self, folder: Path) -> None:
        files = list(_run_files(folder))
        kept = sorted({run for run, _ in files})[-RUNS_KEPT:]
        for run, path in files:
            if run not in kept:
                path.unlink(missing_ok=True)

    def _sweep(self, living: Sequence[tuple[str, int]], known: Sequence[str]) -> None:
        kept = {*known, *(instance for instance, _ in living)}
        for folder in _folders(self._runs):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for run in _folders(folder):
                if run.name.isdecimal() and (folder.name, int(run.name)) not in living:
                    shutil.rmtree(run, ignore_errors=True)

    def _drop_gone(self) -> None:
        for folder in _folders(self._runs):
            if folder.name.startswith(_GONE):
                shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def _remove_if_empty(folder: Path) -> None:
        try:
            folder.rmdir()
        except OSError:
            return


def rotate(path: Path, limit: int) -> bool:
    """Copy and cut `path` when it is over `limit`; whether that was done. A full disk cuts without
    a copy: a machine that works is worth more than old lines."""
    try:
        if path.stat().st_size <= limit:
            return False
    except OSError:
        return False
    try:
        for number in range(FILES_PER_RUN - 1, 1, -1):
            older = path.with_name(f"{path.name}.{number - 1}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number}"))
        copy = path.with_name(f"{path.name}.1")
        descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as target, path.open("rb") as source:
            shutil.copyfileobj(source, target, 1024 * 1024)
    except OSError as error:
        log.error("log.not_rotated", path=str(path), error=str(error))
    os.truncate(path, 0)
    return True


def files_of(path: Path) -> Sequence[Path]:
    """The files of one run's log, oldest first."""
    names = [f"{path.name}.{number}" for number in range(FILES_PER_RUN - 1, 0, -1)]
    return [one for one in (*(path.with_name(name) for name in names), path) if one.exists()]


def last_lines(path: Path, count: int) -> Sequence[str]:
    """The last lines at the end of one file, clean."""
    return clean(_end(path, END_BYTES))[-count:] if count > 0 else []


def first_lines(path: Path, count: int) -> Sequence[str]:
    """The first lines of what is kept of one run's log, clean."""
    oldest = next(iter(files_of(path)), path)
    try:
        with oldest.open("rb") as file:
            data = file.read(HEAD_BYTES)
    except OSError:
        return []
    return clean(data)[:count]


def clean(data: bytes) -> list[str]:
    """Lines as text without colours, cursor movements and other control characters; of what was
    drawn over with a carriage return, the last state."""
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    drawn = (line.rstrip("\r").rpartition("\r")[2] for line in lines)
    kept = [_CONTROL.sub("", line).rstrip() for line in drawn]
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _end(path: Path, length: int) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - length))
            data = file.read(length)
    except OSError:
        return b""
    return data if size <= length else data.partition(b"\n")[2]


def _run_files(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in _entries(folder):
        match = _RUN_FILE.match(path.name)
        if match is not None:
            yield int(match.group(1)), path


def _folders(root: Path) -> Iterable[Path]:
    return (path for path in _entries(root) if path.is_dir())


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
