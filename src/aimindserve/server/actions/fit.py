"""`POST /api/v1/fit`: would it fit, where, why not elsewhere, and what would help.

One deployment, a batch of them, or none and only a cluster that is not so. Nothing is deployed. The
answer comes from whoever schedules; this file reads requests and writes answers.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import anyio
import pydantic
from fastapi import Request
from pydantic import Field
from starlette.responses import Response

from aimindserve.core.device import ARCHES, DEVICE_TYPES, SYSTEMS
from aimindserve.core.errors import (
    AimsError,
    InvalidError,
    UnavailableError,
    UnprocessableError,
)
from aimindserve.kit.clock import rfc3339
from aimindserve.kit.secrets import new_id
from aimindserve.resources._all import kinds
from aimindserve.resources.deployment import REPLICAS_MAX, DeploymentSpec
from aimindserve.scheduler.whatif import ADDED_MAX, NewWorker, WhatIf
from aimindserve.server.answers import answer
from aimindserve.server.body import read_model
from aimindserve.server.inputs import check_name, new_spec
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.parts import FitsRead
from aimindserve.server.services import Services
from aimindserve.store.base import Store

ITEMS_MAX = 50
TOGETHER_MAX = 8
"""Items of a batch that are answered at the same time; fewer than models may be looked at."""
NAMES_MAX = 1_000
MEMORY_MAX = 2**50


class _Input(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class NewWorkerInput(_Input):
    """Hardware that is not there: `like` a worker that is, or described. Bytes."""

    like: str = Field(default="", max_length=255)
    count: int = Field(default=1, ge=1, le=ADDED_MAX)
    os: str = Field(default="linux", max_length=32)
    """linux, darwin or windows."""
    arch: str = Field(default="amd64", max_length=32)
    """amd64 or arm64."""
    ram_bytes: int = Field(default=0, ge=0, le=MEMORY_MAX)
    device_type: str = Field(default="cuda", max_length=32)
    """cuda, rocm, npu, dcu, musa, corex, mlu, maca or mps."""
    device_name: str = Field(default="", max_length=255)
    device_memory_bytes: int = Field(default=0, ge=0, le=MEMORY_MAX)
    devices: int = Field(default=0, ge=0, le=64)
    compute_capability: str | None = Field(default=None, pattern=r"^\d{1,3}(\.\d{1,3})?$")
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)


class ChangesInput(_Input):
    """What would be different in the cluster."""

    workers_lost: tuple[str, ...] = Field(default=(), max_length=NAMES_MAX)
    workers_added: tuple[NewWorkerInput, ...] = Field(default=(), max_length=NAMES_MAX)
    deployments_removed: tuple[str, ...] = Field(default=(), max_length=NAMES_MAX)


class FitItem(_Input):
    """One deployment to try."""

    spec: dict[str, Any] | None = None
    name: str = Field(default="", max_length=255)
    """A deployment whose place it would take; others keep theirs."""
    replicas: int | None = Field(default=None, ge=1, le=REPLICAS_MAX)
    """Instead of the spec's."""


class FitInput(FitItem):
    """One deployment, or `items`; `changes` hold for all of them."""

    explain: bool = True
    """Also say why not elsewhere, and look for changes that would help."""
    changes: ChangesInput = ChangesInput()
    items: tuple[FitItem, ...] = Field(default=(), max_length=ITEMS_MAX)


def operations(services: Services) -> Iterable[Operation]:
    """The preview."""
    fits, store = services.parts.fits, services.parts.store

    async def fit(request: Request) -> Response:
        """Would it fit? Answers as the scheduler would decide at this moment."""
        wish = await read_model(request, FitInput)
        if fits is None:
            raise UnavailableError("Nothing is scheduled here.")
        if wish.items and wish.spec is not None:
            raise InvalidError("Give spec or items, not both.", params={"fields": ["items"]})
        for number, added in enumerate(wish.changes.workers_added):
            check_added(added, f"changes.workers_added.{number}")
        if not wish.items:
            return answer(await _one(fits, store, wish, wish))
        return answer({"items": await _all(fits, store, wish)})

    yield Operation(
        "POST", "/api/v1/fit", fit, Audience.ADMIN,
        "fit", "Would it fit, where, and why not elsewhere", "deployments", 200,
        "FitInput", "Fit",
    )  # fmt: skip


