"""Objects as the API shows them: stored fields, derived fields, live numbers, reasons in words.

Lists and watches show the same objects again and again, so the newest encoded form of each is kept.
It is good for as long as nothing in it differs: the revision, what is derived from other objects,
and the numbers that are not in the store.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from aimindserve.core import reason as reasons
from aimindserve.core.report import MOVING
from aimindserve.kit.clock import Clock
from aimindserve.resources._all import kinds
from aimindserve.resources._kind import AnyResource, Kind, document, gateway_document
from aimindserve.server.telemetry import Telemetry
from aimindserve.store.base import Store

KEPT_MAX = 5_000

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class _Kept:
    """An encoded document and what it was made of."""

    revision: int
    derived: Mapping[str, Any]
    numbers: Mapping[str, Any]
    encoded: msgspec.Raw


class Renderer:
    """Makes documents. One per process, shared by every route."""

    def __init__(self, store: Store, telemetry: Telemetry, clock: Clock) -> None:
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def encoded(self, resource: AnyResource) -> msgspec.Raw:
        """The document of `resource` as JSON, to be put into an answer as it is."""
        kind = kinds()[resource.kind]
        revision = resource.metadata.revision
        derived, numbers = self._derived(kind, resource), self._numbers(resource)
        key = (kind.name, resource.metadata.id)
        kept = self._kept.get(key)
        if (
            kept is None
            or kept.revision != revision
            or kept.derived != derived
            or kept.numbers != numbers
        ):
            made = _document(kind, resource, derived, numbers)
            kept = _Kept(revision, derived, numbers, msgspec.Raw(_encoder.encode(made)))
            self._kept[key] = kept
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return kept.encoded

    def plain(self, resource: AnyResource) -> dict[str, Any]:
        """The document of `resource` as data."""
        kind = kinds()[resource.kind]
        return _document(kind, resource, self._derived(kind, resource), self._numbers(resource))

    def for_gateway(self, resource: AnyResource) -> dict[str, Any]:
        """What of `resource` our own gateways need, secrets included."""
        kind = kinds()[resource.kind]
        return gateway_document(kind, resource, derived=self._derived(kind, resource))

    def _derived(self, kind: Kind[Any, Any], resource: AnyResource) -> dict[str, Any]:
        if kind.derive is None:
            return {}
        return kind.derive(resource, self._store.find, self._clock.now())

    def _numbers(self, resource: AnyResource) -> dict[str, Any]:
        """Fields of `status.observed` that are only in memory."""
        if resource.kind == "worker":
            usage = self._telemetry.usage(resource.name)
            return {} if usage is None else {"usage": usage}
        if resource.kind == "instance" and resource.status.placement is not None:
            seen = self._telemetry.instance(resource.status.placement.worker, resource.name)
            return {} if seen is None else {name: getattr(seen, name) for name in MOVING}
        return {}


def _document(
    kind: Kind[Any, Any],
    resource: AnyResource,
    derived: Mapping[str, Any],
    numbers: Mapping[str, Any],
) -> dict[str, Any]:
    made = document(kind, resource, derived=derived)
    status = made["status"]
    if numbers and status.get("observed") is not None:
        status["observed"] = {**status["observed"], **numbers}
    _put_into_words(status)
    return made


def _put_into_words(status: dict[str, Any]) -> None:
    for field in ("reason", "refusal"):
        status_reason = status.get(field)
        if status_reason is not None:
            status[field] = in_words(status_reason)
    observed = status.get("observed")
    if observed is not None and observed.get("reason") is not None:
        status["observed"] = {**observed, "reason": in_words(observed["reason"])}


def in_words(reason: Mapping[str, Any]) -> dict[str, Any]:
    """A reason with its sentence and what to do, in English; `code` and `params` for others."""
    if "message" in reason:
        return dict(reason)
    params = cast("Mapping[str, Any]", reason.get("params") or {})
    told = reasons.Reason(str(reason["code"]), params)
    return {**reason, "message": told.message, "fix": told.fix}
