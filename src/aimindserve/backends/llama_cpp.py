"""llama.cpp, embedded: GGUF models on processors and on Apple's devices, in a process of their own.

The engine is the xllamacpp package run by `_llama_cpp_engine.py`. This file prices and writes the
configuration; it never loads the engine itself. The name `llama-box`, under which GGUF models used
to be deployed, means this backend.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimindserve.backends._environment import refuse_environment
from aimindserve.backends._llama_cpp_parameters import BACKEND, MMAP, NO_MMAP, VOCABULARY
from aimindserve.core.device import NO_MEMORY
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.facts import Category, ModelFacts, Options
from aimindserve.core.launch import LaunchContext, LaunchSpec, Probe
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Requirement, Shape
from aimindserve.formats.ggml_types import BY_NAME
from aimindserve.formats.llama_cpp_memory import Settings, need

ENGINE = Path(__file__).with_name("_llama_cpp_engine.py")
CONFIG_NAME = "engine.json"
DEVICE_TYPES = ("mps",)
"""What the xllamacpp wheels of the package index are built for, besides processors."""

SLOT_CONTEXT = 4096
"""Tokens of one slot when the user says nothing: a long chat, and still 16,384 in all."""
PARALLEL = (4, 2, 1)
"""Slots when the user says nothing: the most that fits somewhere."""
TEXT_CONTEXT = 8192
"""Longest text for embedding and reranking when the user says nothing."""
TEXT_BATCHES = (2048, 512)
"""A text must fit into one ubatch; what is kept per token of it grows with the vocabulary."""
_TEXTS = (Category.EMBEDDING, Category.RERANKER)
_ENV_PREFIXES = ("GGML_", "LLAMA_")
STOP_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Parameters with their defaults filled in: fields of the engine, by key."""

    fields: Mapping[str, Any]

    def number(self, key: str, default: int) -> int:
        value = self.fields.get(key)
        return default if value is None else int(value)

    def name(self, key: str, default: str) -> str:
        value = self.fields.get(key)
        return default if value is None else str(value["enum"]).rpartition("_TYPE_")[2].lower()


class LlamaCpp:
    """The embedded llama.cpp server."""

    name = BACKEND
    aliases: tuple[str, ...] = ("llama-box", "llama-cpp", "llamacpp")
    title = "llama.cpp, embedded: GGUF models on any processor and on Apple silicon."

    def serves(self, model: ModelFacts, options: Options) -> Reason | None:
        """Refuses other formats, unknown parameters and contradictions among them."""
        if model.format != "gguf":
            return _unfit(f"it reads GGUF files, and this is {model.format}")
        if not model.layer_count or not model.embedding_length:
            return _unfit("the file does not say how many layers it has or how wide they are")
        if options.backend_version is not None:
            return _unfit("only the embedded version is there; leave backend_version empty")
        fields = VOCABULARY.read(options.parameters)
        if isinstance(fields, Reason):
            return fields
        refused = refuse_environment(self.name, options.env, _ENV_PREFIXES)
        return refused or _contradiction(model, fields)

    def shapes(self, model: ModelFacts, options: Options) -> Sequence[Shape]:
        """On one device first, then on processors; each with as many slots as fit somewhere."""
        fields = _fields(options.parameters)
        plans = _plans(model, fields)
        shapes = [*_device_shapes(model, fields, plans)]
        if options.cpu_offloading or not shapes:
            shapes += [
                _shape("cpu", words, model, _settings(model, fields, words), 0) for words in plans
            ]
        return tuple(shapes)

    def launch(self, context: LaunchContext) -> LaunchSpec:
        """The engine as a process; everything it needs to know is in a private file."""
        options = context.assignment.options
        env = refuse_environment(self.name, options.env, _ENV_PREFIXES)
        if env is not None:
            raise UnsupportedError(env.message, hint=env.fix)
        config = Path(context.run_dir) / CONFIG_NAME
        text = json.dumps(self._config(context), indent=1, sort_keys=True)
        return LaunchSpec(
            argv=(sys.executable, str(ENGINE), str(config)),
            env=(*options.env, *context.exposure.env),
            files=((CONFIG_NAME, text),),
            port=context.port,
            stop_grace_s=STOP_GRACE_S,
        )

    def probe(self, context: LaunchContext) -> Probe:  # noqa: ARG002 - the same for all models
        """llama.cpp answers 503 on /health while it loads."""
        return Probe(path="/health")

    def _config(self, context: LaunchContext) -> dict[str, Any]:
        placement = context.assignment.placement
        words = (*placement.parameters, *context.assignment.options.parameters)
        fields = dict(_fields(words))
        facts = context.facts
        texts = facts is not None and _embeds(facts, fields)
        if facts is not None:
            chosen = _settings(facts, fields, ())
            fields |= {
                "n_ctx": chosen.context,
                "n_parallel": chosen.parallel,
                "n_batch": chosen.batch,
                "n_ubatch": chosen.ubatch,
            }
        fields.setdefault("n_ctx", SLOT_CONTEXT)
        on_device = any(rank.claims for rank in placement.ranks)
        fields.setdefault("n_gpu_layers", -1 if on_device else 0)
        fields.setdefault("load_mode", NO_MMAP)
        fields.setdefault("cache_ram_mib", 0)
        fields.setdefault("n_ctx_checkpoints", CHECKPOINTS)
        if fields.pop("reranking", False) or _reranks(facts):
            fields["embedding"] = True
            fields["pooling_type"] = {"enum": "llama_pooling_type.LLAMA_POOLING_TYPE_RANK"}
        elif texts:
            fields["embedding"] = True
        return {
            "model_path": context.model_path,
            "host": "127.0.0.1",
            "port": context.port,
            "api_key": context.secret,
            "alias": context.assignment.deployment,
            "fields": fields,
        }


