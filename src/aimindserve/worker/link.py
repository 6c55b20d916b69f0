"""The agent's only door to the server: register, watch the desired set, report.

Implemented over HTTP in `http_link`, in memory by the simulation. A link keeps no state of its own:
who the worker is comes with every call.

Every call raises UnauthenticatedError or NotFoundError when the server does not know the credential
(register again), ExistsError when the chosen name belongs to another machine, UnavailableError or
another AimsError when the server cannot be asked right now (try again later).
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aimindserve.core.launch import DesiredSet
from aimindserve.core.report import Ack, Report


@dataclass(frozen=True, slots=True)
class Hello:
    """What a worker says of itself when it joins."""

    name: str
    explicit_name: bool
    machine_id: str
    version: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Identity:
    """What the server calls this worker and how each proves itself to the other."""

    name: str
    credential: str = field(repr=False)
    """What the worker presents to the server."""
    proxy_key: str = field(repr=False)
    """What gateways present to the worker."""


class ServerLink(Protocol):
    """Three calls, none of them a command to the worker."""

    async def register(self, hello: Hello) -> Identity:
        """Join, or join again after the server forgot the credential."""
        ...

    def desired(self, identity: Identity) -> AsyncGenerator[DesiredSet, None]:
        """The whole desired set, first at once, then at every change. Ends or raises when the
        connection is lost; the caller asks again."""
        ...

    async def report(self, identity: Identity, report: Report) -> Ack:
        """Send everything this worker sees."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
