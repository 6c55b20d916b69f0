"""llama.cpp: GGUF models on processors and on Apple's devices, in a process of their own.

The engine is the xllamacpp package run by `_llama_cpp_engine.py`; over devices of several workers
it is llama.cpp's own programs, where they are installed (`_llama_cpp_native.py`). This file prices
and writes the configuration; it never loads the engine itself. The name `llama-box`, under which
GGUF models used to be deployed, means this backend.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimindserve.backends import _llama_cpp_native as native
from aimindserve.backends._environment import refuse_environment
from aimindserve.backends._llama_cpp_companions import engine_fields, loaded, refused
from aimindserve.backends._llama_cpp_lesser import lesser
from aimindserve.backends._llama_cpp_parameters import BACKEND, MMAP, NO_MMAP, VOCABULARY
from aimindserve.backends._llama_cpp_shapes import device_shape, host_shape, ways
from aimindserve.backends.base import Lesser
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.facts import Category, CompanionKind, ModelFacts, Options
from aimindserve.core.launch import Counters, LaunchContext, LaunchSpec, Probe, ProbeKind
from aimindserve.core.placement import Claim
from aimindserve.core.reason import Reason
from aimindserve.core.shape import ESTIMATED, ROUGH, Shape
from aimindserve.formats.ggml_types import BY_NAME
from aimindserve.formats.llama_cpp.compute import overflows
from aimindserve.formats.llama_cpp.settings import Settings, cells, is_encoder, ubatch

ENGINE = Path(__file__).with_name("_llama_cpp_engine.py")
CONFIG_NAME = "engine.json"
SLOT_CONTEXT = 4096
"""Tokens of one slot when the user says nothing: a long chat, and still 16,384 in all."""
PARALLEL = (4, 2, 1)
"""Slots when the user says nothing: the most that fits somewhere."""
TEXT_CONTEXT = 8192
"""Longest text for embedding and reranking when the user says nothing."""
TEXT_BATCHES = (2048, 512)
"""A text must fit into one ubatch; what is kept per token of it grows with the vocabulary."""
_TEXTS = (Category.EMBEDDING, Category.RERANKER)
_SERVED = (Category.LLM, *_TEXTS)
_NOT_POOLED = ("", "none")
_ENV_PREFIXES = ("GGML_", "LLAMA_")
STOP_GRACE_S = 10.0
COUNTERS = Counters(
    tokens="llamacpp:tokens_predicted_total",
    seconds="llamacpp:tokens_predicted_seconds_total",
    first_too=True,
)
"""llama.cpp's tools/server/server-task.cpp (`to_metrics`); that the first token of an answer is in
the one and not in the other: server-common.h (`n_gen_steps`). It has no counter of answers."""


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
    installations: tuple[str, ...] = ()
    starts_across = True
    tunnelled = True
    title = (
        "llama.cpp, embedded: GGUF models on any processor and on Apple silicon; over devices of "
        "several workers where a build of llama.cpp with RPC is installed."
    )

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
        return (
            refused
            or _unread(options)
            or _wrong_purpose(model, options.categories)
            or _contradiction(model.served_for(options.categories), fields)
        )

    def shapes(self, model: ModelFacts, options: Options) -> Sequence[Shape]:
        """On one device first, then on several, then partly on the host, then wholly; each with as
        many slots as fit somewhere."""
        fields = _fields(options.parameters)
        model = self.loads(model, options).served_for(options.categories)
        priced = [(words, _settings(model, fields, words)) for words in _plans(model, fields)]
        wanted = _Wanted(fields)
        found = ways(
            model,
            wanted.number("n_gpu_layers", -1),
            one=wanted.name("split_mode", "layer").endswith("none"),
            offloading=options.cpu_offloading,
            distributed=options.distributed and not _beside_layers(model),
        )
        shapes = [
            device_shape(way, words, model, settings) for way in found for words, settings in priced
        ]
        if options.cpu_offloading or not shapes:
            shapes += [host_shape(words, model, settings) for words, settings in priced]
        # What images take is bounded, and an architecture that was never compared is guessed.
        beside = (each.facts or model for each in model.companions)
        guessed = model.beside(CompanionKind.PROJECTOR) or any(
            each.unknown_architecture for each in (model, *beside)
        )
        return tuple(replace(each, confidence=ROUGH if guessed else ESTIMATED) for each in shapes)

    def loads(self, model: ModelFacts, options: Options) -> ModelFacts:
        """The model with the projector, the adapters and the draft that are loaded with it."""
        fields = _fields(options.parameters)
        texts = _embeds(model.served_for(options.categories), fields)
        return loaded(model, fields, texts=texts).of(model)

    def context(self, model: ModelFacts, options: Options) -> int:
        """That of one slot, as the engine rounds and caps it (`n_ctx_slot` in its
        tools/server/server-context.cpp)."""
        fields = _fields(options.parameters)
        model = model.served_for(options.categories)
        settings = _settings(model, fields, ())
        slot, _ = cells(settings)
        trained = _trained(model, fields)
        slot = min(slot, trained) if trained else slot
        if not settings.embedding or (_pooling(model, fields) == "last" and not is_encoder(model)):
            return slot
        return min(slot, ubatch(settings))  # such a text cannot be split (`can_split` there)

    def lesser(self, model: ModelFacts, options: Options) -> Iterable[Lesser]:
        """Fewer slots, a shorter context, a smaller cache; texts are embedded one by one anyway."""
        fields = _fields(options.parameters)
        model = model.served_for(options.categories)
        if _embeds(model, fields):
            return ()
        least = _settings(model, fields, _plans(model, fields)[-1])
        kind = "" if not least.flash_attention else least.type_k
        return lesser(options.parameters, least.context, least.parallel, kind)

    def launch(self, context: LaunchContext) -> LaunchSpec:
        """The engine as a process; everything it needs to know is in a private file."""
        options = context.assignment.options
        env = refuse_environment(self.name, options.env, _ENV_PREFIXES)
        if env is not None:
            raise UnsupportedError(env.message, hint=env.fix)
        placement = context.assignment.placement
        if native.is_needed(placement):
            if context.rank:
                return native.lend(context, STOP_GRACE_S)
            words = VOCABULARY.spelled((*placement.parameters, *options.parameters))
            fields = self._config(context)["fields"]
            return native.lead(context, native.words(fields, words), STOP_GRACE_S)
        config = Path(context.run_dir) / CONFIG_NAME
        text = json.dumps(self._config(context), indent=1, sort_keys=True)
        return LaunchSpec(
            argv=(sys.executable, str(ENGINE), str(config)),
            env=(*options.env, *context.exposure.env),
            files=((CONFIG_NAME, text),),
            port=context.port,
            stop_grace_s=STOP_GRACE_S,
        )

    def probe(self, context: LaunchContext) -> Probe:
        """llama.cpp answers 503 on /health while it loads. What it counts is added up when a
        request ends; a model that embeds or ranks generates nothing. Who lends devices answers
        nobody."""
        if context.rank:
            return Probe(kind=ProbeKind.LISTENS, interval_s=5.0)
        return Probe(path="/health", counters=COUNTERS)

    def _config(self, context: LaunchContext) -> dict[str, Any]:
        placement, options = context.assignment.placement, context.assignment.options
        words = (*placement.parameters, *options.parameters)
        fields = dict(_fields(words))
        facts = context.facts and context.facts.served_for(options.categories)
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
        claims = native.in_order(placement)
        fields |= _placed(claims)
        if facts is not None:
            _check_beside(facts, fields)
            beside = loaded(facts, fields, texts=texts)
            path = context.model_path
            fields = engine_fields(beside, fields, path, on_device=bool(claims))
        fields.setdefault("load_mode", NO_MMAP)
        fields.setdefault("cache_ram_mib", 0)
        fields.setdefault("n_ctx_checkpoints", CHECKPOINTS)
        if fields.pop("reranking", False) or _reranks(facts):
            fields["embedding"] = True
            fields["pooling_type"] = {"enum": "llama_pooling_type.LLAMA_POOLING_TYPE_RANK"}
        elif texts and facts is not None:
            fields["embedding"] = True
            if facts.pooling in _NOT_POOLED and "pooling_type" not in fields:
                member = f"LLAMA_POOLING_TYPE_{_pooling(facts, fields).upper()}"
                fields["pooling_type"] = {"enum": f"llama_pooling_type.{member}"}
        return {
            "model_path": context.model_path,
            "host": "127.0.0.1",
            "port": context.port,
            "api_key": context.secret,
            "alias": context.assignment.deployment,
            "fields": fields,
        }


def _beside_layers(model: ModelFacts) -> bool:
    """Whether something is loaded that llama.cpp puts on a device of its own choice."""
    return any(each.kind is not CompanionKind.ADAPTER for each in model.companions)


def _unread(options: Options) -> Reason | None:
    """Variables that llama.cpp's own server reads as parameters would pass the allow-list by."""
    named = next((name for name, _ in options.env if native.is_parameter(name)), None)
    if named is None or not options.distributed:
        return None
    detail = "over several workers it would set a parameter; use backend_parameters"
    return Reason("bad_param", {"backend": BACKEND, "param": named, "detail": detail})


