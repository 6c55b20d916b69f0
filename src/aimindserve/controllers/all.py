"""All controllers of the control plane, put together."""

from collections.abc import Callable, Mapping

from aimindserve.backends.base import Backend
from aimindserve.controllers.base import Controller
from aimindserve.controllers.constants import DEFAULTS, ControllerConstants
from aimindserve.controllers.deployments import DeploymentsController
from aimindserve.controllers.model_files import ModelFilesController
from aimindserve.controllers.routes import RoutesController
from aimindserve.controllers.scheduling import SchedulingController, SchedulingParts
from aimindserve.controllers.workers import WorkersController
from aimindserve.kit.clock import Clock
from aimindserve.store.base import Store
from aimindserve.store.decisions import Decisions
from aimindserve.store.leases import Leases


def build(  # noqa: PLR0913 - a composition root hands in every part by name
    store: Store,
    leases: Leases,
    clock: Clock,
    backends: Mapping[str, Backend],
    ids: Callable[[], str],
    decisions: Decisions,
    *,
    constants: ControllerConstants = DEFAULTS,
) -> list[Controller]:
    """Every controller, ready for `controllers.loop.ControllerLoop`. `ids` gives twelve random
    hexadecimal digits."""
    scheduling = SchedulingParts(store, leases, clock, backends, ids, decisions, constants)
    return [
        WorkersController(store, leases, clock, constants),
        DeploymentsController(store, clock, ids, constants),
        ModelFilesController(store),
        SchedulingController(scheduling),
        RoutesController(store),
    ]
