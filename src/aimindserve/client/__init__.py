"""Typed clients of the management API and of chat: `Client` waits, `AsyncClient` is for asyncio.

httpx is loaded when a client class is first named: importing a type or an error stays cheap.
"""

from typing import TYPE_CHECKING, Any

from aimindserve.client.calls import Listing
from aimindserve.client.errors import (
    CannotScheduleError,
    TargetFailedError,
    UnreachableError,
    WaitTimeoutError,
)
from aimindserve.client.objects import (
    Deployment,
    Event,
    Instance,
    LogQuery,
    Object,
    Page,
    Worker,
)

if TYPE_CHECKING:
    from aimindserve.client.aio import AsyncClient
    from aimindserve.client.sync import Client

__all__ = [
    "AsyncClient",
    "CannotScheduleError",
    "Client",
    "Deployment",
    "Event",
    "Instance",
    "Listing",
    "LogQuery",
    "Object",
    "Page",
    "TargetFailedError",
    "UnreachableError",
    "WaitTimeoutError",
    "Worker",
]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from aimindserve.client.sync import Client

        return Client
    if name == "AsyncClient":
        from aimindserve.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(name)
