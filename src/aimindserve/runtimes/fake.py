"""Processes that exist only in this object, on the clock it was given: for the simulation and the
demo. No threads, no sockets, no files; the same script gives the same life every time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aimindserve.core.errors import UnavailableError
from aimindserve.core.launch import LaunchSpec
from aimindserve.kit.clock import Clock
from aimindserve.runtimes.base import Exited, Handle, Running, RunPlace

FIRST_PID = 1000


@dataclass(frozen=True, slots=True)
class Script:
    """The life of one fake process. Times in seconds after its start."""

    start_error: str | None = None
    """It cannot be started at all, and this sentence says why."""
    load_s: float = 1.0
    """Until then it answers that it is loading."""
    silent_s: float = 0.0
    """Until then it does not answer at all."""
    exit_after_s: float | None = None
    exit_code: int | None = 0
    exit_signal: str | None = None
    hang_after_s: float | None = None
    """From then on it lives but does not answer."""
    stop_s: float = 0.1
    """How long it takes to end when asked to; longer than the grace time means it is killed."""
    rss_bytes: int = 0
    tokens_s: float = 20.0
    """What a request gets of it in a second."""
    answer_tokens: int = 50
    """The length of every answer."""


STEADY = Script()
Play = Callable[[LaunchSpec, RunPlace], Script]


@dataclass(slots=True)
class _Life:
    handle: Handle
    script: Script
    born: float
    ended: Exited | None = None
    answers: int = 0


class FakeRuntime:
    """A runtime whose processes outlive the agent as long as this object lives.

    `play` is asked for the script of every start; without it every process loads for a second and
    then runs for ever.
    """

    name = "fake"

    def __init__(self, root: Path, clock: Clock, play: Play | None = None) -> None:
        self._root = root
        self._clock = clock
        self.play: Play = play or (lambda _spec, _place: STEADY)
        self._lives: dict[str, _Life] = {}
        self._started = 0

    async def start(self, spec: LaunchSpec, place: RunPlace) -> Handle:
        """Raises UnavailableError when its script says so."""
        script = self.play(spec, place)
        if script.start_error is not None:
            raise UnavailableError(script.start_error)
        self._started += 1
        handle = Handle(
            instance=place.instance,
            instance_id=place.instance_id,
            placement_id=place.placement_id,
            rank=place.rank,
            run=place.run,
            token=f"fake-{self._started}",
            pid=FIRST_PID + self._started,
            started_at=self._clock.now(),
            port=spec.port,
            secret=place.secret,
            log_path=place.log_path,
        )
        self._lives[handle.token] = _Life(handle, script, self._clock.monotonic())
        return handle

    async def recover(self) -> Sequence[Handle]:
        """Every fake process that lives."""
        return [life.handle for life in self._lives.values() if self._exit(life) is None]

    async def observe(self, handle: Handle) -> Running | Exited:
        """Whether it lives by its script."""
        life = self._lives.get(handle.token)
        if life is None:
            return Exited()
        size = life.script.rss_bytes
        return self._exit(life) or Running(size, size, size, (handle.pid,))

    async def stop(self, handle: Handle, grace_s: float) -> None:
        """Takes as long as its script says, at most the grace time."""
        life = self._lives.get(handle.token)
        if life is None:
            return
        if self._exit(life) is None:
            await self._clock.sleep(min(life.script.stop_s, grace_s))
        self._lives.pop(handle.token, None)

    def answer(self, handle: Handle) -> str:
        """What a health check would find: ready, loading, or silent."""
        life = self._lives.get(handle.token)
        if life is None or self._exit(life) is not None:
            return "silent"
        age_s = self._clock.monotonic() - life.born
        hang_s = life.script.hang_after_s
        if age_s < life.script.silent_s or (hang_s is not None and age_s >= hang_s):
            return "silent"
        return "loading" if age_s < life.script.load_s else "ready"

    def visited(self, handle: Handle) -> None:
        """It has answered one request more."""
        life = self._lives.get(handle.token)
        if life is not None:
            life.answers += 1

    def counted(self, handle: Handle) -> tuple[float, float, float] | None:
        """What it counts: (tokens, seconds that they took after each answer's first, answers); None
        when it does not answer."""
        life = self._lives.get(handle.token)
        if life is None or self.answer(handle) != "ready":
            return None
        length = life.script.answer_tokens
        seconds = life.answers * (length - 1) / life.script.tokens_s
        return life.answers * length, seconds, life.answers

    def loaded(self, handle: Handle) -> float:
        """0 to 1: how much of what it loads has been loaded."""
        life = self._lives.get(handle.token)
        if life is None:
            return 0.0
        age_s = self._clock.monotonic() - life.born
        return min(age_s / life.script.load_s, 1.0) if life.script.load_s else 1.0

    @property
    def living(self) -> Sequence[Handle]:
        """Every fake process that lives now: the truth that a simulation checks claims against."""
        return [life.handle for life in self._lives.values() if self._exit(life) is None]

    def kill(self, token: str, *, signal: str = "SIGKILL") -> None:
        """End one process from outside."""
        life = self._lives[token]
        life.ended = Exited(signal=signal)

    def rewrite(self, token: str, **changes: float | int | str | None) -> None:
        """Change the script of a process that lives."""
        life = self._lives[token]
        life.script = replace(life.script, **changes)

    def power_off(self) -> None:
        """Everything ends at once, unseen: the machine lost its power."""
        self._lives.clear()

    def _exit(self, life: _Life) -> Exited | None:
        limit_s = life.script.exit_after_s
        age_s = self._clock.monotonic() - life.born
        if life.ended is None and limit_s is not None and age_s >= limit_s:
            life.ended = Exited(life.script.exit_code, life.script.exit_signal)
        return life.ended


PLUGIN = FakeRuntime
