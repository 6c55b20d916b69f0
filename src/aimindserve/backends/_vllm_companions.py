"""What vLLM loads beside a model: adapters, and what proposes tokens that the model then checks.

Users give names, never paths: what is loaded lies in a directory inside the model's own, where the
worker has looked at it. vLLM's own words are `--lora-modules` and `--speculative-config`
(`vllm/config/lora.py`, `vllm/config/speculative.py`).
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aimindserve.backends._vllm_architectures import PLAIN
from aimindserve.backends._words import json_object
from aimindserve.core.facts import Companion, CompanionKind, ModelFacts
from aimindserve.formats.vllm_additions import RANKS, Adapters, Proposals

ADAPTERS = "lora-modules"
SPECULATION = "speculative-config"
_NAME = re.compile(r"[^/\\\0.=,][^/\\\0=,]{0,254}")
_OWN = ("mtp", "deepseek_mtp", "glm4_moe_mtp", "mimo_mtp", "qwen3_next_mtp", "ernie_mtp")
"""Methods that use layers of the model itself."""
_BESIDE = ("eagle", "eagle3", "draft_model")
_WITHOUT = ("ngram", "suffix")
_KEYS = frozenset(
    {
        *("method", "model", "num_speculative_tokens", "draft_tensor_parallel_size"),
        *("prompt_lookup_max", "prompt_lookup_min"),
    }
)
_NUMBERS = frozenset(_KEYS - {"method", "model"})
_NUMBER_MAX = 64


def adapter_names(text: str) -> tuple[str, ...]:
    """`a,b`: directories of adapters inside the model's."""
    names = tuple(text.split(","))
    if not all(_NAME.fullmatch(name) for name in names):
        raise ValueError("it must be names of directories inside the model's, without slashes")
    return names


def speculation(text: str) -> str:
    """The configuration of speculative decoding, as vLLM writes it; a model is named."""
    json_object(text)
    told: dict[str, Any] = json.loads(text)
    unknown = sorted(set(told) - _KEYS)
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not allowed here")
    for key in _NUMBERS & told.keys():
        if type(told[key]) is not int or not 0 < told[key] <= _NUMBER_MAX:
            raise ValueError(f"{key} must be a whole number from 1 to {_NUMBER_MAX}")
    _check_method(told.get("method"), told.get("model"))
    return json.dumps(told, separators=(",", ":"))


def _check_method(method: object, model: object) -> None:
    known = (*_WITHOUT, *_OWN, *_BESIDE)
    if method not in known:
        raise ValueError(f"the method must be one of {', '.join(known)}")
    if method not in _BESIDE:
        if model is not None:
            raise ValueError(f"{method} takes no model")
    elif not isinstance(model, str) or not _NAME.fullmatch(model):
        raise ValueError("model must be the name of a directory inside the model's")


def _told(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return json.loads(fields[SPECULATION]) if SPECULATION in fields else {}


def proposals(model: ModelFacts, fields: Mapping[str, Any]) -> Proposals:
    """What proposes how many tokens."""
    told = _told(fields)
    beside = {each.file: each.facts for each in model.beside(CompanionKind.DRAFT)}
    return Proposals(
        tokens=int(told.get("num_speculative_tokens", 1 if told else 0)),
        draft=beside.get(str(told.get("model", ""))),
        predicts=told.get("method") in _OWN,
    )


def adapters(model: ModelFacts, fields: Mapping[str, Any]) -> Adapters:
    """Room for adapters: those that are named, or for as many as is said."""
    named = _named(model, fields)
    if not named and fields.get("enable-lora") is not True:
        return Adapters()
    largest = max((each.rank for each in named), default=16)
    rank = next((rank for rank in RANKS if rank >= largest), RANKS[-1])
    count = int(fields.get("max-loras", 1))
    return Adapters(
        count=count,
        rank=int(fields.get("max-lora-rank", rank)),
        held=int(fields.get("max-cpu-loras", count)),
        sharded=fields.get("fully-sharded-loras") is True,
    )


def _named(model: ModelFacts, fields: Mapping[str, Any]) -> list[Companion]:
    names: Sequence[str] = fields.get(ADAPTERS, ())
    return [each for each in model.beside(CompanionKind.ADAPTER) if each.file in names]


def loaded(model: ModelFacts, fields: Mapping[str, Any]) -> ModelFacts:
    """The model with those of its companions that are loaded, and no others."""
    drafts = (CompanionKind.DRAFT, _told(fields).get("model"))
    kept = [each for each in model.companions if (each.kind, each.file) == drafts]
    companions = tuple(sorted((*kept, *_named(model, fields)), key=lambda each: each.file))
    return model if companions == model.companions else replace(model, companions=companions)


def refused(model: ModelFacts, fields: Mapping[str, Any]) -> tuple[str, str] | None:
    """(parameter, what is wrong with it) of what is asked for and cannot be loaded."""
    return _refused_proposals(model, fields) or _refused_adapters(model, fields)


def _refused_proposals(model: ModelFacts, fields: Mapping[str, Any]) -> tuple[str, str] | None:
    told = _told(fields)
    if told.get("method") in _OWN and not model.prediction_layer_count:
        return f"--{SPECULATION}", "this model has no layers that predict further tokens (MTP)"
    there = [each.file for each in model.beside(CompanionKind.DRAFT)]
    name = told.get("model")
    if name is not None and name not in there:
        return f"--{SPECULATION} model={name}", _missing(there)
    return None


def _refused_adapters(model: ModelFacts, fields: Mapping[str, Any]) -> tuple[str, str] | None:
    if ADAPTERS not in fields and fields.get("enable-lora") is not True:
        return None
    if model.architecture_class in PLAIN:
        return "--enable-lora", f"vLLM takes no adapters for {model.architecture_class}"
    there = [each.file for each in model.beside(CompanionKind.ADAPTER)]
    for name in fields.get(ADAPTERS, ()):
        if name not in there:
            return f"--{ADAPTERS} {name}", _missing(there)
    room = adapters(model, fields)
    large = next((each for each in _named(model, fields) if each.rank > room.rank), None)
    if large is not None:
        detail = f"adapter {large.file} has rank {large.rank}; at most {room.rank} is reserved"
        return f"--max-lora-rank={room.rank}", detail
    if room.held < room.count:
        return f"--max-cpu-loras={room.held}", "it must be no less than --max-loras"
    return None


def _missing(there: Sequence[str]) -> str:
    if not there:
        return "there is none in the model's directory; put it there in a directory of its own"
    return f"there is no such directory in the model's; there are {', '.join(there)[:300]}"


def settled(model: ModelFacts, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What decides over memory and the user left open."""
    room = adapters(model, fields)
    if not room.count:
        return {}
    return {"max-loras": room.count, "max-lora-rank": room.rank, "max-cpu-loras": room.held}


def with_paths(fields: Mapping[str, Any], path: str) -> tuple[dict[str, Any], Iterable[str]]:
    """(fields without names, words that say where what they name lies)."""
    rest = dict(fields)
    names = rest.pop(ADAPTERS, ())
    told = dict(_told(fields))
    if "model" in told:
        told["model"] = str(Path(path) / told["model"])
        rest[SPECULATION] = json.dumps(told, separators=(",", ":"))
    if not names:
        return rest, ()
    rest["enable-lora"] = True
    return rest, (f"--{ADAPTERS}", *(f"{name}={Path(path) / name}" for name in names))
