"""The ways in which layers of a model can be spread over devices and the host, as shapes."""

from dataclasses import dataclass, replace

from aimindserve.backends._llama_cpp_native import DEVICE_NAMES, EMBEDDED_TYPES, INSTALLATION
from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.facts import ModelFacts
from aimindserve.core.shape import Layers, Requirement, Shape
from aimindserve.formats.llama_cpp.memory import on_devices, on_host, on_workers
from aimindserve.formats.llama_cpp.settings import Settings

DEVICES_MAX = 16
"""`GGML_SCHED_MAX_BACKENDS` less the processors."""
REMOTE_MAX = 8
"""Devices of other workers: as many as GPUStack gives to one model. Each token passes through all
of them, one after the other."""


@dataclass(frozen=True, slots=True)
class Way:
    """How layers are spread: over so many devices, all of them or as many as fit or are told."""

    label: str
    devices_max: int
    partial: bool = False
    held: int | None = None
    remote_max: int = 0


def ways(
    model: ModelFacts, layers: int, *, one: bool, offloading: bool, distributed: bool
) -> list[Way]:
    """All of it on one device, on several (unless only `one` may be used), on those of several
    workers where `distributed`, or, with `offloading`, what fits. `layers` is what the user said of
    `--n-gpu-layers`: -1 for nothing."""
    everything = model.layer_count + model.prediction_layer_count + 1
    devices = 1 if one else DEVICES_MAX
    if layers == 0:
        return []
    if 0 < layers < everything:
        return [Way(f"{layers} of {everything} layers on devices", devices, True, layers)]
    ways = [Way("1 device", 1)]
    if devices > 1:
        ways.append(Way("several devices", devices))
    if devices > 1 and distributed:
        ways.append(Way("several workers", devices, remote_max=REMOTE_MAX))
    if offloading and layers < 0:
        ways.append(Way("partly on devices", devices, partial=True))
    return ways


def device_shape(way: Way, words: tuple[str, ...], model: ModelFacts, settings: Settings) -> Shape:
    """The shape of one way, cut between layers by the scheduler."""
    if way.remote_max:
        return _spread_shape(way, words, model, settings)
    base, layers = on_devices(model, settings, partial=way.partial, devices_max=way.devices_max)
    if way.held is not None:
        base, layers = _told(base, layers, way.held)
    return _shape(way.label, words, settings, Need(ram=base), layers)


def _spread_shape(way: Way, words: tuple[str, ...], model: ModelFacts, settings: Settings) -> Shape:
    base, layers = on_workers(
        model, settings, devices_max=way.devices_max, remote_max=way.remote_max
    )
    made = _shape(way.label, words, settings, Need(ram=base), layers)
    return replace(
        made,
        requirement=replace(
            made.requirement, device_types=tuple(DEVICE_NAMES), installation=INSTALLATION
        ),
    )


def _told(base: MemoryParts, layers: Layers, held: int) -> tuple[MemoryParts, Layers]:
    """The user said how many entries go to devices: the others stay on the host in any case."""
    stays = len(layers.device) - held
    return sum(layers.host[:stays], base), replace(
        layers, device=layers.device[stays:], host=layers.host[stays:], least=held, most=0
    )


def host_shape(words: tuple[str, ...], model: ModelFacts, settings: Settings) -> Shape:
    """The shape that uses no device."""
    return _shape("cpu", words, settings, Need(ram=on_host(model, settings)), None)


def _shape(
    label: str, words: tuple[str, ...], settings: Settings, rank: Need, layers: Layers | None
) -> Shape:
    slots = "" if settings.embedding else f", {settings.parallel} × {_slot(settings)} tokens"
    return Shape(
        label=f"{label}{slots}",
        ranks=(rank,),
        requirement=Requirement(
            os=("linux", "darwin", "windows"),
            arch=("amd64", "arm64"),
            device_types=EMBEDDED_TYPES if layers else (),
        ),
        layers=layers,
        parameters=words,
    )


def _slot(settings: Settings) -> int:
    return settings.context if settings.kv_unified else settings.context // settings.parallel
