"""From the documents of the watch to what a request needs to know; pure.

    documents (kind -> name -> document) ── build ──▶ RoutingTable (immutable)

A table is built anew when something changed and then swapped in one assignment: a request sees one
table from beginning to end. It knows no sockets, no time and no randomness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from aimindserve.core.reason import Reason
from aimindserve.wire.origin import Origin

Document = Mapping[str, Any]
Documents = Mapping[str, Mapping[str, Document]]

KINDS = ("routes", "instances", "workers", "deployments", "api-keys", "users", "sessions")
"""What a gateway watches, by plural."""


@dataclass(frozen=True, slots=True)
class Target:
    """An instance that answers, and the worker through which it is reached."""

    instance: str
    worker: str
    origin: Origin
    """Where the worker's agent listens."""
    head: bytes
    """Encoded header lines of every request to it: host, instance, authorization."""


@dataclass(frozen=True, slots=True)
class Group:
    """The ready instances of one deployment behind a route, with its share of the traffic."""

    deployment: str
    weight: int
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """A public model name. `groups` holds only deployments that have a target."""

    name: str
    groups: tuple[Group, ...] = ()
    categories: frozenset[str] = frozenset()
    context_length: int = 0
    created_at: str = ""
    reason: str = ""
    """Why it has no target, as a sentence."""
    only: Target | None = None
    """Its target, when there is exactly one."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    kind: str
    """key, session, local."""
    name: str
    user: str
    role: str
    expires_at: float | None = None
    """Seconds since the epoch; None: never."""
    allowed_models: frozenset[str] = frozenset()
    """Routes it may use; empty: all."""


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Everything a request needs. `keys` and `sessions` are by keyed hash of the secret."""

    revision: int = 0
    routes: Mapping[str, Route] = field(default_factory=dict[str, Route])
    keys: Mapping[str, Principal] = field(default_factory=dict[str, Principal])
    sessions: Mapping[str, Principal] = field(default_factory=dict[str, Principal])


def build(documents: Documents, revision: int) -> RoutingTable:
    """The table that `documents` describe. Documents it cannot read count as not there."""
    users = {
        name: str(spec.get("role", "user"))
        for name, spec in _specs(documents, "user")
        if not spec.get("disabled")
    }
    targets = _targets(documents)
    routes = {
        name: _route(name, document, targets, documents)
        for name, document in documents.get("route", {}).items()
    }
    return RoutingTable(
        revision,
        MappingProxyType(routes),
        MappingProxyType(_keys(documents, users)),
        MappingProxyType(_sessions(documents, users)),
    )


def _keys(documents: Documents, users: Mapping[str, str]) -> dict[str, Principal]:
    return {
        str(spec["key_hash"]): Principal(
            "key",
            name,
            spec["user"],
            users[spec["user"]],
            spec.get("expires_at"),
            frozenset(spec.get("allowed_models") or ()),
        )
        for name, spec in _specs(documents, "api-key")
        if spec.get("key_hash") and spec.get("user") in users
    }


def _sessions(documents: Documents, users: Mapping[str, str]) -> dict[str, Principal]:
    return {
        str(spec["token_hash"]): Principal(
            "session", name, spec["user"], users[spec["user"]], spec.get("expires_at")
        )
        for name, spec in _specs(documents, "session")
        if spec.get("token_hash") and spec.get("user") in users
    }


def _targets(documents: Documents) -> dict[str, list[Target]]:
    """Ready instances by deployment, in the order of their names."""
    workers = documents.get("worker", {})
    found: dict[str, list[Target]] = {}
    for name, document in sorted(documents.get("instance", {}).items()):
        homes = placed_ready_on(document)
        there = homes and all(_is_ready(workers.get(home)) for home in homes[1:])
        target = _target(name, homes[0], workers.get(homes[0])) if there else None
        if target is not None:
            found.setdefault(str(_part(document, "spec").get("deployment")), []).append(target)
    return found


def placed_ready_on(instance: Document) -> Sequence[str]:
    """The workers of the instance's present placement, if it answers; the first one does."""
    spec, status = _part(instance, "spec"), _part(instance, "status")
    placement, seen = status.get("placement"), status.get("observed")
    if not placement or not seen or spec.get("stopping"):
        return ()
    if seen.get("state") != "ready" or seen.get("placement_id") != placement.get("id"):
        return ()
    return [str(rank.get("worker", "")) for rank in placement.get("ranks") or ()]


def _is_ready(worker: Document | None) -> bool:
    return worker is not None and bool(_part(worker, "status").get("ready"))


def _target(instance: str, name: str, worker: Document | None) -> Target | None:
    if worker is None or not _is_ready(worker):
        return None
    spec, status = _part(worker, "spec"), _part(worker, "status")
    seen = status.get("observed")
    if not seen or not seen.get("port"):
        return None
    host, port = str(seen.get("host")), int(seen["port"])
    shown = f"[{host}]" if ":" in host else host
    lines = (
        f"host: {shown}:{port}\r\n"
        f"x-aims-instance: {instance}\r\n"
        f"authorization: Bearer {spec.get('proxy_key', '')}\r\n"
    )
    return Target(instance, name, Origin(host, port), lines.encode())


def _route(
    name: str, document: Document, ready: Mapping[str, list[Target]], documents: Documents
) -> Route:
    spec, status = _part(document, "spec"), _part(document, "status")
    wanted = [
        (str(target.get("deployment")), int(target.get("weight", 1)))
        for target in spec.get("targets") or ()
    ]
    groups = tuple(
        Group(deployment, weight, tuple(ready[deployment]))
        for deployment, weight in wanted
        if weight > 0 and ready.get(deployment)
    )
    return Route(
        name,
        groups,
        frozenset(status.get("categories") or ()),
        int(status.get("context_length") or 0),
        str(_part(document, "metadata").get("created_at", "")),
        "" if groups else _why_none([deployment for deployment, _ in wanted], documents),
        groups[0].targets[0] if len(groups) == 1 and len(groups[0].targets) == 1 else None,
    )


def _why_none(deployments: list[str], documents: Documents) -> str:
    """One sentence on why none of `deployments` answers: the most telling instance speaks."""
    if not deployments:
        return "Nothing stands behind this model."
    instances = [
        (name, document)
        for name, document in sorted(documents.get("instance", {}).items())
        if _part(document, "spec").get("deployment") in deployments
    ]
    if not instances:
        replicas = [
            _part(document, "spec").get("replicas", 1)
            for name, document in documents.get("deployment", {}).items()
            if name in deployments
        ]
        if replicas and not any(replicas):
            return Reason("scaled_to_zero", {"name": deployments[0]}).message
        return "Its instances are being created."
    for name, document in instances:
        reason = _part(document, "status").get("reason")
        if reason and reason.get("message"):
            return f"Instance {name}: {reason['message']}"
    name, document = instances[0]
    phase = _part(document, "status").get("phase", "on its way")
    return f"Instance {name} is {phase}."


def _specs(documents: Documents, kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, _part(document, "spec")) for name, document in documents.get(kind, {}).items()]


def _part(document: Document, part: str) -> Mapping[str, Any]:
    return document.get(part) or {}
