"""Which process exactly: a pid alone names whoever happens to have it now.

On Linux a process is named by pid, start time in clock ticks since boot, and the boot itself:
exact, and blind to a clock that is set. Elsewhere by pid and start time as psutil tells it.
Signals go through a pidfd where there is one, so that they cannot reach a later owner of the
number.
"""

import os
import signal
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

_STATE, _SESSION, _STARTED = 0, 3, 19
"""Fields of /proc/<pid>/stat, counted after the name (proc(5): state is the 3rd field)."""


@dataclass(frozen=True, slots=True)
class Birth:
    """One process of all times. `moment`: clock ticks since boot, or milliseconds since 1970."""

    pid: int
    moment: int
    boot: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A process that is there now."""

    birth: Birth
    session: int
    zombie: bool


def see(pid: int) -> Seen | None:
    """The process that has this pid now, or None."""
    if sys.platform == "linux":
        return _see_linux(pid)
    try:
        process = psutil.Process(pid)
        moment = int(process.create_time() * 1000)
        zombie = process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
    session = os.getsid(pid) if hasattr(os, "getsid") else 0
    return Seen(Birth(pid, moment, boot()), session, zombie)


def lives(birth: Birth) -> bool:
    """Whether that very process is there and has not ended."""
    if birth.boot != boot():
        return False
    seen = see(birth.pid)
    return seen is not None and seen.birth == birth and not seen.zombie


def send(birth: Birth, number: signal.Signals) -> bool:
    """Signal that very process; False when it is gone."""
    if not hasattr(os, "pidfd_open"):
        return _send_by_pid(birth, number)
    try:
        descriptor = os.pidfd_open(birth.pid)
    except OSError:
        return _send_by_pid(birth, number)
    try:
        if not lives(birth):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


@cache
def boot() -> str:
    """What tells this start of the machine from all others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def started_epoch(pid: int, fallback: float) -> float:
    """When the process started as the system tells it, in seconds since 1970."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return fallback


def _see_linux(pid: int) -> Seen | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    if len(fields) <= _STARTED:
        return None
    birth = Birth(pid, int(fields[_STARTED]), boot())
    return Seen(birth, int(fields[_SESSION]), fields[_STATE] in "ZX")


def _send_by_pid(birth: Birth, number: signal.Signals) -> bool:
    if not lives(birth):
        return False
    try:
        os.kill(birth.pid, number)
    except ProcessLookupError:
        return False
    return True
