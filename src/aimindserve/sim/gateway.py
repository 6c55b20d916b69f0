"""Where a gateway would send requests now: its real routing table, from what the server knows."""

from collections.abc import Iterator
from typing import Any

from aimindserve.gateway.table import RoutingTable, build
from aimindserve.resources._all import kinds
from aimindserve.resources._kind import gateway_document
from aimindserve.store.base import Store

READ = ("deployment", "instance", "route", "worker")


class GatewayView:
    """A gateway that has heard of every change the moment it was made."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}
        self._table = RoutingTable()

    def targets(self, store: Store) -> Iterator[tuple[str, str, str]]:
        """(route, instance, worker) of every way a request can go."""
        if self._table.revision != store.revision:
            documents = {kind: self._of_kind(store, kind) for kind in READ}
            self._table = build(documents, store.revision)
        for route in self._table.routes.values():
            for group in route.groups:
                for target in group.targets:
                    yield route.name, target.instance, target.worker

    def _of_kind(self, store: Store, kind: str) -> dict[str, dict[str, Any]]:
        shown: dict[str, dict[str, Any]] = {}
        for each in store.list(kind):
            revision = each.metadata.revision
            known = self._documents.get((kind, each.name))
            if known is None or known[0] != revision:
                known = revision, gateway_document(kinds()[kind], each)
                self._documents[kind, each.name] = known
            shown[each.name] = known[1]
        return shown
