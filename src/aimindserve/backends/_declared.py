"""What a user says a model takes, instead of what we work out: two variables of its deployment.

`GPUSTACK_MODEL_VRAM_CLAIM` is what one instance takes of all its devices together,
`GPUSTACK_MODEL_RAM_CLAIM` what it takes of its hosts' memory; bytes, or with a unit as in `12GiB`.
They hold for every backend and are for the scheduler alone: no engine ever sees them. Must not know
any backend.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.facts import Options
from aimindserve.core.reason import Reason
from aimindserve.core.shape import DECLARED, Layers, Shape
from aimindserve.kit.units import parse_bytes

VRAM_CLAIM = "GPUSTACK_MODEL_VRAM_CLAIM"
RAM_CLAIM = "GPUSTACK_MODEL_RAM_CLAIM"
CLAIM_BYTES_MAX = 1024**5
_PARTS = tuple(field.name for field in fields(MemoryParts))


@dataclass(frozen=True, slots=True)
class Claims:
    """Bytes that the user declares for one instance; None where nothing was said."""

    vram_bytes: int | None = None
    ram_bytes: int | None = None


def read_claims(backend: str, options: Options) -> Claims | Reason:
    """What `options` declare; a value that is no size is a `bad_param`."""
    found: dict[str, int] = {}
    for name, value in options.env:
        if name not in (VRAM_CLAIM, RAM_CLAIM):
            continue
        try:
            found[name] = _size(value)
        except ValueError as error:
            params = {"backend": backend, "param": f"{name}={value[:40]}", "detail": str(error)}
            return Reason("bad_param", params)
    return Claims(found.get(VRAM_CLAIM), found.get(RAM_CLAIM))


def engine_env(env: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """`env` without what is meant for the scheduler."""
    return tuple(pair for pair in env if pair[0] not in (VRAM_CLAIM, RAM_CLAIM))


def without_claims(options: Options) -> Options:
    """`options` as backends read them."""
    return replace(options, env=engine_env(options.env))


def apply_claims(shapes: Sequence[Shape], claims: Claims) -> tuple[Shape, ...]:
    """`shapes` taking what `claims` say. The parts keep their proportions, between each other,
    between devices and between ranks; a shape without devices has no use for a claim on them."""
    return tuple(_declared(shape, claims) for shape in shapes)


def _size(value: str) -> int:
    size = parse_bytes(value)
    if not 0 <= size <= CLAIM_BYTES_MAX:
        raise ValueError("more than a PiB is meant for nothing that exists")
    return size


def _declared(shape: Shape, claims: Claims) -> Shape:
    vram = claims.vram_bytes if shape.layers or any(r.devices for r in shape.ranks) else None
    if vram is None and claims.ram_bytes is None:
        return shape
    ranks = shape.ranks
    layers = shape.layers
    if vram is not None and layers is not None:
        layers = _scale_layers(layers, vram)
    elif vram is not None:
        flat = scale([part for rank in ranks for part in rank.devices], vram)
        ranks = tuple(_with_devices(ranks, flat))
    if claims.ram_bytes is not None:
        hosts = scale([rank.ram for rank in ranks], claims.ram_bytes)
        ranks = tuple(replace(rank, ram=ram) for rank, ram in zip(ranks, hosts, strict=True))
    return replace(shape, ranks=ranks, layers=layers, confidence=DECLARED)


def _with_devices(ranks: Sequence[Need], flat: Sequence[MemoryParts]) -> Iterable[Need]:
    start = 0
    for rank in ranks:
        yield replace(rank, devices=tuple(flat[start : start + len(rank.devices)]))
        start += len(rank.devices)


def _scale_layers(layers: Layers, total: int) -> Layers:
    """What one device that holds everything takes becomes `total`."""
    everything = [*layers.device, layers.overhead, layers.overhead_last]
    *device, overhead, last = scale(everything, total)
    return replace(layers, device=tuple(device), overhead=overhead, overhead_last=last)


def scale(parts: Sequence[MemoryParts], total: int) -> list[MemoryParts]:
    """`parts` in proportion so that they sum up to exactly `total` bytes; what rounding leaves goes
    to the first. All weights, evenly, when there is nothing to be in proportion to."""
    if not parts:
        return []
    before = sum(part.total for part in parts)
    if not before:
        scaled = [MemoryParts(weights=total // len(parts)) for _ in parts]
    else:
        scaled = [
            MemoryParts(**{name: getattr(part, name) * total // before for name in _PARTS})
            for part in parts
        ]
    rest = total - sum(part.total for part in scaled)
    scaled[0] = replace(scaled[0], weights=scaled[0].weights + rest)
    return scaled
