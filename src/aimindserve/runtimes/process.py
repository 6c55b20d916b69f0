"""Processes of this machine: started in a session of their own, found again after the agent died,
ended with everything that descends from them.

    start ── record (token) ── process with AIMS_RUN_TOKEN, AIMS_MARK ── record (pid, start time)
    agent dies here, there, anywhere ──▶ recover(): records + every process that carries our mark

The engine writes to its log file itself, so its output does not depend on the agent. What it is
given and denied is `_confine`'s.
"""

import asyncio
import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from aimindserve.core.errors import UnavailableError
from aimindserve.core.launch import LaunchSpec
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.secrets import new_secret
from aimindserve.runtimes import _confine, _tree
from aimindserve.runtimes._birth import Birth, lives, see, send, started_epoch
from aimindserve.runtimes._record import Record, Records
from aimindserve.runtimes.base import Exited, Handle, Running, RunPlace

log = get_logger("runtime")

MEASURE_S = 10.0
POLL_S = 0.02
KILL_LIMIT_S = 10.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

R = TypeVar("R")


class ProcessRuntime:
    """Runs a LaunchSpec as a process of this machine."""

    name = "process"

    def __init__(
        self, root: Path, clock: Clock, inherited: Mapping[str, str] | None = None
    ) -> None:
        """`root`: the agent's own directory; its path marks our processes. `inherited`: from which
        `_confine`'s allow-list is taken; a plain environment when not given."""
        self._clock = clock
        self._root = root
        self._records = Records(root / "processes")
        self._mark = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
        self._inherited = dict(inherited) if inherited is not None else _plain()
        self._children: set[str] = set()
        """Tokens of processes whose parent we are: only their exit status can be learned."""
        self._exits: dict[str, Exited] = {}
        self._births: dict[str, Birth] = {}
        self._trees: dict[str, _tree.Tree] = {}
        self._measured: dict[str, float] = {}

    async def start(self, spec: LaunchSpec, place: RunPlace) -> Handle:
        """Start it; raises UnavailableError with a sentence when it cannot be started."""
        handle = Handle(
            instance=place.instance,
            instance_id=place.instance_id,
            placement_id=place.placement_id,
            rank=place.rank,
            run=place.run,
            token=new_secret(),
            pid=0,
            started_at=self._clock.now(),
            port=spec.port,
            secret=place.secret,
            log_path=place.log_path,
        )
        return await _in_thread(lambda: self._start(spec, place, handle))

    async def recover(self) -> Sequence[Handle]:
        """Every engine of ours that lives, also one of which only a part is left."""
        return await _in_thread(self._recover)

    async def observe(self, handle: Handle) -> Running | Exited:
        """Whether it lives. Its memory is measured every ten seconds, which reads all of /proc."""
        exited = self._exit_of(handle)
        if exited is not None:
            return exited
        now = self._clock.monotonic()
        if now - self._measured.get(handle.token, -MEASURE_S) >= MEASURE_S:
            self._measured[handle.token] = now
            await _in_thread(lambda: self._measure(handle.token))
        tree = self._trees.get(handle.token)
        if tree is None:
            return Running()
        pids = tuple(sorted(birth.pid for birth in tree.births))
        return Running(tree.rss_bytes, tree.peak_bytes, tree.private_bytes, pids)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        """Ask it to end, wait, then kill whatever is left of its tree. Raises UnavailableError when
        something cannot even be killed (a process stuck in a driver)."""
        birth = self._birth_of(handle)
        known = await _in_thread(lambda: self._find(handle))
        if birth is not None and grace_s > 0 and self._exit_of(handle) is None:
            send(birth, signal.SIGTERM)
            await self._await_exit(handle, grace_s)
        deadline = self._clock.monotonic() + KILL_LIMIT_S
        while left := await _in_thread(lambda: self._find(handle, known)):
            for one in left:
                send(one, _kill_signal())
            self._exit_of(handle)
            if self._clock.monotonic() >= deadline:
                pids = ", ".join(str(one.pid) for one in sorted(left, key=lambda b: b.pid))
                raise UnavailableError(
                    f"Processes {pids} of {handle.instance} cannot be ended.",
                    hint="They hang in the system or a driver; the machine may need a restart.",
                )
            await self._clock.sleep(POLL_S)
        self._exit_of(handle)
        await _in_thread(lambda: self._forget(handle.token))

    def owns(self, handle: Handle, pid: int) -> bool:
        """Whether the process `pid` belongs to this engine. Blocks for some milliseconds."""
        seen = see(pid)
        return seen is not None and seen.birth in self._find(handle)

    def _start(self, spec: LaunchSpec, place: RunPlace, handle: Handle) -> Handle:
        try:
            self._records.put(Record(handle))
            self._write_files(spec, place)
            self._scratch(handle.token).mkdir(mode=0o700, parents=True)
            pid = self._spawn(spec, place, handle)
        except OSError as error:
            self._drop(handle.token)
            raise _not_started(error, spec) from error
        _confine.limit(pid)
        seen = see(pid)
        birth = seen.birth if seen is not None else Birth(pid, 0, "")
        born = replace(handle, pid=pid, started_at=started_epoch(pid, handle.started_at))
        self._children.add(handle.token)
        self._births[handle.token] = birth
        self._records.put(Record(born, birth))
        return born

    def _write_files(self, spec: LaunchSpec, place: RunPlace) -> None:
        run_dir = Path(place.run_dir)
        for folder in (run_dir, _home(place)):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in spec.files:
            if Path(name).name != name or name in {"", ".", ".."}:
                raise UnavailableError(f"{name!r} is not a plain file name")
            descriptor = os.open(run_dir / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)

    def _spawn(self, spec: LaunchSpec, place: RunPlace, handle: Handle) -> int:
        log_path = Path(place.log_path)
        log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Appending is what lets the log be cut while the engine writes: its next line then goes to
        # the new end instead of leaving a hole.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC
        output = os.open(log_path, flags, 0o600)

        def popen() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(  # noqa: S603 - argv comes from a backend, never from a shell
                list(spec.argv),
                env=self._environment(spec, place, handle),
                cwd=spec.cwd or place.run_dir,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=True,
                umask=_confine.UMASK if os.name == "posix" else -1,
            )

        try:
            process = _confine.confined(popen)
        except (ValueError, IndexError) as error:
            raise UnavailableError(f"the command cannot be run: {error}") from error
        finally:
            os.close(output)
        # From here on the process is waited for by pid (`_exit_of`): it must be able to outlive
        # this object without a warning.
        process.returncode = 0
        return process.pid

    def _environment(self, spec: LaunchSpec, place: RunPlace, handle: Handle) -> Mapping[str, str]:
        scratch = self._scratch(handle.token)
        environment = _confine.environment(self._inherited, _home(place), scratch)
        environment.update(spec.env)
        environment[_tree.TOKEN] = handle.token
        environment[_tree.MARK] = self._mark
        return environment

    def _recover(self) -> Sequence[Handle]:
        alive = dict(_tree.marked(self._mark))
        handles: list[Handle] = []
        for record in self._records.all():
            token = record.handle.token
            mine = alive.pop(token, ())
            found = self._revive(record, mine)
            if found is None:
                self._drop(token)
            else:
                handles.append(found)
        handles.extend(_stray(token, births[0]) for token, births in alive.items())
        return handles

    def _revive(self, record: Record, mine: Sequence[Birth]) -> Handle | None:
        """The handle of a recorded process of which at least something lives."""
        token = record.handle.token
        birth = record.birth
        if birth is None and mine:
            # The agent died between the start and the second record: the oldest process that
            # carries the token is the one that was started.
            birth = mine[0]
            handle = replace(record.handle, pid=birth.pid, started_at=started_epoch(birth.pid, 0.0))
            record = Record(handle, birth)
            self._records.put(record)
        if birth is None or not (mine or lives(birth)):
            return None
        self._births[token] = birth
        return record.handle

    def _exit_of(self, handle: Handle) -> Exited | None:
        """How the process ended, or None while it lives; reaps it when it is our child."""
        token = handle.token
        if token in self._exits:
            return self._exits[token]
        birth = self._birth_of(handle)
        if token in self._children and hasattr(os, "WNOHANG"):
            exited = _reap(handle.pid)
        else:
            exited = None if birth is not None and lives(birth) else Exited()
        if exited is not None:
            self._exits[token] = exited
        return exited

    def _birth_of(self, handle: Handle) -> Birth | None:
        if handle.token not in self._births:
            record = self._records.get(handle.token)
            if record is None or record.birth is None:
                return None
            self._births[handle.token] = record.birth
        return self._births[handle.token]

    def _measure(self, token: str) -> None:
        before = self._trees.get(token)
        known = before.births if before is not None else frozenset[Birth]()
        self._trees[token] = _tree.grow(self._births.get(token), known)

    def _find(self, handle: Handle, known: frozenset[Birth] = frozenset()) -> frozenset[Birth]:
        tree = self._trees.get(handle.token)
        if tree is not None:
            known |= tree.births
        return _tree.find(self._birth_of(handle), known, handle.token)

    def _scratch(self, token: str) -> Path:
        return _confine.scratch_dir(self._root, token)

    def _drop(self, token: str) -> None:
        """Nothing of it lives: what is kept of it on disk may go."""
        shutil.rmtree(self._scratch(token), ignore_errors=True)
        self._records.drop(token)

    def _forget(self, token: str) -> None:
        self._drop(token)
        self._children.discard(token)
        for kept in (self._exits, self._births, self._trees, self._measured):
            kept.pop(token, None)

    async def _await_exit(self, handle: Handle, limit_s: float) -> None:
        deadline = self._clock.monotonic() + limit_s
        while self._exit_of(handle) is None and self._clock.monotonic() < deadline:
            await self._clock.sleep(POLL_S)