def _check_beside(model: ModelFacts, fields: Mapping[str, Any]) -> None:
    """Raises UnsupportedError for a file that went away since the instance was placed."""
    found = refused(model, fields, texts=_embeds(model, fields))
    if found is not None:
        param, detail = found
        reason = Reason("bad_param", {"backend": BACKEND, "param": param, "detail": detail})
        raise UnsupportedError(reason.message, hint=reason.fix)


def _placed(claims: Sequence[Claim]) -> dict[str, Any]:
    """Which layers go where. llama.cpp gives layer i of n to the first device whose share of the
    sum of `--tensor-split` reaches beyond i / n (`load_tensors` in llama-model.cpp), so whole
    numbers of layers come out as they go in."""
    counts = [claim.layers for claim in claims]
    if len(counts) < 2:
        return {"n_gpu_layers": sum(counts) or (-1 if claims else 0)}
    return {"n_gpu_layers": sum(counts), "tensor_split": counts}


DRAFT_TOKENS = 3
"""The engine's own number of tokens that are proposed at once."""
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
        or _overflowing(_Wanted(fields), model)
        or refused(model, fields, texts=_embeds(model, fields))
    )
    if found is None:
        return None
    param, detail = found
    return Reason("bad_param", {"backend": BACKEND, "param": param, "detail": detail})


