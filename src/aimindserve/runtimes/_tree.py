"""Everything that belongs to one engine: descendants, its session, and whoever carries its token.

An engine may leave processes behind that hold device memory: children of children, daemons with a
session of their own, workers whose parent was killed. No single trace finds them all, so three are
followed; a process that shows none of them is never touched.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from aimindserve.runtimes._birth import Birth, lives, see

TOKEN = "AIMS_RUN_TOKEN"  # noqa: S105 - the name of a variable, not a secret
MARK = "AIMS_MARK"
_HIGHEST = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tree:
    """The living processes of one engine, and their resident memory together."""

    births: frozenset[Birth]
    rss_bytes: int
    peak_bytes: int = 0
    """The sum of each process's own highest: never less than what all had at one time."""
    private_bytes: int = 0
    """Without pages of files and shared memory: two processes may hold the same, and the system
    counts pages of files as available."""


def grow(leader: Birth | None, known: Iterable[Birth]) -> Tree:
    """The leader, what descends from it, and what was known before; all that still lives.

    Cheap enough to be asked now and then: environments are not read.
    """
    births = {birth for birth in known if lives(birth)}
    rss_bytes = peak_bytes = private_bytes = 0
    if leader is not None and lives(leader):
        births.add(leader)
        births.update(_descendants(leader))
    for birth in births:
        resident, shared = _resident(birth)
        rss_bytes += resident
        private_bytes += max(resident - shared, 0)
        peak_bytes += max(_peak(birth), resident)
    return Tree(frozenset(births), rss_bytes, peak_bytes, private_bytes)


def find(leader: Birth | None, known: Iterable[Birth], token: str) -> frozenset[Birth]:
    """Every living process of the engine by all traces. Reads every environment it may."""
    births = set(grow(leader, known).births)
    own_session = leader is not None and lives(leader)
    for process in psutil.process_iter():
        seen = see(process.pid)
        if seen is None or seen.zombie or seen.birth in births:
            continue
        in_session = own_session and leader is not None and seen.session == leader.pid
        if in_session or marks_of(process.pid).get(TOKEN) == token:
            births.add(seen.birth)
            births.update(_descendants(seen.birth))
    return frozenset(births)


def marked(mark: str) -> Mapping[str, tuple[Birth, ...]]:
    """Every living process that carries our mark, by token; parents before their children."""
    found: dict[str, list[Birth]] = {}
    for process in psutil.process_iter():
        marks = marks_of(process.pid)
        if marks.get(MARK) != mark:
            continue
        seen = see(process.pid)
        if seen is not None and not seen.zombie:
            found.setdefault(marks.get(TOKEN, ""), []).append(seen.birth)
    return {
        token: tuple(sorted(births, key=lambda birth: (birth.moment, birth.pid)))
        for token, births in found.items()
    }


def marks_of(pid: int) -> Mapping[str, str]:
    """Our two variables in the environment the process was started with, if it can be read."""
    try:
        environment = psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return {}
    return {name: environment[name] for name in (TOKEN, MARK) if name in environment}


def _descendants(birth: Birth) -> set[Birth]:
    try:
        children = psutil.Process(birth.pid).children(recursive=True)
    except psutil.Error:
        return set()
    seen = (see(child.pid) for child in children)
    return {one.birth for one in seen if one is not None and not one.zombie}


def _resident(birth: Birth) -> tuple[int, int]:
    """(resident, shared of it) bytes; where the system does not tell them apart, none is shared."""
    try:
        seen = psutil.Process(birth.pid).memory_info()
    except psutil.Error:
        return 0, 0
    return seen.rss, int(getattr(seen, "shared", 0))


def _peak(birth: Birth) -> int:
    """`VmHWM` of Linux (proc_pid_status(5)); zero elsewhere."""
    try:
        status = Path(f"/proc/{birth.pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = _HIGHEST.search(status)
    return int(found.group(1)) * 1024 if found is not None else 0
