"""Estimate: what one way to run one model was predicted to take, and what it took.

Written by the estimates controller alone; later predictions of the same are corrected by it.
Deleting one forgets what was measured.
"""

from typing import Any

from aimindserve.core.measurement import (
    Footprint,
    Sample,
    Shortage,
    Speed,
    Start,
    accepted,
    peak,
    tokens_s,
)
from aimindserve.core.reason import Class
from aimindserve.resources._kind import Access, AnyResource, Kind, Part


class EstimateSpec(Part):
    """What the numbers are about: whatever memory depends on. Another value is another estimate."""

    model: str
    """For people: the name in the file, or the reference."""
    digest: str
    """Stands for everything the model's files say of themselves."""
    backend: str
    version: str
    shape: str
    parameters: tuple[str, ...] = ()
    settings: str = ""
    """Stands for the environment the user gave; empty for none."""
    device: str
    """The kind of device, or of processor, by its name."""


class EstimateStatus(Part):
    """Measured in the past."""

    predicted: Footprint | None = None
    """By the backend's formula; None when it is not known any more."""
    samples: tuple[Sample, ...] = ()
    rejected: int = 0
    """Runs that were no good measurement."""
    rejection: str = ""
    """Why the last of them was not: `oom`, `foreign`."""
    shortage: Shortage | None = None
    """Of late it ran out of memory."""
    starts: tuple[Start, ...] = ()
    """How long the last ones took to start, the oldest first."""
    speeds: tuple[Speed, ...] = ()
    """How much the last runs have generated and in which time."""


def phase(status: EstimateStatus, now: float) -> tuple[str, Class]:
    """measured; raised for a while after it ran out of memory; watched while nothing that has
    worked was measured. `now`: seconds since the epoch."""
    if status.shortage is not None and status.shortage.until > now:
        return "raised", Class.ATTENTION
    if any(sample.worked for sample in accepted(status.samples)):
        return "measured", Class.OK
    return "watched", Class.WORKING


def _derive(resource: AnyResource, _lookup: Any, now: float) -> dict[str, Any]:
    status: EstimateStatus = resource.status
    word, visual = phase(status, now)
    highest = peak(status.samples)
    measured = None if highest is None else highest.total
    # A model that is cut takes what the cut makes it take: the two belong to one run.
    most = max(accepted(status.samples), key=lambda sample: sample.taken.total, default=None)
    formula = status.predicted if most is None else most.claimed or status.predicted
    predicted = None if formula is None else formula.total
    error = None
    if predicted is not None and measured:
        error = round(predicted / measured - 1, 4)
    speed = tokens_s(status.speeds)
    return {
        "phase": word,
        "class": visual.value,
        "predicted_bytes": predicted,
        "measured_bytes": measured,
        "error": error,
        "sample_count": len(status.samples),
        "tokens_s": None if speed is None else round(speed, 1),
    }


PLUGIN = Kind(
    name="estimate",
    plural="estimates",
    spec=EstimateSpec,
    status=EstimateStatus,
    title="What one way to run a model was predicted to take, and what it took.",
    access=Access(read="user", write="admin"),
    columns=(
        ("MODEL", "spec.model"),
        ("BACKEND", "spec.backend"),
        ("DEVICE", "spec.device"),
        ("SHAPE", "spec.shape"),
        ("PREDICTED", "status.predicted_bytes"),
        ("MEASURED", "status.measured_bytes"),
        ("ERROR", "status.error"),
        ("SAMPLES", "status.sample_count"),
        ("TOKENS/S", "status.tokens_s"),
        ("PHASE", "status.phase"),
        ("AGE", "metadata.created_at"),
    ),
    creatable=False,
    owned=("model", "digest", "backend", "version", "shape", "parameters", "settings", "device"),
    derive=_derive,
)