async def _in_thread(work: Callable[[], R]) -> R:
    """Run blocking `work` aside. It always runs to its end: a start that was cancelled half-way
    would leave a process nobody has a handle of."""
    task = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _not_started(error: OSError, spec: LaunchSpec) -> UnavailableError:
    subject = str(error.filename or (spec.argv[0] if spec.argv else ""))
    params: dict[str, str] = {}
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        params = {"reason": "disk_full", "path": subject}
    return UnavailableError(f"{subject}: {error.strerror or error}", params=params)


def _reap(pid: int) -> Exited | None:
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return Exited()
    if done == 0:
        return None
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return Exited(code=code)
    try:
        return Exited(signal=signal.Signals(-code).name)
    except ValueError:
        return Exited(signal=f"signal {-code}")


def _stray(token: str, birth: Birth) -> Handle:
    """A process with our mark of which nothing is written down: named, so that it can be ended."""
    return Handle(
        instance="",
        instance_id="",
        placement_id="",
        rank=0,
        run=0,
        token=token,
        pid=birth.pid,
        started_at=started_epoch(birth.pid, 0.0),
        port=0,
        secret="",
        log_path="",
    )


def _home(place: RunPlace) -> Path:
    return Path(place.home_dir or place.run_dir)


def _plain() -> Mapping[str, str]:
    own_programs = str(Path(sys.executable).parent)
    return {"PATH": f"{own_programs}{os.pathsep}{SYSTEM_PATH}", "LANG": "C.UTF-8"}


def _kill_signal() -> signal.Signals:
    return signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM


PLUGIN = ProcessRuntime