def _wrong_purpose(model: ModelFacts, categories: Sequence[Category]) -> Reason | None:
    """Why the model cannot be served for what the user says, whatever its files say of it."""
    for category in categories:
        if category is Category.RERANKER and category not in model.categories:
            return _unfit("it has no head that ranks documents, as the category reranker needs")
        if category is Category.EMBEDDING and Category.RERANKER in model.categories:
            return _unfit("it ranks documents and gives no embeddings")
        if category is Category.LLM and is_encoder(model):
            return _unfit("it is an encoder and writes no text, as the category llm needs")
        if category not in _SERVED:
            return _unfit(f"this engine serves no model of the category {category.value}")
    return None


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
    if _embeds(model, fields) and _Wanted(fields).name("pooling_type", "") == "none":
        return (
            "--pooling none",
            "a text would have a vector per token, which /v1/embeddings has not",
        )
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


def _overflowing(wanted: _Wanted, model: ModelFacts) -> tuple[str, str] | None:
    """Parameters with which llama.cpp ends itself while it starts, whatever is left open."""
    if _plans(model, wanted.fields):
        return None
    kinds = f"{wanted.name('cache_type_k', 'f16')}/{wanted.name('cache_type_v', 'f16')}"
    slots = _settings(model, wanted.fields, ()).parallel
    detail = (
        f"with both caches quantised ({kinds}) and {slots} slots of their own llama.cpp's table"
        " for the graph of this model is too small; use --parallel=1 or --kv-unified, or quantise"
        " only one"
    )
    return "--cache-type-v", detail


def _plans(model: ModelFacts, fields: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Parameters that the user left open, best first; none when llama.cpp would start with none."""
    return [
        words
        for words in _open_plans(model, fields)
        if not overflows(model, _settings(model, fields, words))
    ]


def _open_plans(model: ModelFacts, fields: Mapping[str, Any]) -> list[tuple[str, ...]]:
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
        repack=not wanted.fields.get("no_extra_bufts"),
        kv_offload=not wanted.fields.get("no_kv_offload"),
        embedding=texts,
        cache_ram_bytes=wanted.number("cache_ram_mib", 0) * 1024**2,
        checkpoints=wanted.number("n_ctx_checkpoints", CHECKPOINTS),
        draft_type_k=wanted.name("speculative.draft.cache_type_k", "f16"),
        draft_type_v=wanted.name("speculative.draft.cache_type_v", "f16"),
        draft_tokens=wanted.number("speculative.draft.n_max", DRAFT_TOKENS),
    )
    if not texts:
        return settings
    # llama.cpp lowers the batch to the ubatch for texts: each must be seen whole.
    ubatch = wanted.number("n_ubatch", min(wanted.number("n_batch", TEXT_BATCHES[-1]), context))
    return replace(settings, batch=ubatch, ubatch=ubatch)


def _trained(model: ModelFacts, fields: Mapping[str, Any]) -> int:
    """Tokens beyond which the engine lets no slot go; YaRN stretches them (`llama_init_from_model`
    in src/llama-context.cpp)."""
    scale = fields.get("rope_freq_scale")
    if _Wanted(fields).name("rope_scaling_type", "") != "yarn" or not scale:
        return model.context_length
    original = model.original_context_length or model.context_length
    return int((fields.get("yarn_orig_ctx") or original) / float(scale))


def _pooling(model: ModelFacts, fields: Mapping[str, Any]) -> str:
    """How the vectors of a text's tokens become one. The engine refuses to embed without: a model
    that was not made for it is read like those that were, by the last token, which alone has seen
    all others; an encoder by the mean."""
    told = _Wanted(fields).name("pooling_type", model.pooling)
    if told not in _NOT_POOLED or "pooling_type" in fields:
        return told
    return "mean" if is_encoder(model) else "last"


def _embeds(model: ModelFacts, fields: Mapping[str, Any]) -> bool:
    asked = fields.get("embedding") is True or fields.get("reranking") is True
    return asked or any(category in _TEXTS for category in model.categories)


def _reranks(model: ModelFacts | None) -> bool:
    return model is not None and Category.RERANKER in model.categories


PLUGIN = LlamaCpp()
