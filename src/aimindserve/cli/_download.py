"""Showing a download: a bar on a terminal, a line at every quarter elsewhere."""

import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

from aimindserve.cli._invocation import Invocation
from aimindserve.kit.units import format_bytes

Progress = Callable[[int, int], Awaitable[None]]
QUARTER = 25


@contextmanager
def downloading(here: Invocation, name: str, tell: Callable[[str], None]) -> Generator[Progress]:
    """A function to tell (bytes so far, bytes in all) to."""
    if sys.stderr.isatty():
        with _bar(here.text("fetching", name=name)) as progress:
            yield progress
    else:
        yield _lines(here, name, tell)


@contextmanager
def _bar(title: str) -> Generator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)

        async def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield progress


def _lines(here: Invocation, name: str, tell: Callable[[str], None]) -> Progress:
    told = -1

    async def progress(done: int, total: int) -> None:
        nonlocal told
        quarter = 100 * done // total // QUARTER if total else 0
        # A file that is there already is told as whole at once: nothing was fetched.
        if quarter > told and not (told < 0 and total and done == total):
            told = quarter
            size = format_bytes(total) if total else "?"
            tell(here.text("fetching_line", name=name, done=format_bytes(done), size=size))

    return progress
