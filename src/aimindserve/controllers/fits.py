"""Would it fit? The scheduler's answer about a deployment that nobody has made, or about a cluster
that is not so.

    spec ─look─▶ model on workers ─price─▶ asks ─┐
    live snapshot ─what if─▶ snapshot ───────────┴─plan (the real one)─▶ `fit_answer`

The asks of everybody who waits already, and of instances that would lose their worker, come first,
as they would in truth. Places nothing and writes nothing but questions to workers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aimindserve.backends.base import Backend
from aimindserve.controllers.asks import (
    Asker,
    Asks,
    Priced,
    ask_for,
    ask_of,
    find_model,
    price,
)
from aimindserve.controllers.crews import crews
from aimindserve.controllers.expect import expected
from aimindserve.controllers.fit_answer import Asked, Expects, World, answer, change_document
from aimindserve.controllers.inspections import Inspections
from aimindserve.controllers.learned import Learned, facts_digest, key_of
from aimindserve.controllers.snapshot import Snapshots
from aimindserve.controllers.variants import Variants
from aimindserve.controllers.views import (
    Instance,
    estimates,
    find_instance,
    find_model_file,
    instances,
    is_up,
    model_file_name,
    needs_file,
    selects,
    workers,
)
from aimindserve.core.errors import ExistsError, InvalidError, NotFoundError
from aimindserve.core.facts import Category, ModelRef
from aimindserve.core.ids import WorkerName, worker_of
from aimindserve.core.placement import Placement
from aimindserve.core.report import FileState
from aimindserve.kit.clock import Clock
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.resources.model_file import ModelFileSpec
from aimindserve.scheduler.base import Ask, Plan, Refusal, Snapshot
from aimindserve.scheduler.changes import Change, LeftOut, smallest
from aimindserve.scheduler.occupants import Occupant
from aimindserve.scheduler.pack import take
from aimindserve.scheduler.plan import plan
from aimindserve.scheduler.shrink import Crew
from aimindserve.scheduler.whatif import WhatIf, apply, displaced
from aimindserve.store.base import Draft, Store

LOOK_S = 3.0
"""How long an answer waits for workers that look at a model for the first time."""
LOOK_EVERY_S = 0.05
LOOKERS_MAX = 64
"""Workers that are asked to look at a model nobody deployed yet."""
NOTHING = WhatIf()


@dataclass(frozen=True, slots=True)
class FitParts:
    """What answers are made of."""

    store: Store
    snapshots: Snapshots
    clock: Clock
    backends: Mapping[str, Backend]
    inspections: Inspections
    beside: Callable[..., Awaitable[Any]] = asyncio.to_thread
    """Runs a pure function without keeping the event loop from others."""


@dataclass(frozen=True, slots=True)
class _Question:
    """Everything an answer needs, read from the store in one moment."""

    seen: Snapshot
    occupants: Sequence[Occupant]
    crews: Sequence[Crew]
    before: Asks
    """Of those that wait already, and of those that would lose their worker."""
    displaced: Sequence[str]
    priced: Priced | Refusal | None
    mine: tuple[Ask, ...] = ()
    added: Collection[WorkerName] = ()
    """Workers that are only thought of."""


class Fits:
    """Answers for the API; made once, beside the controllers."""

    def __init__(self, parts: FitParts) -> None:
        self._parts = parts
        self._store = parts.store
        self._learned = Learned(parts.store, parts.clock)
        self._variants = Variants(parts.store, parts.backends, self._learned)

    async def answer(
        self,
        spec: DeploymentSpec | None,
        *,
        name: str = "",
        replicas: int = 1,
        explain: bool = True,
        what_if: WhatIf = NOTHING,
    ) -> dict[str, Any]:
        """The document for one deployment of `spec`, or, without one, for what would become of the
        cluster. A deployment called `name` that exists is thought away: the new one takes its
        place. Raises InvalidError for workers that do not exist, UnavailableError when too many
        models are looked at for too long."""
        if spec is None or not needs_file(spec.model):
            return await self._answer(spec, name, replicas, explain=explain, what_if=what_if)
        # Held to the end: what the workers say of it is read more than once on the way.
        async with self._parts.inspections.looking(spec.model, spec.worker_selector):
            await self._look(spec.model, spec.worker_selector)
            return await self._answer(spec, name, replicas, explain=explain, what_if=what_if)

    async def _answer(
        self,
        spec: DeploymentSpec | None,
        name: str,
        replicas: int,
        *,
        explain: bool,
        what_if: WhatIf,
    ) -> dict[str, Any]:
        if name and self._store.find("deployment", name) is not None:
            removed = tuple({*what_if.deployments_removed, name})
            what_if = replace(what_if, deployments_removed=tuple(sorted(removed)))
        question = self._read(spec, name, replicas, what_if)
        beside = self._parts.beside
        result: Plan = await beside(plan, question.seen, [*question.before.asks, *question.mine])
        changes: Sequence[Change] = ()
        if spec is not None and any(ask.instance in result.refusals for ask in question.mine):
            changes = await self._changes(spec, question, result)
        expects = self._expects(spec, question)
        made: dict[str, Any] = await beside(_answer, question, result, changes, explain, expects)
        for place in made.get("placements", ()):
            for gpu in place["gpus"]:
                self._name_others(gpu)
        return {
            "at": self._parts.clock.now(),
            "revision": self._store.revision,
            **made,
        }

    async def changes(self, name: str) -> Sequence[Mapping[str, Any]]:
        """What would make the waiting instance `name` fit, now, whatever becomes of others of its
        deployment; nothing for one that does not wait. Raises NotFoundError."""
        instance = find_instance(self._store, name)
        if instance is None:
            raise NotFoundError(f"There is no instance called {name}.")
        if instance.status.placement is not None:
            return ()
        spec = instance.spec.template
        seen = self._parts.snapshots.take()
        asks = self._ask([instance])
        if not asks.asks:
            return ()
        alone = LeftOut.alone(asks.asks[0], seen)
        variants, others = self._variants.of(spec), crews(self._store)
        found_changes = await self._parts.beside(smallest, alone, variants, others)
        return [change_document(change) for change in found_changes]

    async def _changes(
        self, spec: DeploymentSpec, question: _Question, result: Plan
    ) -> Sequence[Change]:
        """What would help those that are left out, beside everybody who was placed. Variants are
        priced only for somebody who needs them."""

        def beside(change: Callable[[Ask], Ask]) -> Callable[[Ask], Ask]:
            return lambda ask: _with_files(change(ask), question.added)

        variants = [replace(each, change=beside(each.change)) for each in self._variants.of(spec)]
        first = {ask.instance for ask in question.before.asks}
        left_out = LeftOut(
            all=question.mine,
            before=_after(question.seen, result, first),
            left=tuple(ask for ask in question.mine if ask.instance in result.refusals),
            after=_after(question.seen, result),
        )
        return await self._parts.beside(smallest, left_out, variants, question.crews)

    def _expects(self, spec: DeploymentSpec | None, question: _Question) -> Expects:
        """What can be said of a placement of `spec` before it is there."""
        priced = question.priced
        facts = priced.facts if isinstance(priced, Priced) else None
        if spec is None or facts is None or not isinstance(priced, Priced):
            return lambda _placement, _kind: {}
        backend = priced.backend
        purposes = facts.served_for(spec.categories).categories
        generates = not purposes or Category.LLM in purposes
        listed, digest = estimates(self._store), facts_digest(facts)
        known = expected(listed, digest, backend, generates=generates)

        def of(placement: Placement, kind: str) -> dict[str, Any]:
            key = key_of(facts, backend, spec, placement.shape, placement.parameters)
            return known.of(key, kind)

        return of

    def _name_others(self, gpu: dict[str, Any]) -> None:
        """Say how much of what instances do not hold is reserved, and how much is of strangers."""
        worker = worker_of(str(gpu["id"]))
        kept = self._parts.snapshots.accounts(worker)
        account = None if kept is None else kept.devices.get(gpu["id"])
        if account is None:
            return
        gpu["used"] = [each for each in gpu["used"] if "instance" in each]
        for kind, size in (("reserved", account.reserved), ("foreign", account.foreign)):
            if size:
                gpu["used"].append({kind: True, "bytes": size})

    def _read(
        self, spec: DeploymentSpec | None, name: str, replicas: int, what_if: WhatIf
    ) -> _Question:
        seen = self._parts.snapshots.take()
        occupants = self._occupants()
        self._check(what_if)
        lost = [each.instance for each in displaced(what_if, occupants)]
        before = self._asks_before(lost, what_if)
        world = apply(seen, what_if, occupants)
        added = {worker.name for worker in world.workers} - {each.name for each in seen.workers}
        before = replace(before, asks=tuple(_with_files(each, added) for each in before.asks))
        occupants = [
            each
            for each in occupants
            if each.instance not in lost and each.deployment not in what_if.deployments_removed
        ]
        staying = {each.instance for each in occupants}
        others = [
            replace(crew, members=tuple(each for each in crew.members if each.instance in staying))
            for crew in crews(self._store)
        ]
        if spec is None:
            return _Question(world, occupants, others, before, lost, None)
        model = find_model(self._store, spec.model)
        priced = price(model, spec, self._parts.backends, self._learned)
        if isinstance(priced, Refusal):
            return _Question(world, occupants, others, before, lost, priced)
        asks = self._my_asks(spec, name or "new", replicas, priced)
        mine = tuple(_with_files(each, added) for each in asks)
        return _Question(world, occupants, others, before, lost, priced, mine, added)

    def _check(self, what_if: WhatIf) -> None:
        """Raises InvalidError for a deployment that does not exist: the answer would be about a
        cluster that nobody meant."""
        for name in what_if.deployments_removed:
            if self._store.find("deployment", name) is None:
                raise InvalidError(
                    f"There is no deployment called {name[:80]}.", params={"deployment": name}
                )

    def _my_asks(
        self, spec: DeploymentSpec, name: str, replicas: int, priced: Priced
    ) -> Iterable[Ask]:
        now = self._parts.clock.now()
        for number in range(1, replicas + 1):
            asker = Asker(f"{name}-{number:04d}", name, f"preview-{number}", now)
            yield ask_of(asker, spec, priced)

    def _asks_before(self, lost: Sequence[str], what_if: WhatIf) -> Asks:
        first = [
            each
            for each in instances(self._store)
            if not each.spec.stopping
            and each.spec.deployment not in what_if.deployments_removed
            and (each.status.placement is None or each.name in lost)
        ]
        return self._ask(first)

    def _ask(self, waiting: Sequence[Instance]) -> Asks:
        """As the scheduling controller asks: with barred places, and what was learned."""
        now = self._parts.clock.now()
        backends = self._parts.backends
        return ask_for(
            self._store, waiting, backends, lambda name: f"preview-{name}", now, self._learned
        )

    def _occupants(self) -> Sequence[Occupant]:
        return [
            Occupant(each.name, each.spec.deployment, each.status.placement)
            for each in instances(self._store)
            if each.status.placement is not None
        ]

    async def _look(self, model: ModelRef, selector: Mapping[str, str]) -> None:
        """Have workers look at `model` and wait a little for the first that knows it."""
        lookers = [
            worker.name
            for worker in workers(self._store)
            if is_up(worker) and selects(selector, worker)
        ]
        lookers = [] if self._settled(lookers, model) else lookers[:LOOKERS_MAX]
        for name in lookers:
            if find_model_file(self._store, name, model) is None:
                spec = ModelFileSpec(worker=name, model=model)
                try:
                    await self._store.create(
                        Draft("model-file", model_file_name(name, model), spec)
                    )
                except ExistsError:
                    continue  # the controller was quicker
        deadline = self._parts.clock.monotonic() + LOOK_S
        while lookers and not self._settled(lookers, model):
            if self._parts.clock.monotonic() >= deadline:
                return
            await self._parts.clock.sleep(LOOK_EVERY_S)

    def _settled(self, lookers: Sequence[str], model: ModelRef) -> bool:
        """Whether every worker has said what it knows, or one has the model."""
        states = [
            None if file is None or file.status.observed is None else file.status.observed.state
            for file in (find_model_file(self._store, name, model) for name in lookers)
        ]
        return FileState.READY in states or not {None, FileState.CHECKING} & set(states)


def _with_files(ask: Ask, added: Collection[WorkerName]) -> Ask:
    """Whoever thinks of more machines thinks of them with the model on them."""
    if not added or ask.file_workers is None:
        return ask
    return replace(ask, file_workers={**ask.file_workers, **dict.fromkeys(added)})


def _answer(
    question: _Question,
    result: Plan,
    changes: Sequence[Change],
    explain: bool,
    expects: Expects,
) -> dict[str, Any]:
    asked = Asked(question.priced, question.mine, question.displaced, question.before, expects)
    return answer(World(question.seen, question.occupants), asked, result, changes, explain=explain)


def _after(seen: Snapshot, result: Plan, only: Collection[str] | None = None) -> Snapshot:
    """The snapshot once everything that was placed is there, or `only` those instances."""
    workers_by_name = {worker.name: worker for worker in seen.workers}
    for name, decision in result.decisions.items():
        placement = decision.placement
        if placement is None or (only is not None and name not in only):
            continue
        for home in dict.fromkeys(rank.worker for rank in placement.ranks):
            ranks = [rank for rank in placement.ranks if rank.worker == home]
            spans = len({rank.worker for rank in placement.ranks}) > 1
            workers_by_name[home] = take(
                workers_by_name[home],
                ranks,
                decision.ask.deployment,
                across=placement.backend if spans else "",
            )
    return replace(seen, workers=tuple(workers_by_name[each.name] for each in seen.workers))
