"""What the directories inside a model's directory are to it: adapters (LoRA as PEFT stores them),
models that could draft for it, or nothing.

Files are those one directory below, by `directory/name`. Kinds and keys are those of vLLM's
`lora/peft_helper.py` and `config/speculative.py`. Opens no file.
"""

from collections.abc import Callable, Mapping

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import Category, Companion, CompanionKind, ModelFacts
from aimindserve.formats.model_directory import Directory, FileAccess
from aimindserve.formats.safetensors import read_header

DIRECTORIES_MAX = 32
RANK_MAX = 65_536
ADAPTER = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

Facts = Callable[[Mapping[str, FileAccess], str], ModelFacts]
"""Reads the files of a model, and knows its name."""


def companions(
    files: Mapping[str, FileAccess], facts: ModelFacts, read: Facts
) -> tuple[Companion, ...]:
    """All that fit, by name. What makes no sense, or is made for another model, is left out: it
    does not keep the model itself from being served."""
    below: dict[str, dict[str, FileAccess]] = {}
    for path, file in files.items():
        folder, slash, name = path.partition("/")
        if slash and "/" not in name:
            below.setdefault(folder, {})[name] = file
    places = sorted(below.items())[:DIRECTORIES_MAX]
    found = (_companion(folder, inside, facts, read) for folder, inside in places)
    return tuple(each for each in found if each is not None)


def _companion(
    folder: str, inside: Mapping[str, FileAccess], facts: ModelFacts, read: Facts
) -> Companion | None:
    try:
        if ADAPTER in inside:
            return _adapter(folder, inside)
        if "config.json" in inside:
            return _draft(folder, read(inside, folder), facts)
    except FormatError:
        pass
    return None


def _adapter(folder: str, inside: Mapping[str, FileAccess]) -> Companion:
    told = Directory(inside).keys(ADAPTER)
    if told is None or told.text("peft_type").upper() != "LORA":
        raise FormatError("it is no adapter of type LoRA")
    rank = told.count("r")
    if not 0 < rank <= RANK_MAX:
        raise FormatError("an adapter without a rank")
    weights = next((inside[name] for name in _WEIGHTS if name in inside), None)
    if weights is None:
        raise FormatError("an adapter without weights")
    size = weights.size_bytes
    if weights.read is not None and _WEIGHTS[0] in inside:
        size = sum(each.size_bytes for each in read_header(weights.read, size).tensors)
    return Companion(CompanionKind.ADAPTER, folder, size, rank=rank)


def _draft(folder: str, found: ModelFacts, facts: ModelFacts) -> Companion:
    """A smaller model, or a layer that drafts from the model's own states (EAGLE)."""
    writes = (Category.LLM,)
    if found.categories != writes or facts.categories != writes or found.format != "safetensors":
        raise FormatError("only models that write text draft for each other")
    if found.size_bytes > facts.size_bytes or not found.layer_count:
        raise FormatError("it is larger than the model")
    return Companion(CompanionKind.DRAFT, folder, found.size_bytes, facts=found.alone())