CHECKPOINTS = 4
"""Saved states per slot, for models that cannot rewind; llama.cpp's own 32 would not be claimed by
anybody's estimate."""


def _fields(words: Sequence[str]) -> Mapping[str, Any]:
    fields = VOCABULARY.read(words)
    if isinstance(fields, Reason):
        raise UnsupportedError(fields.message, hint=fields.fix)
    return fields


def _unfit(detail: str) -> Reason:
    return Reason("backend_unfit", {"backend": BACKEND, "detail": detail})


def _contradiction(model: ModelFacts, fields: Mapping[str, Any]) -> Reason | None:
    found = (
        _uneven(_Wanted(fields), model)
        or _quantised_without_flash(_Wanted(fields))
        or _wrong_mode(model, fields)
    )
    if found is None:
        return None
    param, detail = found
    return Reason("bad_param", {"backend": BACKEND, "param": param, "detail": detail})


def _quantised_without_flash(wanted: _Wanted) -> tuple[str, str] | None:
    kind = wanted.name("cache_type_v", "f16")
    if wanted.name("flash_attn_type", "auto") != "disabled" or kind in ("f32", "f16", "bf16"):
        return None
    return f"--cache-type-v {kind}", "a quantised V cache needs flash attention"


def _wrong_mode(model: ModelFacts, fields: Mapping[str, Any]) -> tuple[str, str] | None:
    if fields.get("embedding") is True and Category.RERANKER in model.categories:
        return "--embedding", "this model ranks; leave it out"
    if fields.get("reranking") is True and Category.EMBEDDING in model.categories:
        return "--reranking", "this model embeds and cannot rank"
    return None


def _uneven(wanted: _Wanted, model: ModelFacts) -> tuple[str, str] | None:
    """A cache type that does not divide the heads: llama.cpp would refuse to start."""
    for letter, length in (("k", model.key_length), ("v", model.value_length)):
        name = wanted.name(f"cache_type_{letter}", "f16")
        block = BY_NAME[name].block
        if length % block:
            detail = f"it stores {block} values together, and this model's heads have {length}"
            return f"--cache-type-{letter} {name}", detail
    return None


