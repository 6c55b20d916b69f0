"""Models that somebody asks about before deploying them: workers are to look, for a while.

    looking(model) ── a place is free, or taken from one that nobody waits for ──▶ held ──▶ kept
         └── all are held: wait for one ──▶ UnavailableError when that takes too long

Kept in memory: a question that a restart forgets is asked again by whoever still wants to know.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from aimindserve.core.errors import UnavailableError
from aimindserve.core.facts import ModelRef
from aimindserve.kit.clock import Clock

KEPT_S = 600.0
MODELS_MAX = 32
"""Each makes workers read a file: somebody who asks about everything must not keep them busy."""
WAIT_S = 30.0
"""How long somebody waits for a place; each is held for a few seconds."""
WAIT_EVERY_S = 0.05


class Inspections:
    """Which models are looked at, and whose labels they are looked for on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[ModelRef, tuple[float, Mapping[str, str]]] = {}
        """Least lately asked about first."""
        self._held: Counter[ModelRef] = Counter()

    @asynccontextmanager
    async def looking(
        self, model: ModelRef, selector: Mapping[str, str]
    ) -> AsyncGenerator[None, None]:
        """Have `model` looked at on workers that `selector` matches: certainly inside, and for ten
        minutes from now unless the place is needed for another.

        Waits while too many models are asked about at once; raises UnavailableError when none of
        them is done in time.
        """
        await self._place_for(model)
        self._until.pop(model, None)
        self._until[model] = (self._clock.monotonic() + KEPT_S, dict(selector))
        self._held[model] += 1
        try:
            yield
        finally:
            self._held[model] -= 1
            if not self._held[model]:
                del self._held[model]

    def wanted(self) -> Mapping[ModelRef, Mapping[str, str]]:
        """Model -> selector of everything that is looked at now."""
        self._forget()
        return {model: selector for model, (_, selector) in self._until.items()}

    async def _place_for(self, model: ModelRef) -> None:
        deadline = self._clock.monotonic() + WAIT_S
        while not self._has_place(model):
            if self._clock.monotonic() >= deadline:
                raise UnavailableError(
                    f"{MODELS_MAX} models are being looked at already.",
                    hint="Ask again in a few minutes.",
                )
            await self._clock.sleep(WAIT_EVERY_S)

    def _has_place(self, model: ModelRef) -> bool:
        self._forget()
        if model in self._until or len(self._until) < MODELS_MAX:
            return True
        idle = next((each for each in self._until if each not in self._held), None)
        if idle is None:
            return False
        del self._until[idle]
        return True

    def _forget(self) -> None:
        now = self._clock.monotonic()
        self._until = {
            model: kept
            for model, kept in self._until.items()
            if kept[0] > now or model in self._held
        }
