"""Showing how a deployment comes up: live lines on a terminal, one plain line a change elsewhere.

Always on standard error; standard output is for data.
"""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from aimindserve.cli._invocation import Invocation
from aimindserve.cli._text import reason_text
from aimindserve.client.waiting import Progress, Stage

if TYPE_CHECKING:
    from rich.console import Group
    from rich.spinner import Spinner
    from rich.text import Text

STAGES = ("queued", "placing", "preparing", "starting", "loading", "ready")
"""The phases of an instance on its way, in order."""
Show = Callable[[Progress], None]


@contextmanager
def showing(here: Invocation, name: str) -> Generator[Show]:
    """A function to tell each Progress to, in the manner that fits where standard error goes."""
    if here.quiet:
        yield _say_nothing
    elif sys.stderr.isatty():
        with _live(here, name) as show:
            yield show
    else:
        yield PlainLines(here).show


@dataclass(slots=True)
class PlainLines:
    """One line for each change of an instance's phase or reason."""

    here: Invocation
    _told: dict[str, str] = field(default_factory=dict[str, str])

    def show(self, progress: Progress) -> None:
        """Print what has changed since the last time."""
        for stage in progress.stages:
            line = told(self.here, stage)
            if self._told.get(stage.instance) != line:
                self._told[stage.instance] = line
                click.echo(line, err=True)


def told(here: Invocation, stage: Stage) -> str:
    """`qwen-1a2b3  loading on gpu-01`, with the reason if there is one."""
    key, phase = ("progress_at" if stage.worker else "progress"), here.term(stage.phase)
    line = here.text(key, instance=stage.instance, phase=phase, worker=stage.worker)
    if stage.reason is not None and stage.phase != "ready":
        line += f": {reason_text(stage.reason, here.language)[0]}"
    return line


def _say_nothing(_progress: Progress) -> None:
    return None


@contextmanager
def _live(here: Invocation, name: str) -> Generator[Show]:
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

    console = Console(stderr=True, highlight=False)
    spinners: dict[str, Spinner] = {}
    title = Spinner("dots", here.text("starting", name=name))
    with Live(title, console=console, refresh_per_second=10, transient=True) as live:

        def show(progress: Progress) -> None:
            live.update(_lines(here, progress, spinners) if progress.stages else title)

        yield show


def _lines(here: Invocation, progress: Progress, spinners: "dict[str, Spinner]") -> "Group":
    from rich.console import Group, RenderableType
    from rich.spinner import Spinner
    from rich.text import Text

    rows: list[RenderableType] = []
    for stage in progress.stages:
        text = Text().append(f"{stage.instance}  ", style="bold")
        text.append_text(_track(here, stage.phase))
        if stage.worker:
            text.append(f"  {stage.worker}", style="dim")
        if stage.reason is not None and stage.phase != "ready":
            text.append(f"\n  {reason_text(stage.reason, here.language)[0]}", style="yellow")
        spinner = spinners.setdefault(stage.instance, Spinner("dots"))
        if stage.phase == "ready":
            rows.append(Text("✓ ", style="green").append_text(text))
        else:
            spinner.update(text=text)
            rows.append(spinner)
    return Group(*rows)


def _track(here: Invocation, phase: str) -> "Text":
    """The stages as a list with ticks: what is behind, what is now, what is still to come."""
    from rich.text import Text

    if phase not in STAGES:
        return Text(here.term(phase), style="red" if phase in {"failed", "lost"} else "yellow")
    now = STAGES.index(phase)
    text = Text()
    for place, word in enumerate(STAGES[: now + 1]):
        style = "bold" if place == now else "dim"
        told = here.term(word)
        text.append(told if place == now else f"{told} ✓ ", style=style)
    return text
