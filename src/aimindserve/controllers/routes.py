"""Keeps one route per deployment, and what its model can do as its files tell.

A route exists as long as its deployment does, ready or not: which instances stand behind it right
now is the gateway's table, not an object here.
"""

from collections.abc import Iterable, Mapping

from aimindserve.controllers.base import Done, Wake
from aimindserve.controllers.views import (
    Deployment,
    deployments,
    find_deployment,
    find_model_file,
    find_route,
    workers,
)
from aimindserve.core.facts import ModelFacts
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.route import RouteSpec, RouteStatus, Target
from aimindserve.store.base import Draft, Store


class RoutesController:
    """Key: a route's name, which is its deployment's."""

    name = "routes"

    def __init__(self, store: Store) -> None:
        self._store = store

    def wakes_on(self) -> Mapping[str, Wake]:
        return {
            "deployment": lambda deployment: [deployment.name],
            "route": lambda route: [route.name],
            "model-file": self._using,
        }

    def keys(self) -> Iterable[str]:
        names = {deployment.name for deployment in deployments(self._store)}
        names.update(route.name for route in self._store.list("route"))
        return sorted(names)

    async def reconcile(self, key: str) -> Done:
        deployment = find_deployment(self._store, key)
        route = find_route(self._store, key)
        if deployment is None:
            if route is not None:
                await self._store.delete("route", key, revision=route.metadata.revision)
            return Done()
        spec = RouteSpec(targets=(Target(deployment=deployment.name),))
        if route is None:
            await self._store.create(Draft("route", key, spec, self._abilities(deployment, None)))
            return Done()
        status = self._abilities(deployment, route.status)
        if (spec, status) != (route.spec, route.status):
            revision = route.metadata.revision
            await self._store.replace("route", key, revision=revision, spec=spec, status=status)
        return Done()

    def _abilities(self, deployment: Deployment, before: RouteStatus | None) -> RouteStatus:
        facts = self._facts(deployment)
        if facts is None:
            known = before or RouteStatus()
            chosen = deployment.spec.categories or known.categories
            return RouteStatus(categories=chosen, context_length=known.context_length)
        return RouteStatus(
            categories=deployment.spec.categories or facts.categories,
            context_length=facts.context_length,
        )

    def _facts(self, deployment: Deployment) -> ModelFacts | None:
        """What the first worker that has the model says of it."""
        for worker in workers(self._store):
            file = find_model_file(self._store, worker.name, deployment.spec.model)
            seen = None if file is None else file.status.observed
            if seen is not None and seen.facts is not None:
                return seen.facts
        return None

    def _using(self, file: AnyResource) -> Iterable[str]:
        seen = file.status.observed
        if seen is None or seen.facts is None:
            return []
        model = file.spec.model
        return [each.name for each in deployments(self._store) if each.spec.model == model]
