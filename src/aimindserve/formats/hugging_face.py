"""What a Hugging Face style model directory says of the model in it, as ModelFacts.

`config.json` tells the build, safetensors headers the bytes, the tokenizer's and
sentence-transformers' files what it can do. Where headers are not at hand the bytes are computed
from the build and marked rough. Nothing of a repository is run or imported, `auto_map` included; no
file is opened here; anything wrong is a FormatError.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import Category, ModelFacts, WeightParts
from aimindserve.formats import speech
from aimindserve.formats.capabilities import Chat, Sentences, read_chat, read_sentences
from aimindserve.formats.config import read_layout, text_keys
from aimindserve.formats.config_families import OTHER_CATEGORIES
from aimindserve.formats.config_layout import Kind, Layout
from aimindserve.formats.context_length import context_length
from aimindserve.formats.hugging_face_companions import companions
from aimindserve.formats.json_text import Keys
from aimindserve.formats.model_directory import Directory, FileAccess, Weights
from aimindserve.formats.parameters import count_parameters, recurrent_elements
from aimindserve.formats.quantization import (
    DTYPE_BYTES,
    Quantization,
    dtype_name,
    read_quantization,
    stored_bytes,
)
from aimindserve.formats.tensor_parts import Reading, Sums, sum_up

__all__ = ["CONFIG", "DIFFUSERS", "FileAccess", "read_facts"]

CONFIG = "config.json"
DIFFUSERS = "model_index.json"

_RECURRENT_STATE_BYTES = 4


@dataclass(frozen=True, slots=True)
class _Model:
    """All that was read, before it is put into words."""

    root: Keys
    layout: Layout
    weights: Weights
    quantization: Quantization
    sums: Sums
    chat: Chat
    sentences: Sentences
    categories: tuple[Category, ...]
    dtype: str
    context: tuple[int, int]
    output_tokens_max: int
    name: str


def read_facts(files: Mapping[str, FileAccess], name: str = "") -> ModelFacts:
    """The facts of the model whose files these are, by their names in its directory; files one
    directory below (`adapter/adapter_config.json`) may be its companions.

    `name` is what the model is called where it lies (a directory, a repository): a hint for the few
    models that say nowhere what they are for. Raises FormatError only.
    """
    found = _read(files, name)
    if found.format != "safetensors":
        return found
    return replace(found, companions=companions(files, found, _read))


def _read(files: Mapping[str, FileAccess], name: str) -> ModelFacts:
    directory = Directory(files)
    root = directory.keys(CONFIG)
    if root is None:
        return _without_config(directory, name)
    spoken = speech.with_config(directory, root, name)
    if spoken is not None:
        return spoken
    layout = read_layout(root)
    weights = directory.weights()
    sentences = read_sentences(directory)
    quantization = _quantization(root, directory)
    categories = _categories(root, layout, sentences, name)
    dtype = _dtype(root, layout, weights)
    generates = Category.EMBEDDING not in categories
    generation = directory.keys("generation_config.json")
    return _facts(
        _Model(
            root=root,
            layout=layout,
            weights=weights,
            quantization=quantization,
            sums=_sums(layout, weights, quantization, dtype, generates=generates),
            chat=read_chat(directory),
            sentences=sentences,
            categories=categories,
            dtype=dtype,
            context=context_length(directory, root, layout, sentences),
            output_tokens_max=generation.count("max_new_tokens") if generation else 0,
            name=name,
        )
    )


def _facts(model: _Model) -> ModelFacts:
    layout, sums, quantization = model.layout, model.sums, model.quantization
    convolution, state = recurrent_elements(layout)
    width = DTYPE_BYTES.get(model.dtype, 2)
    vision = layout.vision
    return ModelFacts(
        format=model.weights.format,
        architecture=model.root.text("model_type") or layout.model_type,
        architecture_class=layout.architecture_class,
        unknown_architecture=not layout.known,
        custom_code=model.root.has("auto_map"),
        name=model.name[:200],
        categories=model.categories,
        size_bytes=sums.total_bytes,
        parameter_count=sums.parameters,
        part_bytes=sums.part_bytes,
        part_bytes_rough=model.weights.tensors is None,
        token_embedding_bytes=sums.part_bytes.embedding,
        output_bytes=sums.part_bytes.output,
        layer_bytes=sums.layer_bytes,
        dtype=model.dtype,
        tied_embeddings=layout.tied,
        quantization=quantization.method,
        weight_bits=quantization.weight_bits,
        group_size=quantization.group_size,
        unquantized_modules=quantization.unquantized,
        kv_cache_quantization=quantization.kv_cache,
        context_length=model.context[0],
        original_context_length=model.context[1],
        output_tokens_max=model.output_tokens_max,
        layer_count=layout.layers,
        embedding_length=layout.hidden,
        feed_forward_length=layout.feed_forward,
        gated=layout.rules.gated,
        vocabulary_size=layout.vocabulary,
        head_count=layout.heads,
        head_count_kv=_kv_heads(layout),
        key_length=layout.latent + layout.rope_length if layout.latent else layout.key_length,
        value_length=0 if layout.latent else layout.value_length,
        latent_length=layout.latent,
        latent_query_length=layout.latent_query,
        rope_length=layout.rope_length if layout.latent else 0,
        latent_head_length=layout.key_length if layout.latent else 0,
        sliding_window=layout.window,
        sliding_layers=_sliding(layout),
        recurrent_bytes=convolution * width + state * _RECURRENT_STATE_BYTES,
        recurrent_layer_count=sum(1 for kind in layout.kinds if kind in _RECURRENT),
        recurrent_conv_elements=convolution,
        recurrent_state_elements=state,
        expert_count=layout.experts,
        expert_used_count=layout.experts_used,
        expert_feed_forward_length=layout.expert_feed_forward,
        shared_expert_feed_forward_length=layout.shared_feed_forward,
        prediction_layer_count=layout.prediction_layers,
        encoder_layer_count=layout.encoder_layers,
        encoder_context_length=layout.encoder_positions if layout.encoder_layers else 0,
        vision=vision is not None,
        audio=layout.audio,
        vision_layer_count=vision.layers if vision else 0,
        vision_embedding_length=vision.hidden if vision else 0,
        pooling=_pooling(model),
        chat_template=model.chat.there,
        tools=model.chat.tools,
    )


_RECURRENT = (Kind.RECURRENT, Kind.BOTH)


def _kv_heads(layout: Layout) -> tuple[int, ...]:
    """Per layer, zero where a layer keeps no keys; one entry where all are alike."""
    heads = 1 if layout.latent else layout.kv_heads
    silent = (Kind.RECURRENT, Kind.FEED_FORWARD)
    counts = tuple(0 if kind in silent else heads for kind in layout.kinds)
    return counts[:1] if len(set(counts)) == 1 else counts


def _sliding(layout: Layout) -> tuple[bool, ...]:
    flags = tuple(kind is Kind.WINDOW for kind in layout.kinds)
    return flags if any(flags) and layout.window else ()


def _pooling(model: _Model) -> str:
    if Category.RERANKER in model.categories and model.layout.labels:
        return "rank"
    return model.sentences.pooling


def _quantization(root: Keys, directory: Directory) -> Quantization:
    own = root.inner("quantization_config", "compression_config")
    own = own or text_keys(root).inner("quantization_config", "compression_config")
    if own is not None:
        return read_quantization(own)
    beside = directory.keys("hf_quant_config.json") or directory.keys("quantize_config.json")
    if beside is None:
        return read_quantization(None)
    method = "modelopt" if beside.has("quantization") else "gptq"
    return read_quantization(
        Keys({"quant_method": method, **beside.values}, "hf_quant_config.json")
    )


def _dtype(root: Keys, layout: Layout, weights: Weights) -> str:
    """The type of most bytes that are plain numbers; without a header what config.json says."""
    stored: Counter[str] = Counter()
    for tensor in weights.tensors or ():
        if tensor.dtype in ("F32", "F16", "BF16"):
            stored[tensor.dtype] += tensor.size_bytes
    if stored:
        return max(sorted(stored), key=lambda dtype: stored[dtype])
    told = text_keys(root).text("torch_dtype", "dtype") or root.text("torch_dtype", "dtype")
    return dtype_name(told) or ("F32" if layout.rules.encoder else "BF16")


def _sums(
    layout: Layout, weights: Weights, quantization: Quantization, dtype: str, *, generates: bool
) -> Sums:
    if weights.tensors is not None:
        reading = Reading(layout.layers, layout.heads, layout.kv_heads, layout.tied, quantization)
        return sum_up(weights.tensors, reading)
    counts = count_parameters(layout, generates=generates)
    whole = stored_bytes(counts.parts, quantization, dtype)
    layers = [stored_bytes(layer, quantization, dtype).total for layer in counts.layers]
    return Sums(
        _scaled(whole, weights.size_bytes),
        tuple(each * weights.size_bytes // whole.total for each in layers) if whole.total else (),
        counts.total,
        0,
    )


def _scaled(parts: WeightParts, total: int) -> WeightParts:
    """Parts in the same proportions that add up to what is really there."""
    computed = parts.total
    if not computed:
        return WeightParts(replicated=total)
    made = {part: getattr(parts, part) * total // computed for part in WeightParts.__slots__}
    made["replicated"] += total - sum(made.values())
    return WeightParts(**made)


def _categories(
    root: Keys, layout: Layout, sentences: Sentences, name: str
) -> tuple[Category, ...]:
    kind = layout.architecture_class
    other = OTHER_CATEGORIES.get(root.text("model_type"))
    if other is not None or layout.rules.category is Category.SPEECH_TO_TEXT:
        return (other or layout.rules.category,)
    if "ForSequenceClassification" in kind:
        return (Category.RERANKER,) if layout.labels == 1 else ()
    if "ForTokenClassification" in kind or "ForQuestionAnswering" in kind:
        return ()
    ranks = sentences.ranks or root.has("is_original_qwen3_reranker", "classifier_from_token")
    title = name.lower()
    if ranks or "rerank" in title:
        return (Category.RERANKER,)
    headless = kind.endswith("Model") and "Chat" not in kind and layout.known
    headless = headless and layout.rules.prediction_layers == 0 and layout.model_type != "chatglm"
    if sentences.there or layout.rules.encoder or headless or "embed" in title:
        return (Category.EMBEDDING,)
    return (Category.LLM,)


def _without_config(directory: Directory, name: str) -> ModelFacts:
    """A model of speech, a pipeline of models (diffusers), or nothing that can be served."""
    spoken = speech.without_config(directory, name)
    if spoken is not None:
        return spoken
    if directory.keys("adapter_config.json") is not None:
        raise FormatError("it holds an adapter, which cannot be served without its base model")
    index = directory.keys(DIFFUSERS)
    if index is None:
        raise FormatError("there is no config.json, or it cannot be read")
    size = sum(
        file.size_bytes for key, file in directory.files.items() if key.endswith(".safetensors")
    )
    if not size:
        raise FormatError("there are no safetensors weights beside its model_index.json")
    return ModelFacts(
        format="diffusers",
        architecture=index.text("_class_name"),
        size_bytes=size,
        part_bytes=WeightParts(replicated=size),
        part_bytes_rough=True,
        name=name[:200],
        categories=(Category.IMAGE,),
    )