async def _one(fits: FitsRead, store: Store, item: FitItem, wish: FitInput) -> dict[str, Any]:
    what_if = _what_if(wish.changes)
    spec = None if item.spec is None else _spec(store, item)
    if spec is None and not what_if:
        raise InvalidError(
            "Nothing is asked: give a spec, items or changes.", params={"fields": ["spec"]}
        )
    replicas = item.replicas
    if replicas is None:
        replicas = 1 if spec is None else spec.replicas
    made = await fits.answer(
        spec, name=item.name, replicas=replicas, explain=wish.explain, what_if=what_if
    )
    return {"id": f"fit_{new_id()}", **made, "at": rfc3339(made["at"])}


def check_added(added: NewWorkerInput, where: str) -> None:
    """Raise UnprocessableError for hardware that cannot be meant, naming the field."""
    given = [field for field in added.model_fields_set if field not in {"like", "count"}]
    if added.like and given:
        raise _meaningless(
            where, min(given), "says what `like` says already; give one or the other"
        )
    for field, value, known in (
        ("os", added.os, SYSTEMS),
        ("arch", added.arch, ARCHES),
        ("device_type", added.device_type, DEVICE_TYPES),
    ):
        if value not in known:
            raise _meaningless(where, field, f"is {value!r}; there are {', '.join(known)}")
    if added.devices and not added.device_memory_bytes:
        raise _meaningless(
            where, "device_memory_bytes", "is missing: devices without memory hold nothing"
        )
    if added.device_memory_bytes and not added.devices:
        raise _meaningless(where, "devices", "is missing: how many devices have this memory?")


def _meaningless(where: str, field: str, why: str) -> UnprocessableError:
    return UnprocessableError(f"{where}.{field} {why}.", params={"fields": [f"{where}.{field}"]})


async def _all(fits: FitsRead, store: Store, wish: FitInput) -> list[Mapping[str, Any]]:
    """The answers in the order of the items. Most of an answer's time is waiting for workers, so a
    few items are asked at once."""
    answers: dict[int, Mapping[str, Any]] = {}
    room = anyio.Semaphore(TOGETHER_MAX)

    async def one(number: int, item: FitItem) -> None:
        async with room:
            answers[number] = await _or_error(fits, store, item, wish)

    async with anyio.create_task_group() as group:
        for number, item in enumerate(wish.items):
            group.start_soon(one, number, item)
    return [answers[number] for number in range(len(wish.items))]


async def _or_error(
    fits: FitsRead, store: Store, item: FitItem, wish: FitInput
) -> Mapping[str, Any]:
    """An item that cannot be asked must not take the answers of the others along."""
    try:
        return await _one(fits, store, item, wish)
    except AimsError as error:
        return {
            "verdict": "unknown",
            "error": {"code": error.code, "detail": error.message, "hint": error.hint},
        }


def _spec(store: Store, item: FitItem) -> DeploymentSpec:
    kind = kinds()["deployment"]
    if item.name:
        check_name(item.name)
    present = store.find(kind.name, item.name) if item.name else None
    spec = new_spec(kind, item.name, item.spec or {}, present)
    if not isinstance(spec, DeploymentSpec):  # a kind has one type of spec; this tells the checker
        raise TypeError(type(spec).__name__)
    return spec


def _what_if(changes: ChangesInput) -> WhatIf:
    return WhatIf(
        workers_lost=changes.workers_lost,
        workers_added=tuple(NewWorker(**each.model_dump()) for each in changes.workers_added),
        deployments_removed=changes.deployments_removed,
    )
