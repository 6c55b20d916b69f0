"""Model file: a pinned set of files on one worker, or the question whether it is there."""

from typing import Any

from aimindserve.core.facts import ModelRef
from aimindserve.core.reason import Class
from aimindserve.core.report import FileObservation, FileState
from aimindserve.resources._kind import Access, AnyResource, Kind, Part


class ModelFileSpec(Part):
    """Which worker should have, or look at, which model."""

    worker: str
    model: ModelRef


class ModelFileStatus(Part):
    """Written by the worker."""

    observed: FileObservation | None = None


_CLASSES = {
    FileState.CHECKING: Class.WORKING,
    FileState.FETCHING: Class.WORKING,
    FileState.READY: Class.OK,
    FileState.MISSING: Class.ATTENTION,
    FileState.FAILED: Class.FAILED,
}


def _derive(resource: AnyResource, _lookup: Any, _now: float) -> dict[str, Any]:
    seen = resource.status.observed
    state = FileState.CHECKING if seen is None else seen.state
    return {"phase": state.value, "class": _CLASSES[state].value}


PLUGIN = Kind(
    name="model-file",
    plural="model-files",
    spec=ModelFileSpec,
    status=ModelFileStatus,
    title="A model's files on one worker.",
    access=Access(read="user", write="admin"),
    columns=(
        ("NAME", "metadata.name"),
        ("WORKER", "spec.worker"),
        ("MODEL", "spec.model"),
        ("PHASE", "status.phase"),
        ("SIZE", "status.observed.size_bytes"),
        ("AGE", "metadata.created_at"),
    ),
    creatable=False,
    owned=("worker", "model"),
    derive=_derive,
)
