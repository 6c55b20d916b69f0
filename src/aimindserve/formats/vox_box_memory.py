"""How much memory vox-box takes for a model of speech: as published, else by the file's size.

vox-box loads one model whole and keeps no cache; what it takes beside the weights are intermediate
values of one request. The numbers that GPUStack used (10 GiB for every large Whisper) are those of
OpenAI's own implementation, which vox-box does not use. Must not know devices, workers or backends.
"""

from dataclasses import dataclass
from enum import Enum

from aimindserve.core.device import MemoryParts
from aimindserve.core.facts import ModelFacts

MIB = 1024**2
GIB = 1024**3
PROCESS_BYTES = 1 * GIB
"""vox-box itself with PyTorch and transformers imported."""
WHISPER_FACTOR = 0.6
WHISPER_BYTES = 768 * MIB
"""What faster-whisper takes of a device beside its weights, with five beams: 0.6 of them and this.
Published (SYSTRAN/faster-whisper README and #1030, MiB): large-v2 float16 4,525 to 4,755, int8
2,926 to 3,091; large-v3 4,521; large-v3-turbo 2,537; distil-large-v3 2,409."""
WHISPER_HOST_FACTOR = 2.4
WHISPER_HOST_BYTES = 1 * GIB
"""On processors float16 is loaded as float32, with a fifth on top: small takes 1,675 to 2,257 MiB
(same README). Kept as int8 on macOS: then it is too much."""


class Voice(Enum):
    """Families of models that vox-box knows."""

    WHISPER = "faster-whisper"
    COSY_VOICE = "cosyvoice"
    BARK = "bark"
    DIA = "dia"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Published:
    """What a family takes whatever its weights: on a device, and on processors. Bytes."""

    device: int
    host: int
    beside: int = 0
    """Of the host, while it is on a device."""


TABLE = {
    Voice.COSY_VOICE: Published(device=3 * GIB, host=6 * GIB, beside=7 * GIB),
    Voice.DIA: Published(device=10 * GIB, host=10 * GIB),
    Voice.BARK: Published(device=12 * GIB, host=12 * GIB),
}
"""GPUStack's table (`gpustack/scheduler/calculator`, vox-box estimators); Bark's full model needs
12 GB by suno-ai/bark's README, and Dia 10 GB by nari-labs/dia's first one."""
BARK_SMALL_BYTES = int(2.5 * GIB)
"""Weights below this are bark-small's (float32, 1.7 GB): taken for what they are, since GPUStack's
2 GiB for it held hardly more than the weights."""
OTHER_FACTOR = 2
OTHER_BYTES = 1 * GIB
"""Of models that nothing is known of: twice the weights and this. Rough."""


_FAMILIES = {family.value: family for family in TABLE}


def voice(facts: ModelFacts) -> Voice:
    """Which family a model is of, by what its files told (`speech`)."""
    if facts.format == "ctranslate2":
        return Voice.WHISPER
    return _FAMILIES.get(facts.architecture, Voice.OTHER)


def device_need(facts: ModelFacts) -> tuple[MemoryParts, MemoryParts]:
    """(Memory of the device, memory of the host) of a model on one device. PyTorch reads weights
    into the host's memory before it moves them: GPUStack's 1 GiB of it for Dia did not hold that.
    """
    size = facts.size_bytes
    published = TABLE.get(voice(facts))
    more = max((published.beside if published else 0) - size - PROCESS_BYTES, 0)
    host = MemoryParts(weights=size, compute=more, runtime=PROCESS_BYTES)
    return _parts(size, _device_total(facts)), host


def host_need(facts: ModelFacts) -> MemoryParts:
    """Memory of the host of a model on processors."""
    family, size = voice(facts), facts.size_bytes
    if family is Voice.WHISPER:
        total = int(size * WHISPER_HOST_FACTOR) + WHISPER_HOST_BYTES
    elif family in TABLE and not _is_small_bark(facts):
        total = max(TABLE[family].host, size + OTHER_BYTES)
    else:
        total = size * OTHER_FACTOR + OTHER_BYTES
    parts = _parts(size, total)
    return MemoryParts(weights=parts.weights, compute=parts.compute, runtime=PROCESS_BYTES)


def _device_total(facts: ModelFacts) -> int:
    family, size = voice(facts), facts.size_bytes
    if family is Voice.WHISPER:
        return int(size * (1 + WHISPER_FACTOR)) + WHISPER_BYTES
    if family in TABLE and not _is_small_bark(facts):
        return max(TABLE[family].device, size + OTHER_BYTES)
    return size * OTHER_FACTOR + OTHER_BYTES


def _is_small_bark(facts: ModelFacts) -> bool:
    return voice(facts) is Voice.BARK and 0 < facts.size_bytes < BARK_SMALL_BYTES


def _parts(weights: int, total: int) -> MemoryParts:
    return MemoryParts(weights=weights, compute=max(total - weights, 0))
