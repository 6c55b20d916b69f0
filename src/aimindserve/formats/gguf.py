"""What a GGUF file says of the model in it, as ModelFacts: the way from a header to the vocabulary
that backends and the scheduler understand.

The meaning of keys and tensor names is llama.cpp's: `docs/gguf.md` of ggml, `src/llama-arch.cpp`
and `load_hparams` in `src/llama-model.cpp`. Opens no file; what it is given was read by
`gguf_header`.
"""

import re
from collections import Counter
from collections.abc import Sequence

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import Category, ModelFacts
from aimindserve.formats.ggml_types import FILE_TYPES, TYPES
from aimindserve.formats.gguf_header import Header, Read, Skipped, Tensor, read_header
from aimindserve.formats.gguf_keys import Keys
from aimindserve.formats.gguf_recurrence import DELTA_NETS, State, attending
from aimindserve.formats.gguf_sizes import Sizes

__all__ = [
    "ENCODERS",
    "Header",
    "Read",
    "facts",
    "joined",
    "part_names",
    "read_facts",
    "read_header",
]

LAYERS_MAX = 4_096
_POOLING = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}

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

_KNOWN = frozenset(
    {
        *("bert", "chatglm", "deepseek2", "falcon-h1", "gemma2", "gemma3", "glm4", "glm4moe"),
        *("gpt-oss", "granitehybrid", "jamba", "llama", "mamba", "nomic-bert", "phi2", "phi3"),
        *("qwen2", "qwen2vl", "qwen3", "qwen3moe", "qwen3next"),
    }
)
"""Architectures whose every buffer was compared with the engine's (`tests/golden/llama_cpp`)."""

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


_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.gguf)")
PARTS_MAX = 1_000


def part_names(name: str) -> tuple[str, ...]:
    """The names of all files of a model that is split (`llama-gguf-split`), by the name of any of
    them; the name itself where it says nothing of parts. Raises FormatError for numbers that make
    no sense."""
    match = _PART.fullmatch(name)
    if match is None:
        return (name,)
    stem, number, total, suffix = match.groups()
    if not 1 <= int(number) <= int(total) <= PARTS_MAX:
        raise FormatError(f"its name says that it is part {int(number)} of {int(total)}")
    return tuple(f"{stem}-{each:05}-of-{total}{suffix}" for each in range(1, int(total) + 1))


def joined(headers: Sequence[Header]) -> Header:
    """One header for all parts of a split model, which are given in order. Raises FormatError when
    they do not belong together: a part that is not the one it should be, or tensors that lack."""
    first = headers[0]
    count = first.metadata.get("split.count", 1)
    if count in (0, 1) and len(headers) == 1:
        return first
    if count != len(headers):
        raise FormatError(f"it is in {count} parts, and {len(headers)} of them were given")
    for index, header in enumerate(headers):
        if header.metadata.get("split.no", index) != index:
            found = header.metadata["split.no"]
            raise FormatError(f"the file in place {index + 1} says it is part {found!r} from 0")
    tensors = tuple(tensor for header in headers for tensor in header.tensors)
    stated = first.metadata.get("split.tensors.count", len(tensors))
    if stated != len(tensors):
        raise FormatError(f"its parts hold {len(tensors)} tensors of {stated}")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise FormatError("its parts hold the same tensor twice")
    metadata = {**first.metadata, "split.count": 1}
    size = sum(header.file_bytes for header in headers)
    return Header(first.version, metadata, tensors, first.data_offset, size)


def read_facts(read: Read, file_bytes: int) -> ModelFacts:
    """The facts of the GGUF file that `read` gives access to. Raises FormatError only."""
    return facts(read_header(read, file_bytes))