def _plans(model: ModelFacts, fields: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Parameters that the user left open, best first."""
    if _embeds(model, fields):
        if "n_ubatch" in fields or "n_batch" in fields:
            return [()]
        context = _settings(model, fields, ()).context
        sizes = sorted({min(size, context) for size in TEXT_BATCHES}, reverse=True)
        return [(f"--batch-size={size}", f"--ubatch-size={size}") for size in sizes]
    if "n_parallel" in fields or "n_ctx" in fields:
        return [()]
    slot = min(model.context_length or SLOT_CONTEXT, SLOT_CONTEXT)
    return [(f"--parallel={slots}", f"--ctx-size={slots * slot}") for slots in PARALLEL]


def _settings(model: ModelFacts, fields: Mapping[str, Any], words: Sequence[str]) -> Settings:
    """What llama.cpp will be told, in the terms of the memory formulas."""
    wanted = _Wanted({**_fields(words), **fields})
    texts = _embeds(model, wanted.fields)
    trained = model.context_length or SLOT_CONTEXT
    parallel = wanted.number("n_parallel", 1 if texts else PARALLEL[0])
    each = min(trained, TEXT_CONTEXT if texts else SLOT_CONTEXT)
    context = wanted.number("n_ctx", each * parallel) or trained
    settings = Settings(
        context=context,
        parallel=parallel,
        batch=wanted.number("n_batch", 2048),
        ubatch=wanted.number("n_ubatch", 512),
        type_k=wanted.name("cache_type_k", "f16"),
        type_v=wanted.name("cache_type_v", "f16"),
        flash_attention=wanted.name("flash_attn_type", "auto") != "disabled",
        kv_unified=bool(wanted.fields.get("kv_unified")),
        swa_full=bool(wanted.fields.get("swa_full")),
        mmap=wanted.fields.get("load_mode", NO_MMAP) == MMAP,
        embedding=texts,
        cache_ram_bytes=wanted.number("cache_ram_mib", 0) * 1024**2,
        checkpoints=wanted.number("n_ctx_checkpoints", CHECKPOINTS),
    )
    if not texts:
        return settings
    # llama.cpp lowers the batch to the ubatch for texts: each must be seen whole.
    ubatch = wanted.number("n_ubatch", min(wanted.number("n_batch", TEXT_BATCHES[-1]), context))
    return replace(settings, batch=ubatch, ubatch=ubatch)


def _embeds(model: ModelFacts, fields: Mapping[str, Any]) -> bool:
    asked = fields.get("embedding") is True or fields.get("reranking") is True
    return asked or any(category in _TEXTS for category in model.categories)


def _reranks(model: ModelFacts | None) -> bool:
    return model is not None and Category.RERANKER in model.categories


def _device_shapes(
    model: ModelFacts, fields: Mapping[str, Any], plans: Sequence[tuple[str, ...]]
) -> list[Shape]:
    everything = model.layer_count + 1
    layers = _Wanted(fields).number("n_gpu_layers", -1)
    layers = everything if layers < 0 else min(layers, everything)
    if not layers:
        return []
    label = "1 device" if layers == everything else f"1 device, {layers} of {everything} layers"
    return [_shape(label, words, model, _settings(model, fields, words), layers) for words in plans]


def _shape(
    label: str, words: tuple[str, ...], model: ModelFacts, settings: Settings, layers: int
) -> Shape:
    rank = need(model, settings, layers)
    slots = "" if settings.embedding else f", {settings.parallel} × {_slot(settings)} tokens"
    return Shape(
        label=f"{label}{slots}",
        ranks=(rank,),
        requirement=Requirement(
            os=("linux", "darwin", "windows"),
            arch=("amd64", "arm64"),
            device_types=() if rank.device == NO_MEMORY else DEVICE_TYPES,
        ),
        parameters=words,
    )


def _slot(settings: Settings) -> int:
    return settings.context if settings.kv_unified else settings.context // settings.parallel


PLUGIN = LlamaCpp()
