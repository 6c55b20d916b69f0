"""Why each instance is where it is, or nowhere: the newest scheduling decision of each, in memory.

Not in the database on purpose: a decision is long, changes often, and can be made again. After a
restart it is there as soon as the scheduler has looked at the instance anew.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

KEPT = 2_000


class Decisions:
    """A bounded keep; what was decided longest ago is forgotten first."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._decisions: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def put(self, instance: str, decision: Mapping[str, Any]) -> None:
        """Keep `decision`, plain JSON data, as the newest about `instance`."""
        self._decisions[instance] = decision
        self._decisions.move_to_end(instance)
        while len(self._decisions) > self._kept:
            self._decisions.popitem(last=False)

    def get(self, instance: str) -> Mapping[str, Any] | None:
        """The newest decision about `instance`, or None."""
        return self._decisions.get(instance)

    def forget(self, instance: str) -> None:
        """`instance` is gone."""
        self._decisions.pop(instance, None)

    def __len__(self) -> int:
        return len(self._decisions)
