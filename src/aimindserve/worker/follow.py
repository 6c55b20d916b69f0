"""Keeping up with the desired set: one stream, opened again whenever it ends."""

from collections.abc import Callable
from contextlib import aclosing

from aimindserve.core.errors import AimsError, NotFoundError, UnauthenticatedError
from aimindserve.core.launch import DesiredSet
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.worker.backoff import Backoff
from aimindserve.worker.link import ServerLink
from aimindserve.worker.membership import Membership

log = get_logger("worker")


async def follow(
    link: ServerLink,
    membership: Membership,
    clock: Clock,
    jitter: Callable[[], float],
    receive: Callable[[DesiredSet], None],
) -> None:
    """Hand every set to `receive`, for ever. Without the server nothing is handed over, and the
    last set stays in force."""
    pauses = Backoff(jitter)
    while True:
        identity = await membership.join()
        try:
            async with aclosing(link.desired(identity)) as sets:
                async for desired in sets:
                    pauses.reset()
                    receive(desired)
        except (UnauthenticatedError, NotFoundError):
            await membership.rejoin(identity)
        except AimsError as error:
            log.warning("desired.interrupted", error=error.message)
        await clock.sleep(pauses.next_s())
