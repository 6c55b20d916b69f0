"""The columns of every table: header, dotted path in the document, and how to write the value.

Kept here, and not read from `resources`, so that a command needs no pydantic to print a table; a
test compares headers and paths with each Kind's `columns`. Wide columns appear with `-o wide`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from aimindserve.kit.clock import parse_rfc3339
from aimindserve.kit.units import format_bytes, format_duration

MISSING = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `write` turns the value and the present time (epoch seconds) into text."""

    header: str
    path: str
    write: Callable[[Any, float], str]
    wide: bool = False


def at(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None where there is none. Numbers index lists."""
    value: Any = document
    for word in path.split("."):
        if isinstance(value, Mapping):
            value = cast("Mapping[str, Any]", value).get(word)
        elif isinstance(value, list) and word.isdigit():
            items = cast("list[Any]", value)
            value = items[int(word)] if int(word) < len(items) else None
        else:
            return None
    return value


def text(value: Any, _now: float) -> str:
    """As it is; lists joined, truth as yes and no."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in cast("Sequence[Any]", value)) or MISSING
    return str(value)


def age(value: Any, now: float) -> str:
    """How long ago an RFC 3339 time was: `42 s`, `3 min`."""
    try:
        return format_duration(max(0.0, now - parse_rfc3339(str(value))))
    except ValueError:
        return MISSING


def expiry(value: Any, now: float) -> str:
    """When a key ends: `never`, `in 3 d`, `expired`."""
    if value is None:
        return "never"
    left = float(value) - now
    return f"in {format_duration(left)}" if left > 0 else "expired"


def size(value: Any, _now: float) -> str:
    """Bytes for people."""
    return MISSING if not value else format_bytes(int(value))


def used(value: Any, _now: float) -> str:
    """Bytes that may be none."""
    return MISSING if value is None else format_bytes(int(value))


def share(value: Any, _now: float) -> str:
    """`87%` of a number from 0 to 1."""
    return MISSING if value is None else f"{float(value):.0%}"


def error(value: Any, _now: float) -> str:
    """`+3.1 %`: how much more was predicted than was true."""
    return MISSING if value is None else f"{100 * float(value):+.1f} %"


def model(value: Any, _now: float) -> str:
    """A model reference, short: a file's name, a repository."""
    return _model(value, whole=False)


def whole_model(value: Any, _now: float) -> str:
    """A model reference in full."""
    return _model(value, whole=True)


def devices(value: Any, _now: float) -> str:
    """Devices by name with their count: `2x NVIDIA H200`; only the processor: an en dash."""
    names = [str(device.get("name")) for device in _rows(value)]
    counts = {name: names.count(name) for name in names}
    return ", ".join(f"{count}x {name}" for name, count in counts.items()) or MISSING


def labels(value: Any, _now: float) -> str:
    """`k=v,…`."""
    pairs = cast("Mapping[str, str]", value or {})
    return ",".join(f"{name}={text}" for name, text in sorted(pairs.items())) or MISSING


def targets(value: Any, _now: float) -> str:
    """Deployments with their weights."""
    return ",".join(f"{each['deployment']}:{each['weight']}" for each in _rows(value)) or MISSING


def reason(value: Any, _now: float) -> str:
    """The code of a reason."""
    return str(cast("Mapping[str, Any]", value).get("code")) if value else MISSING


def _rows(value: Any) -> Sequence[Mapping[str, Any]]:
    return cast("list[Mapping[str, Any]]", value or [])


def _model(value: Any, *, whole: bool) -> str:
    if not isinstance(value, Mapping):
        return MISSING
    ref = cast("Mapping[str, Any]", value)
    where = str(ref.get("path") or ref.get("repo") or ref.get("name") or "")
    if ref.get("source") == "local" and not whole:
        where = where.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    file = f"/{ref['file']}" if ref.get("file") else ""
    return f"{ref.get('source')}:{where}{file}" if whole or ref.get("source") != "local" else where


AGE = Column("AGE", "metadata.created_at", age)
NAME = Column("NAME", "metadata.name", text)
LABELS = Column("LABELS", "metadata.labels", labels, wide=True)
PHASE = Column("PHASE", "status.phase", text)

COLUMNS: Mapping[str, Sequence[Column]] = {
    "deployment": (
        NAME,
        Column("MODEL", "spec.model", model),
        Column("READY", "status.ready_replicas", text),
        Column("REPLICAS", "spec.replicas", text),
        PHASE,
        AGE,
        Column("BACKEND", "spec.backend", text, wide=True),
        Column("REASON", "status.reason", reason, wide=True),
        Column("SOURCE", "spec.model", whole_model, wide=True),
        LABELS,
    ),
    "instance": (
        NAME,
        Column("DEPLOYMENT", "spec.deployment", text),
        Column("WORKER", "status.placement.ranks.0.worker", text),
        PHASE,
        Column("RESTARTS", "status.observed.restarts", text),
        AGE,
        Column("SHAPE", "status.placement.shape", text, wide=True),
        Column("PORT", "status.observed.port", text, wide=True),
        Column("PID", "status.observed.pid", text, wide=True),
        Column("REASON", "status.reason", reason, wide=True),
    ),
    "worker": (
        NAME,
        PHASE,
        Column("ADDRESS", "status.observed.host", text),
        Column("OS", "status.observed.inventory.os", text),
        Column("CPUS", "status.observed.inventory.cpu_count", text),
        Column("RAM", "status.observed.inventory.ram_bytes", size),
        Column("DEVICES", "status.observed.inventory.devices", devices),
        Column("VERSION", "status.observed.version", text),
        AGE,
        Column("CPU", "status.observed.inventory.cpu_name", text, wide=True),
        Column("KERNEL", "status.observed.inventory.kernel", text, wide=True),
        Column("REASON", "status.reason", reason, wide=True),
        LABELS,
    ),
    "model-file": (
        NAME,
        Column("WORKER", "spec.worker", text),
        Column("MODEL", "spec.model", model),
        PHASE,
        Column("SIZE", "status.observed.size_bytes", size),
        AGE,
        Column("ARCHITECTURE", "status.observed.facts.architecture", text, wide=True),
        Column("QUANTIZATION", "status.observed.facts.quantization", text, wide=True),
        Column("REASON", "status.observed.reason", reason, wide=True),
    ),
    "estimate": (
        Column("MODEL", "spec.model", text),
        Column("BACKEND", "spec.backend", text),
        Column("DEVICE", "spec.device", text),
        Column("SHAPE", "spec.shape", text),
        Column("PREDICTED", "status.predicted_bytes", size),
        Column("MEASURED", "status.measured_bytes", size),
        Column("ERROR", "status.error", error),
        Column("SAMPLES", "status.sample_count", text),
        Column("TOKENS/S", "status.tokens_s", text),
        PHASE,
        AGE,
        Column("NAME", "metadata.name", text, wide=True),
        Column("VERSION", "spec.version", text, wide=True),
        Column("PARAMETERS", "spec.parameters", text, wide=True),
        Column("REJECTED", "status.rejected", text, wide=True),
    ),
    "route": (NAME, Column("TARGETS", "spec.targets", targets), AGE),
    "user": (
        NAME,
        Column("ROLE", "spec.role", text),
        Column("FULL NAME", "spec.full_name", text),
        AGE,
        Column("DISABLED", "spec.disabled", text, wide=True),
    ),
    "event": (
        Column("LAST", "time", age),
        Column("OBJECT", "object", text),
        Column("EVENT", "code", text),
        Column("TIMES", "count", text),
        Column("MESSAGE", "message", text),
        Column("FIRST", "first_time", age, wide=True),
        Column("REASON", "reason", text, wide=True),
    ),
    "gpu": (
        Column("ID", "id", text),
        Column("NAME", "name", text),
        Column("TYPE", "type", text),
        Column("MEMORY", "memory_bytes", size),
        Column("USED", "memory_used_bytes", used),
        Column("CLAIMED", "memory_claimed_bytes", used),
        Column("INSTANCES", "instances", text),
        Column("WORKER", "worker", text, wide=True),
        Column("BUSY", "utilization", share, wide=True),
        Column("DRIVER", "driver_version", text, wide=True),
        Column("UUID", "uuid", text, wide=True),
    ),
    "api-key": (
        NAME,
        Column("USER", "spec.user", text),
        Column("PREFIX", "spec.prefix", text),
        Column("EXPIRES", "spec.expires_at", expiry),
        AGE,
        Column("MODELS", "spec.allowed_models", text, wide=True),
        Column("DESCRIPTION", "spec.description", text, wide=True),
    ),
}
