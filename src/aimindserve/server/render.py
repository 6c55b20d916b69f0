"""Objects as the API shows them: stored fields, derived fields, live numbers, reasons in words.

The stored part is encoded once per revision and kept, because lists and watches show the same
objects again and again; what depends on other objects or on time is added each time.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from aimindserve.core import reason as reasons
from aimindserve.kit.clock import Clock
from aimindserve.resources._all import kinds
from aimindserve.resources._kind import AnyResource, Kind, document
from aimindserve.server.telemetry import Telemetry
from aimindserve.store.base import Store

KEPT_MAX = 20_000

_encoder = msgspec.json.Encoder()


class Renderer:
    """Makes documents. One per process, shared by every route."""

    def __init__(self, store: Store, telemetry: Telemetry, clock: Clock) -> None:
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        self._kept: OrderedDict[str, tuple[dict[str, Any], msgspec.Raw, dict[str, Any], int]] = (
            OrderedDict()
        )

    def document(self, resource: AnyResource, *, secrets: bool = False) -> dict[str, Any]:
        """The document of `resource`; encode it with `answers.encode`."""
        kind = kinds()[resource.kind]
        if secrets:
            plain = document(kind, resource, secrets=True)
            metadata, spec, status = plain["metadata"], plain["spec"], plain["status"]
        else:
            metadata, spec, status = self._stored(kind, resource)
        shown = {**status, **self._derived(kind, resource)}
        _put_into_words(shown)
        self._add_numbers(resource, shown)
        return {"kind": kind.name, "metadata": metadata, "spec": spec, "status": shown}

    def derived(self, resource: AnyResource) -> dict[str, Any]:
        """Only what follows from other objects and from time."""
        return self._derived(kinds()[resource.kind], resource)

    def _stored(
        self, kind: Kind[Any, Any], resource: AnyResource
    ) -> tuple[dict[str, Any], msgspec.Raw, dict[str, Any]]:
        key = f"{resource.metadata.id}/{kind.name}"
        kept = self._kept.get(key)
        if kept is None or kept[3] != resource.metadata.revision:
            plain = document(kind, resource)
            spec = msgspec.Raw(_encoder.encode(plain["spec"]))
            kept = (plain["metadata"], spec, plain["status"], resource.metadata.revision)
            self._kept[key] = kept
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return kept[0], kept[1], kept[2]

    def _derived(self, kind: Kind[Any, Any], resource: AnyResource) -> dict[str, Any]:
        if kind.derive is None:
            return {}
        return kind.derive(resource, self._store.find, self._clock.now())

    def _add_numbers(self, resource: AnyResource, status: dict[str, Any]) -> None:
        observed = status.get("observed")
        if observed is None:
            return
        if resource.kind == "worker":
            usage = self._telemetry.usage(resource.name)
            if usage is not None:
                status["observed"] = {**observed, "usage": usage}
        elif resource.kind == "instance" and resource.status.placement is not None:
            resident = self._telemetry.rss_bytes(resource.status.placement.worker, resource.name)
            if resident is not None:
                status["observed"] = {**observed, "rss_bytes": resident}


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
