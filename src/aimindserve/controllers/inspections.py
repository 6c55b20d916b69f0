"""Models that somebody asks about before deploying them: workers are to look, for a while.

Kept in memory: a question that a restart forgets is asked again by whoever still wants to know.
"""

from collections.abc import Mapping

from aimindserve.core.errors import UnavailableError
from aimindserve.core.facts import ModelRef
from aimindserve.kit.clock import Clock

KEPT_S = 600.0
MODELS_MAX = 32
"""Each makes workers read a file: somebody who asks about everything must not keep them busy."""


class Inspections:
    """Which models are looked at, and whose labels they are looked for on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[ModelRef, tuple[float, Mapping[str, str]]] = {}

    def ask(self, model: ModelRef, selector: Mapping[str, str]) -> None:
        """Look at `model` on workers that `selector` matches, for ten minutes from now.

        Raises UnavailableError when too many models are looked at already.
        """
        self._forget()
        if model not in self._until and len(self._until) >= MODELS_MAX:
            raise UnavailableError(
                f"{MODELS_MAX} models are being looked at already.",
                hint="Ask again in a few minutes.",
            )
        self._until[model] = (self._clock.monotonic() + KEPT_S, dict(selector))

    def wanted(self) -> Mapping[ModelRef, Mapping[str, str]]:
        """Model -> selector of everything that is looked at now."""
        self._forget()
        return {model: selector for model, (_, selector) in self._until.items()}

    def _forget(self) -> None:
        now = self._clock.monotonic()
        self._until = {model: kept for model, kept in self._until.items() if kept[0] > now}