def facts(header: Header) -> ModelFacts:
    """The facts in a header. Raises FormatError when they contradict themselves or are missing."""
    keys = Keys(header)
    architecture = keys.architecture
    _check_served(keys)
    blocks = keys.count("block_count", limit=LAYERS_MAX)
    predicting = min(keys.count("nextn_predict_layers"), blocks)
    layers = blocks - predicting
    sizes = Sizes(header.tensors, layers, blocks)
    heads = keys.per_layer("attention.head_count", layers)
    embedding = keys.count("embedding_length")
    template = header.metadata.get("tokenizer.chat_template")
    state = State.of(keys, layers)
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
        feed_forward_length=_feed_forward(keys, layers, sizes),
        vocabulary_size=_vocabulary(keys, header.tensors),
        head_count=head_count,
        head_count_kv=_kv_heads(keys, heads, layers),
        key_length=keys.count("attention.key_length", default=head_length),
        value_length=_value_length(keys, head_length),
        sliding_window=keys.count("attention.sliding_window"),
        sliding_layers=_sliding_layers(keys, layers),
        recurrent_bytes=4 * (state.conv + state.state) * state.layers,
        expert_count=keys.count("expert_count"),
        expert_used_count=keys.count("expert_used_count"),
        expert_feed_forward_length=keys.count("expert_feed_forward_length"),
        pooling=pooling,
        token_embedding_bytes=sizes.token_embedding,
        output_bytes=sizes.output,
        layer_bytes=sizes.layers,
        chat_template=isinstance(template, str),
        name=str(header.metadata.get("general.name", ""))[:200],
        categories=_categories(architecture, pooling),
        unknown_architecture=architecture not in _KNOWN,
        tied_embeddings=not sizes.output,
        part_bytes=sizes.parts,
        original_context_length=keys.count("rope.scaling.original_context_length"),
        latent_length=keys.count("attention.kv_lora_rank"),
        latent_query_length=keys.count("attention.q_lora_rank"),
        rope_length=keys.count("rope.dimension_count"),
        recurrent_layer_count=state.layers,
        recurrent_conv_elements=state.conv * state.layers,
        recurrent_state_elements=state.state * state.layers,
        shared_expert_feed_forward_length=_shared_experts(keys),
        leading_dense_layer_count=keys.count("leading_dense_block_count"),
        prediction_layer_count=predicting,
        tools=isinstance(template, str) and "tools" in template,
        gated=sizes.gated,
        latent_head_length=keys.count("attention.key_length_mla"),
        latent_value_length=keys.count("attention.value_length_mla"),
        recurrent_inner_length=keys.count("ssm.inner_size"),
        recurrent_state_length=keys.count("ssm.state_size"),
        recurrent_group_count=keys.count("ssm.group_count"),
        recurrent_rank=keys.count("ssm.time_step_rank"),
        recurrent_kernel=keys.count("ssm.conv_kernel"),
        tensor_count=len(header.tensors),
        recurrent_width=state.width,
    )


def _check_served(keys: Keys) -> None:
    kind = keys.metadata.get("general.type", "model")
    if kind not in ("model", ""):
        raise FormatError(f"it holds {str(kind)[:40]!r}, which cannot be served by itself")
    what = _NOT_SERVED.get(keys.architecture)
    if what is not None:
        raise FormatError(f"it holds {what}, which cannot be served by itself")
    parts = keys.metadata.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise FormatError(
            f"it is one of {parts} parts of a split model; name the first part, with the others "
            "beside it"
        )


def _quantization(keys: Keys, tensors: Sequence[Tensor]) -> str:
    code = keys.metadata.get("general.file_type")
    if isinstance(code, int) and code in FILE_TYPES:
        return FILE_TYPES[code]
    weight: Counter[str] = Counter()
    for tensor in tensors:
        weight[TYPES[tensor.type_id].name] += tensor.size_bytes
    return max(sorted(weight), key=lambda name: weight[name], default="")


def _vocabulary(keys: Keys, tensors: Sequence[Tensor]) -> int:
    tokens = keys.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, Skipped):
        return tokens.count
    for tensor in tensors:
        if tensor.name == "token_embd.weight" and len(tensor.shape) > 1:
            return tensor.shape[1]
    return keys.count("vocab_size")


def _feed_forward(keys: Keys, layers: int, sizes: Sizes) -> int:
    """Of dense layers: some files of models that have none give a number nevertheless."""
    if keys.count("expert_feed_forward_length") and not sizes.dense:
        return 0
    return max(keys.per_layer("feed_forward_length", layers), default=0)


def _kv_heads(keys: Keys, heads: tuple[int, ...], layers: int) -> tuple[int, ...]:
    counts = keys.per_layer("attention.head_count_kv", layers) or heads
    if keys.architecture in DELTA_NETS and counts:
        return tuple(max(counts) if attends else 0 for attends in attending(keys, layers))
    shared = keys.count("attention.shared_kv_layers")
    if keys.architecture == "gemma3n":
        shared = max(layers - 20, 0)
    if not shared or not counts:
        return counts
    # Layers that read the cache of an earlier one hold none themselves.
    spread = counts if len(counts) > 1 else counts * layers
    return spread[: max(layers - shared, 0)] + (0,) * min(shared, layers)


def _value_length(keys: Keys, head_length: int) -> int:
    # Latent attention keeps one compressed vector as the key and derives the value from it: no V is
    # stored (llama.cpp: `has_v = !is_mla`).
    if keys.count("attention.key_length_mla"):
        return 0
    return keys.count("attention.value_length", default=head_length)


def _sliding_layers(keys: Keys, layers: int) -> tuple[bool, ...]:
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


def _shared_experts(keys: "Keys") -> int:
    """All of them together."""
    stated = keys.count("expert_shared_feed_forward_length")
    each = keys.count("expert_feed_forward_length")
    return stated or each * keys.count("expert_shared_count")


def _categories(architecture: str, pooling: str) -> tuple[Category, ...]:
    if pooling == "rank":
        return (Category.RERANKER,)
    if pooling in ("mean", "cls", "last") or architecture in ENCODERS:
        return (Category.EMBEDDING,)
    return (Category.LLM,)
