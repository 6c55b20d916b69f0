"""What a GGUF file says of the model in it, as ModelFacts: the way from a header to the vocabulary
that backends and the scheduler understand.

The meaning of keys and tensor names is llama.cpp's: `docs/gguf.md` of ggml, `src/llama-arch.cpp`
and `load_hparams` in `src/llama-model.cpp`. Opens no file; what it is given was read by
`gguf_header`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import Category, ModelFacts
from aimindserve.formats.ggml_types import FILE_TYPES, TYPES
from aimindserve.formats.gguf_header import Header, Read, Skipped, Tensor, read_header

__all__ = ["ENCODERS", "Header", "Read", "facts", "read_facts", "read_header"]

LAYERS_MAX = 4_096
COUNT_MAX = 2**40
_POOLING = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
_LAYER = re.compile(r"^blk\.(\d{1,6})\.")

ENCODERS = frozenset(
    {
        "bert",
        "eurobert",
        "gemma-embedding",
        "gemma-embedding2",
        "jina-bert-v2",
        "jina-bert-v3",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
    }
)
"""Architectures that only ever turn text into vectors: llama.cpp gives them no KV cache
(`llama_model::create_memory`)."""

_NOT_SERVED = {"clip": "a projector of a vision model", "wavtokenizer-dec": "a vocoder"}

_WINDOW_PATTERNS = {
    "cohere2": 4,
    "exaone-moe": 4,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "llama4": 4,
    "mellum": 4,
    "olmo2": 4,
    "plamo3": 8,
}
"""Every n-th layer sees everything, the others a window: the defaults of `load_swa_pattern` in
llama.cpp's `src/models/*.cpp`. An architecture that is missing counts as seeing everything, which
claims too much rather than too little."""


def read_facts(read: Read, file_bytes: int) -> ModelFacts:
    """The facts of the GGUF file that `read` gives access to. Raises FormatError only."""
    return facts(read_header(read, file_bytes))


def facts(header: Header) -> ModelFacts:
    """The facts in a header. Raises FormatError when they contradict themselves or are missing."""
    keys = _Keys(header)
    architecture = keys.architecture
    _check_served(keys)
    layers = keys.count("block_count", limit=LAYERS_MAX)
    sizes = _Sizes(header.tensors, layers)
    heads = keys.per_layer("attention.head_count", layers)
    embedding = keys.count("embedding_length")
    head_count = max(heads, default=0)
    head_length = embedding // head_count if head_count else 0
    pooling = _POOLING.get(keys.count("pooling_type", default=-1), "")
    return ModelFacts(
        format="gguf",
        architecture=architecture,
        size_bytes=sizes.total,
        parameter_count=sizes.parameters,
        quantization=_quantization(keys, header.tensors),
        context_length=keys.count("context_length"),
        layer_count=layers,
        embedding_length=embedding,
        feed_forward_length=max(keys.per_layer("feed_forward_length", layers), default=0),
        vocabulary_size=_vocabulary(keys, header.tensors),
        head_count=head_count,
        head_count_kv=_kv_heads(keys, heads, layers),
        key_length=keys.count("attention.key_length", default=head_length),
        value_length=_value_length(keys, head_length),
        sliding_window=keys.count("attention.sliding_window"),
        sliding_layers=_sliding_layers(keys, layers),
        recurrent_bytes=_recurrent_bytes(keys, embedding, layers),
        expert_count=keys.count("expert_count"),
        expert_used_count=keys.count("expert_used_count"),
        expert_feed_forward_length=keys.count("expert_feed_forward_length"),
        pooling=pooling,
        token_embedding_bytes=sizes.token_embedding,
        output_bytes=sizes.output,
        layer_bytes=sizes.layers,
        chat_template=isinstance(header.metadata.get("tokenizer.chat_template"), str),
        name=str(header.metadata.get("general.name", ""))[:200],
        categories=_categories(architecture, pooling),
    )


class _Keys:
    """Typed access to metadata; keys without a prefix belong to the architecture."""

    def __init__(self, header: Header) -> None:
        self.metadata = header.metadata
        name = header.metadata.get("general.architecture")
        if not isinstance(name, str) or not name:
            raise FormatError("it does not say its architecture (general.architecture is missing)")
        self.architecture = name[:64]

    def count(self, key: str, *, default: int = 0, limit: int = COUNT_MAX) -> int:
        """A count that is one number; the largest one where it is given per layer."""
        return max(self._counts(key, limit), default=default)

    def per_layer(self, key: str, layers: int) -> tuple[int, ...]:
        """One entry per layer, or one for all, or none."""
        counts = self._counts(key, COUNT_MAX)
        if len(counts) > 1 and len(counts) < layers:
            raise FormatError(f"{key} is given for {len(counts)} layers, but there are {layers}")
        return counts[:layers] if len(counts) > 1 else counts

    def flags(self, key: str) -> tuple[bool, ...]:
        """A yes or no per layer, if it is given so."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        return tuple(bool(entry) for entry in value) if isinstance(value, tuple) else ()

    def _counts(self, key: str, limit: int) -> tuple[int, ...]:
        full = f"{self.architecture}.{key}"
        value = self.metadata.get(full)
        if value is None:
            return ()
        entries = value if isinstance(value, tuple) else (value,)
        counts: list[int] = []
        for entry in entries:
            if isinstance(entry, bool | float | str | Skipped):
                raise FormatError(f"{full} should be a whole number, not {str(entry)[:40]!r}")
            if not -1 <= entry <= limit:
                raise FormatError(f"{full} is {entry}; 0 to {limit} makes sense")
            counts.append(max(entry, 0))
        return tuple(counts)


