"""What a custom backend's instances take: what its author declares, else derived from the weights.

The memory part of custom backends, which are described as objects and started by a command template
(both come with the `backends` kind); no plugin yet, so that nothing is offered that cannot start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.facts import Category, ModelFacts
from aimindserve.core.shape import DECLARED, ROUGH, Requirement, Shape

MIB = 1024**2
GIB = 1024**3
WEIGHTS_FACTOR = 1.2
LANGUAGE_BYTES = 2 * GIB
OTHER_BYTES = 512 * MIB
"""The rule of thumb that GPUStack used for every engine it did not know: weights × 1.2, and 2 GiB
for language models or 512 MiB for others."""
PROCESS_BYTES = 1 * GIB


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes: fixed, or so many times the weights, or both together."""

    fixed_bytes: int = 0
    weights_factor: float = 0.0

    def of(self, weights_bytes: int) -> int:
        """For a model of this size."""
        return self.fixed_bytes + int(self.weights_factor * weights_bytes)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the author of a custom backend says of its memory; None: derive it."""

    vram: Amount | None = None
    """Of all devices of an instance together."""
    ram: Amount | None = None
    device_counts: tuple[int, ...] = (1,)
    """On how many devices an instance can run, best first; empty: on processors alone."""
    processors: bool = False
    """It also runs on processors."""
    device_types: tuple[str, ...] = ()
    os: tuple[str, ...] = ()


def shapes(facts: ModelFacts, declared: Declaration) -> Sequence[Shape]:
    """Ways to run a model on such a backend, as its author orders them, processors last."""
    vram = (declared.vram or _derived(facts)).of(facts.size_bytes)
    ram = declared.ram.of(facts.size_bytes) if declared.ram else PROCESS_BYTES
    confidence = ROUGH if declared.vram is None else DECLARED
    found = [
        Shape(
            label="1 device" if count == 1 else f"{count} devices",
            ranks=(Need(devices=_spread(facts, vram, count), ram=MemoryParts(runtime=ram)),),
            requirement=Requirement(os=declared.os, device_types=declared.device_types),
            confidence=confidence,
        )
        for count in declared.device_counts
    ]
    if declared.processors or not declared.device_counts:
        found.append(_on_processors(facts, declared))
    return tuple(found)


def _derived(facts: ModelFacts) -> Amount:
    language = not facts.categories or Category.LLM in facts.categories
    return Amount(LANGUAGE_BYTES if language else OTHER_BYTES, WEIGHTS_FACTOR)


def _on_processors(facts: ModelFacts, declared: Declaration) -> Shape:
    """Without devices everything lies in the host's memory, unless that was declared."""
    if declared.ram is not None:
        need = MemoryParts(runtime=declared.ram.of(facts.size_bytes))
    else:
        derived = _derived(facts).of(facts.size_bytes) - facts.size_bytes
        need = MemoryParts(weights=facts.size_bytes, compute=derived, runtime=PROCESS_BYTES)
    return Shape(
        label="cpu",
        ranks=(Need(ram=need),),
        requirement=Requirement(os=declared.os),
        confidence=ROUGH if declared.ram is None else DECLARED,
    )


def _spread(facts: ModelFacts, total: int, count: int) -> tuple[MemoryParts, ...]:
    """Evenly; what cannot be divided goes to the first."""
    weights = min(facts.size_bytes, total)
    each = MemoryParts(weights=weights // count, compute=(total - weights) // count)
    first = MemoryParts(weights=each.weights, compute=each.compute + total - each.total * count)
    return (first, *(each for _ in range(count - 1)))
