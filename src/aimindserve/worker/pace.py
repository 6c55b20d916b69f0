"""How fast engines generate, as they count it themselves. Pure: what a page says, and what it adds
up to.

    page ─counted─▶ Counted ─looked─▶ Pace: tokens and seconds of one process

An engine's page is not trusted: it is cut off by its size before it comes here, a sample that is no
number makes it say nothing, and what is absurd is left out. Counters that went down were begun
anew. Of an engine that an agent before this one started, only what it counts from the first look on
is added up: how many requests it had been handed until then is not known.
"""

import math
import re
from dataclasses import replace

from aimindserve.core.launch import Counters
from aimindserve.worker.observed import Counted, Health, Pace, Process

SAMPLES_MAX = 1000
"""Of one name: one for each combination of labels, of which an engine has a handful."""
COUNT_MAX = 1e15
"""No engine lives long enough to count further; beyond it floats skip numbers."""
_REST = re.compile(rb'(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+([^\s]+)')
"""What follows a sample's name: labels, perhaps, and the value (Prometheus' exposition formats,
"text-based format"; what may come after the value is a time, which nobody needs)."""


def counted(page: bytes, counters: Counters) -> Counted | None:
    """What `page` says; None when a counter is missing or makes no sense."""
    lines = b"\n" + page
    tokens, seconds = _sum(lines, counters.tokens), _sum(lines, counters.seconds)
    answers = _sum(lines, counters.answers) if counters.answers else None
    if tokens is None or seconds is None or (counters.answers and answers is None):
        return None
    return Counted(tokens, seconds, answers)


def is_due(process: Process, answered: int) -> bool:
    """Whether to ask now: it has answered since the last time, `answered` in all, or may have
    before anybody here knew it. Its secret is for the engine alone: that it listens on its port
    itself was proven when it became ready."""
    if process.probe.counters is None or process.stopping or process.gone is not None:
        return False
    if process.health is not Health.READY:
        return False
    if process.pace is None:
        return process.adopted or answered > 0
    return process.pace.answered != answered


def looked(process: Process, now: Counted | None, answered: int) -> Pace:
    """The pace of `process` after its page said `now`, when it had `answered` so many requests."""
    before = process.pace
    if before is None:
        before = Pace(answered, None) if process.adopted else Pace(0, Counted(answers=0.0))
    last, answers = before.last, before.answers
    if last is None:
        return replace(before, answered=answered, last=now)
    if process.probe.counters is None or not process.probe.counters.answers:
        answers += max(answered - before.answered, 0)
    if now is None:
        return replace(before, answered=answered, answers=answers)
    if now.tokens < last.tokens or now.seconds < last.seconds:
        last = Counted(answers=0.0)
    if now.answers is not None:
        answers += max(now.answers - (last.answers or 0.0), 0.0)
    return Pace(
        answered=answered,
        last=now,
        tokens=before.tokens + now.tokens - last.tokens,
        seconds=before.seconds + now.seconds - last.seconds,
        answers=answers,
    )


def generated(process: Process) -> tuple[int | None, float]:
    """Tokens but for those that came with the prompts, and the seconds they took."""
    counters, pace = process.probe.counters, process.pace
    if counters is None:
        return 0, 0.0
    if pace is None:
        return None, 0.0
    free = pace.answers if counters.first_too else 0.0
    return max(int(pace.tokens - free), 0), round(pace.seconds, 3)


def _sum(page: bytes, name: str) -> float | None:
    """All samples called `name`, which stands at the beginning of a line."""
    word, total, found = b"\n" + name.encode(), 0.0, 0
    at = page.find(word)
    while at >= 0:
        at += len(word)
        sample = _REST.match(page, at, _end(page, at))
        if sample is not None:
            found += 1
            value = _number(sample[1])
            if value is None or found > SAMPLES_MAX:
                return None
            total += value
        at = page.find(word, at)
    return total if found and total <= COUNT_MAX else None


def _end(page: bytes, at: int) -> int:
    end = page.find(b"\n", at)
    return end if end >= 0 else len(page)


def _number(text: bytes) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
