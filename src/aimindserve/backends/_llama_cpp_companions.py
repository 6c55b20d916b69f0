"""Which of the files beside a model llama.cpp loads with it: what the user names, and the only
projector that fits.

Users give names, never paths: what is loaded lies in the model's own directory, where the worker
has looked at it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimindserve.backends._words import decimal
from aimindserve.core.facts import Companion, CompanionKind, ModelFacts

_NAME = re.compile(r"[^/\\\0.][^/\\\0]{0,254}")
_SCALE = decimal(-100, 100)
_WORDS = {
    CompanionKind.PROJECTOR: "--mmproj",
    CompanionKind.ADAPTER: "--lora",
    CompanionKind.DRAFT: "--model-draft",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is loaded beside the model."""

    companions: tuple[Companion, ...]
    scales: Mapping[str, float]
    """How strongly each adapter changes the model, by its file."""

    def of(self, model: ModelFacts) -> ModelFacts:
        """The model with these companions and no others."""
        if self.companions == model.companions:
            return model
        return replace(model, companions=self.companions)


def file_name(text: str) -> str:
    """The name of a file beside the model's."""
    if not _NAME.fullmatch(text):
        raise ValueError("it must be the name of a file beside the model's, without a directory")
    return text


def adapters(text: str) -> dict[str, float]:
    """`a.gguf,b.gguf`: each at full strength."""
    return {file_name(each): 1.0 for each in text.split(",")}


def scaled_adapters(text: str) -> dict[str, float]:
    """`a.gguf:0.5,b.gguf:1`."""
    found: dict[str, float] = {}
    for each in text.split(","):
        name, colon, scale = each.rpartition(":")
        if not colon:
            raise ValueError("it must be NAME:SCALE, as in adapter.gguf:0.5")
        found[file_name(name)] = _SCALE(scale)
    return found


def loaded(model: ModelFacts, fields: Mapping[str, Any], *, texts: bool) -> Loaded:
    """What of `model.companions` is loaded; `refused` says whether anything that is named lacks.
    `texts`: the model embeds or ranks, and takes neither images nor proposals."""
    scales = _scales(fields)
    found = [
        each
        for each in model.companions
        if each.kind is CompanionKind.ADAPTER and each.file in scales
    ]
    if not texts:
        found += _projector(model, fields)
        found += [
            each
            for each in model.beside(CompanionKind.DRAFT)
            if each.file == fields.get("model_draft")
        ]
    return Loaded(tuple(sorted(found, key=lambda each: each.file)), scales)


def refused(model: ModelFacts, fields: Mapping[str, Any], *, texts: bool) -> tuple[str, str] | None:
    """(parameter, what is wrong with it) of a file that is named and cannot be loaded."""
    named = [(CompanionKind.ADAPTER, name) for name in _scales(fields)]
    for kind, key in ((CompanionKind.PROJECTOR, "mmproj"), (CompanionKind.DRAFT, "model_draft")):
        if key in fields:
            named.append((kind, fields[key]))
            if texts:
                return f"{_WORDS[kind]} {fields[key]}", "this model embeds or ranks texts"
    for kind, name in named:
        there = [each.file for each in model.beside(kind)]
        if name not in there:
            return f"{_WORDS[kind]} {name}", _missing(there)
    drafting = next((key for key in fields if key.startswith("speculative.")), None)
    if drafting is not None and "model_draft" not in fields:
        return _flag(drafting), "it says how to draft; name a model with --model-draft as well"
    return None


def engine_fields(
    found: Loaded, fields: Mapping[str, Any], model_path: str, *, on_device: bool
) -> dict[str, Any]:
    """`fields` as the engine wants them: paths in place of names."""
    made = {key: value for key, value in fields.items() if key not in _NAMES}

    def path(companion: Companion) -> str:
        # A worker reports names; what is not one could only be a mistake.
        return str(Path(model_path).with_name(Path(companion.file).name))

    adapted: list[dict[str, Any]] = []
    for each in found.companions:
        if each.kind is CompanionKind.PROJECTOR:
            made |= {"mmproj.path": path(each), "mmproj_use_gpu": on_device}
        elif each.kind is CompanionKind.DRAFT:
            made |= {
                "speculative.draft.mparams.path": path(each),
                "speculative.draft.n_gpu_layers": -1 if on_device else 0,
                "speculative.types": [{"enum": f"common_speculative_type.{_DRAFT_TYPE}"}],
            }
        else:
            adapted.append({"path": path(each), "scale": found.scales[each.file]})
    if adapted:
        made["lora_adapters"] = adapted
    return made


_NAMES = frozenset({"mmproj", "lora", "lora_scaled", "model_draft"})
_DRAFT_TYPE = "COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE"


def _scales(fields: Mapping[str, Any]) -> Mapping[str, float]:
    return {**fields.get("lora", {}), **fields.get("lora_scaled", {})}


def _projector(model: ModelFacts, fields: Mapping[str, Any]) -> Sequence[Companion]:
    there = model.beside(CompanionKind.PROJECTOR)
    if fields.get("no_mmproj"):
        return ()
    if "mmproj" in fields:
        return [each for each in there if each.file == fields["mmproj"]]
    # Among several nobody but the user can choose.
    return there if len(there) == 1 else ()


def _missing(there: Sequence[str]) -> str:
    if not there:
        return "no such file that fits the model lies beside it"
    return f"it is not beside the model, or does not fit it; there is {', '.join(there[:8])}"


def _flag(key: str) -> str:
    return {
        "speculative.draft.n_max": "--draft-max",
        "speculative.draft.n_min": "--draft-min",
        "speculative.draft.p_min": "--draft-p-min",
        "speculative.draft.cache_type_k": "--cache-type-k-draft",
    }.get(key, "--cache-type-v-draft")