class _Sizes:
    """Where the bytes are."""

    def __init__(self, tensors: Sequence[Tensor], layers: int) -> None:
        by_layer: dict[int, int] = defaultdict(int)
        named: dict[str, int] = {}
        for tensor in tensors:
            match = _LAYER.match(tensor.name)
            if match:
                by_layer[int(match.group(1))] += tensor.size_bytes
            else:
                named[tensor.name] = tensor.size_bytes
        beyond = [index for index in by_layer if index >= layers]
        if beyond:
            raise FormatError(f"it has tensors of layer {max(beyond)}, but {layers} layers")
        self.total = sum(tensor.size_bytes for tensor in tensors)
        self.parameters = sum(tensor.elements for tensor in tensors)
        self.layers = tuple(by_layer[index] for index in range(layers))
        self.token_embedding = named.get("token_embd.weight", 0)
        self.output = named.get("output.weight", 0)


def _check_served(keys: _Keys) -> None:
    kind = keys.metadata.get("general.type", "model")
    if kind not in ("model", ""):
        raise FormatError(f"it holds {str(kind)[:40]!r}, which cannot be served by itself")
    what = _NOT_SERVED.get(keys.architecture)
    if what is not None:
        raise FormatError(f"it holds {what}, which cannot be served by itself")
    parts = keys.metadata.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise FormatError(
            f"it is one of {parts} parts of a split model; merge them (llama-gguf-split --merge)"
        )


def _quantization(keys: _Keys, tensors: Sequence[Tensor]) -> str:
    code = keys.metadata.get("general.file_type")
    if isinstance(code, int) and code in FILE_TYPES:
        return FILE_TYPES[code]
    weight: Counter[str] = Counter()
    for tensor in tensors:
        weight[TYPES[tensor.type_id].name] += tensor.size_bytes
    return max(sorted(weight), key=lambda name: weight[name], default="")


def _vocabulary(keys: _Keys, tensors: Sequence[Tensor]) -> int:
    tokens = keys.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, Skipped):
        return tokens.count
    for tensor in tensors:
        if tensor.name == "token_embd.weight" and len(tensor.shape) > 1:
            return tensor.shape[1]
    return keys.count("vocab_size")


def _kv_heads(keys: _Keys, heads: tuple[int, ...], layers: int) -> tuple[int, ...]:
    counts = keys.per_layer("attention.head_count_kv", layers) or heads
    shared = keys.count("attention.shared_kv_layers")
    if keys.architecture == "gemma3n":
        shared = max(layers - 20, 0)
    if not shared or not counts:
        return counts
    # Layers that read the cache of an earlier one hold none themselves.
    spread = counts if len(counts) > 1 else counts * layers
    return spread[: max(layers - shared, 0)] + (0,) * min(shared, layers)


def _value_length(keys: _Keys, head_length: int) -> int:
    # Latent attention keeps one compressed vector as the key and derives the value from it: no V is
    # stored (llama.cpp: `has_v = !is_mla`).
    if keys.count("attention.key_length_mla"):
        return 0
    return keys.count("attention.value_length", default=head_length)


def _sliding_layers(keys: _Keys, layers: int) -> tuple[bool, ...]:
    if not keys.count("attention.sliding_window"):
        return ()
    stated = keys.flags("attention.sliding_window_pattern")
    if stated:
        return stated[:layers]
    default = _WINDOW_PATTERNS.get(keys.architecture)
    if default is None:
        return ()
    pattern = keys.count("attention.sliding_window_pattern") or default
    return tuple(index % pattern < pattern - 1 for index in range(layers))


def _recurrent_bytes(keys: _Keys, embedding: int, layers: int) -> int:
    """State of one sequence in all recurrent layers: `n_embd_r` and `n_embd_s` of llama.cpp's
    `src/llama-hparams.cpp`, stored as F32. Layers that attend count as well where the file does not
    say which they are: too much rather than too little."""
    inner = keys.count("ssm.inner_size")
    state = keys.count("ssm.state_size")
    kernel = keys.count("ssm.conv_kernel")
    wkv = keys.count("wkv.head_size")
    short = keys.count("shortconv.l_cache")
    kda = keys.count("kda.head_dim")
    if wkv:
        elements = embedding * (keys.count("token_shift_count", default=2) + wkv)
    elif kda:
        width = keys.count("attention.head_count") * kda
        elements = 3 * max(kernel - 1, 3) * width + kda * width
    elif short:
        elements = embedding * max(short - 1, 0)
    else:
        groups = keys.count("ssm.group_count")
        elements = max(kernel - 1, 0) * (inner + 2 * groups * state) + state * inner
    attending = sum(1 for heads in keys.per_layer("attention.head_count_kv", layers) if heads)
    recurrent = layers - attending if attending > 1 else layers
    return 4 * elements * recurrent


def _categories(architecture: str, pooling: str) -> tuple[Category, ...]:
    if pooling == "rank":
        return (Category.RERANKER,)
    if pooling in ("mean", "cls", "last") or architecture in ENCODERS:
        return (Category.EMBEDDING,)
    return (Category.LLM,)
