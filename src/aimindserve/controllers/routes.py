"""Keeps one route per deployment: what its model can do as its files tell, and how long a request
may be where it is placed.

A route exists as long as its deployment does, ready or not: which instances stand behind it right
now is the gateway's table, not an object here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from aimindserve.backends._all import refuse
from aimindserve.backends._declared import without_claims
from aimindserve.backends.base import Backend
from aimindserve.controllers.asks import options_of
from aimindserve.controllers.base import Done, Wake
from aimindserve.controllers.views import (
    Deployment,
    Instance,
    deployments,
    find_deployment,
    find_model_file,
    find_route,
    instances_of,
    workers,
)
from aimindserve.core.facts import ModelFacts, ModelRef
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.instance import is_ready
from aimindserve.resources.route import RouteSpec, RouteStatus, Target
from aimindserve.store.base import Draft, Store


class RoutesController:
    """Key: a route's name, which is its deployment's."""

    name = "routes"

    def __init__(self, store: Store, backends: Mapping[str, Backend]) -> None:
        self._store = store
        self._backends = backends

    def wakes_on(self) -> Mapping[str, Wake]:
        return {
            "deployment": lambda deployment: [deployment.name],
            "route": lambda route: [route.name],
            "instance": lambda instance: [instance.spec.deployment],
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
        known = before or RouteStatus()
        facts = self._facts(deployment)
        can = known.categories if facts is None else facts.categories
        return RouteStatus(
            categories=deployment.spec.categories or can,
            context_length=self._context(deployment, known.context_length),
        )

    def _facts(self, deployment: Deployment) -> ModelFacts | None:
        """What the first worker that has the model says of it."""
        found = (
            self._facts_on(worker.name, deployment.spec.model) for worker in workers(self._store)
        )
        return next((facts for facts in found if facts is not None), None)

    def _facts_on(self, worker: str, model: ModelRef) -> ModelFacts | None:
        file = find_model_file(self._store, worker, model)
        seen = None if file is None else file.status.observed
        return None if seen is None else seen.facts

    def _context(self, deployment: Deployment, known: int) -> int:
        """The least that any instance takes which answers, or, while none does, that is placed: a
        request does not choose which of them it comes to."""
        placed = [
            each
            for each in instances_of(self._store, deployment.name)
            if each.status.placement is not None and not each.spec.stopping
        ]
        told = [self._tokens(each) for each in placed if is_ready(each.status)]
        told = told or [self._tokens(each) for each in placed]
        if None in told:  # nobody knows the file any more, and the engine goes on
            return known
        return min((tokens for tokens in told if tokens), default=0)

    def _tokens(self, instance: Instance) -> int | None:
        """Tokens of one request to a placed instance; None when that cannot be told."""
        placement, template = instance.status.placement, instance.spec.template
        if placement is None:
            return None
        facts = self._facts_on(placement.worker, template.model)
        backend = self._backends.get(placement.backend)
        words = (*placement.parameters, *template.backend_parameters)
        options = without_claims(replace(options_of(template), parameters=words))
        if facts is None or backend is None or refuse(backend, facts, options) is not None:
            return None
        return backend.context(facts, options)

    def _using(self, file: AnyResource) -> Iterable[str]:
        seen = file.status.observed
        if seen is None or seen.facts is None:
            return []
        model = file.spec.model
        return [each.name for each in deployments(self._store) if each.spec.model == model]
