"""Waiting for a deployment, the same way in every command that can: progress, Ctrl-C, verdicts."""

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from aimindserve.cli._decision import refusals
from aimindserve.cli._invocation import Invocation
from aimindserve.cli._progress import showing
from aimindserve.client.errors import CannotScheduleError
from aimindserve.client.objects import Deployment
from aimindserve.client.waiting import Outcome, Progress, Waiting, timed_out
from aimindserve.core.errors import AimsError

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

TIMEOUT = "30m"


def wait_ready(
    here: Invocation,
    client: "Client",
    name: str,
    *,
    timeout_s: float,
    generation: int = 0,
    look: Callable[[], None] | None = None,
) -> Deployment:
    """Wait until `name` is ready and show how it goes; `look` is called at least once a second, and
    what it raises ends the waiting.

    Raises TargetFailedError, CannotScheduleError (with every worker's reason in its hint),
    WaitTimeoutError. Ctrl-C stops the waiting, not the work, and says so.
    """
    try:
        with showing(here, name) as show:

            def seen(progress: Progress) -> None:
                if look is not None:
                    look()
                show(progress)

            return client.wait_ready(name, timeout_s=timeout_s, generation=generation, seen=seen)
    except CannotScheduleError as error:
        error.params["why"] = _why(here, client, str(error.params.get("instance") or ""))
        raise
    except KeyboardInterrupt:
        here.note("still", name=name)
        raise


def _why(here: Invocation, client: "Client", instance: str) -> list[str]:
    """Every worker's reason, one line each; empty when the server does not know any more."""
    if not instance:
        return []
    try:
        return refusals(client.decision(instance), here.language)
    except AimsError:
        return []


def wait_gone(client: "Client", name: str, *, timeout_s: float) -> None:
    """Wait until the deployment and all its instances are gone. Raises WaitTimeoutError."""
    from aimindserve.kit.clock import SystemClock

    clock = SystemClock()
    deadline = clock.monotonic() + timeout_s
    waiting = Waiting(name)
    with closing(client.watch("deployments", "instances", idle_s=1.0)) as events:
        for event in events:
            waiting.apply(event)
            progress = waiting.progress(clock.monotonic())
            if progress.outcome is Outcome.GONE and not waiting.instances:
                return
            if clock.monotonic() > deadline:
                raise timed_out(name, progress, timeout_s)
