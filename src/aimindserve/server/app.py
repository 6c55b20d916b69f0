"""`create_app`: the control plane's HTTP side, joined from its parts.

    frame (ids, headers, last answers) ─▶ CORS ─▶ guard (who, may they) ─▶ FastAPI ─▶ endpoints

What is started with it: the first administrator, the clearing of old sessions, the hub that wakes
workers' streams. `ControlPlane.end_streams` must be called before the HTTP server is stopped.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.server import (
    errors,
    generic,
    happenings,
    health,
    keys,
    openapi,
    reference_page,
    users,
    workers,
)
from aimindserve.server import watch as watching
from aimindserve.server.actions import decision, fit, logs
from aimindserve.server.auth import routes as auth
from aimindserve.server.auth.bootstrap import bootstrap_admin
from aimindserve.server.frame import Frame
from aimindserve.server.guard import Guard
from aimindserve.server.hooks import hooks
from aimindserve.server.operations import Operation, Table, routing_order
from aimindserve.server.parts import ServerParts
from aimindserve.server.services import Services
from aimindserve.server.web import Site


class ControlPlane:
    """The ASGI application, and what its owner may ask of it."""

    def __init__(self, parts: ServerParts) -> None:
        self.services = Services.of(parts)
        self.api = _fastapi(self.services)
        self.operations = [
            *all_operations(self.services),
            *reference_page.operations(self.openapi, enabled=parts.config.openapi_docs),
        ]
        for operation in routing_order(self.operations):
            openapi.add(self.api, operation)
        errors.install(self.api)
        guard = Guard(
            self.api, Table.of(self.operations), self.services, Site(parts.config.web_dir)
        )
        self._app = Frame(guard)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self.api(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def end_streams(self) -> None:
        """End every open stream, so that the HTTP server can stop."""
        self.services.streams.close()

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return openapi.document(self.api.routes, self.operations)


def create_app(parts: ServerParts) -> ControlPlane:
    """The control plane of `parts`."""
    return ControlPlane(parts)


def all_operations(services: Services) -> list[Operation]:
    """Every route there is, but the description of them."""
    return [
        *health.operations(services),
        *auth.operations(services),
        *watching.operations(services),
        *workers.operations(services),
        *users.operations(services),
        *keys.operations(services),
        *decision.operations(services),
        *fit.operations(services),
        *logs.operations(services),
        *happenings.operations(services),
        *generic.operations(services, hooks(services)),
    ]


def _fastapi(services: Services) -> FastAPI:
    return FastAPI(
        title="aiMindServe",
        # Our own pages are served instead: FastAPI's load their code from a public network.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=partial(_lifespan, services),
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )


@asynccontextmanager
async def _lifespan(services: Services, _app: FastAPI) -> AsyncGenerator[None, None]:
    config, parts = services.parts.config, services.parts
    await bootstrap_admin(
        parts.store, services.passwords, config.data_dir, config.bootstrap_password
    )
    tasks = TaskSupervisor(parts.clock)
    tasks.keep_running(services.desired.run, name="server.desired")
    tasks.keep_running(services.sessions.sweep, name="server.sessions")
    try:
        yield
    finally:
        services.streams.close()
        await tasks.aclose()
        services.passwords.close()
