"""All controllers of the control plane, put together."""

from collections.abc import Callable, Mapping

from aimindserve.backends.base import Backend
from aimindserve.controllers.base import Controller
from aimindserve.controllers.constants import DEFAULTS, ControllerConstants
from aimindserve.controllers.deployments import DeploymentsController
from aimindserve.controllers.estimates import EstimatesController
from aimindserve.controllers.inspections import Inspections
from aimindserve.controllers.model_files import ModelFilesController
from aimindserve.controllers.routes import RoutesController
from aimindserve.controllers.scheduling import SchedulingController, SchedulingParts
from aimindserve.controllers.snapshot import Snapshots
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
    inspections: Inspections | None = None,
    snapshots: Snapshots | None = None,
) -> list[Controller]:
    """Every controller, ready for `controllers.loop.ControllerLoop`. `ids` gives twelve random
    hexadecimal digits; `inspections` are shared with whoever answers questions about models that
    nobody deployed; `snapshots` with whoever else looks at the cluster."""
    snapshots = snapshots or Snapshots(store, leases)
    scheduling = SchedulingParts(
        store, leases, clock, backends, ids, decisions, constants, snapshots
    )
    return [
        WorkersController(store, leases, clock, constants),
        DeploymentsController(store, clock, ids, constants),
        ModelFilesController(store, inspections or Inspections(clock)),
        SchedulingController(scheduling),
        EstimatesController(store, leases, clock, snapshots),
        RoutesController(store, backends),
    ]
