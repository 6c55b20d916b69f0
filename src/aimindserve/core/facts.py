"""Which model is meant, and what reading its files (never running them) told about it."""

from dataclasses import dataclass, replace
from enum import Enum


class SourceName(str, Enum):
    """Where weights can come from."""

    LOCAL = "local"
    HUGGINGFACE = "huggingface"
    MODELSCOPE = "modelscope"
    OLLAMA = "ollama"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A reference to a model: `path` for local files, `repo` (and `file`, `revision`) for hubs,
    `name` for the Ollama library."""

    source: SourceName
    path: str | None = None
    repo: str | None = None
    name: str | None = None
    file: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        where = self.path or self.repo or self.name or ""
        return f"{self.source.value}:{where}" + (f"/{self.file}" if self.file else "")


class Category(str, Enum):
    """What a model is for; decides which inference paths it answers."""

    LLM = "llm"
    EMBEDDING = "embedding"
    RERANKER = "reranker"
    IMAGE = "image"
    SPEECH_TO_TEXT = "speech_to_text"
    TEXT_TO_SPEECH = "text_to_speech"


@dataclass(frozen=True, slots=True)
class WeightParts:
    """Weights by what they do, so that it is known what tensor parallelism cuts and what every rank
    holds whole. Parameters or bytes, as the holder says."""

    embedding: int = 0
    """The vocabulary's input matrix; cut over the vocabulary."""
    output: int = 0
    """The vocabulary's output matrix; zero when tied to the embedding."""
    attention_q: int = 0
    """What makes queries, per head: cut over the heads."""
    attention_kv: int = 0
    """What makes keys and values; ranks beyond the count of KV heads hold copies."""
    attention_o: int = 0
    mlp: int = 0
    """Dense feed-forward layers and experts that every token passes."""
    experts: int = 0
    router: int = 0
    """Chooses experts; every rank holds it whole."""
    recurrent: int = 0
    """State-space, linear-attention and convolution layers."""
    replicated: int = 0
    """Norms, positions, latent projections, heads that classify: every rank holds them whole."""
    vision: int = 0
    """Encoders of images or sound beside the language model, with their projectors."""
    prediction: int = 0
    """Layers that predict further tokens (MTP); loaded only for speculative decoding."""

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(getattr(self, part) for part in self.__slots__)


class CompanionKind(str, Enum):
    """What a file beside a model's is to it."""

    PROJECTOR = "projector"
    """Turns images or sound into embeddings for the model."""
    ADAPTER = "adapter"
    """Low-rank changes to the model's weights (LoRA)."""
    DRAFT = "draft"
    """A smaller model that proposes tokens, which the model then checks."""


@dataclass(frozen=True, slots=True)
class Companion:
    """A file or directory beside a model's that an engine can load with it. Sizes are bytes."""

    kind: CompanionKind
    file: str
    """Its name, without a directory."""
    size_bytes: int
    """All its tensors."""
    compute_bytes: int = 0
    """What encoding one image takes at most (a projector)."""
    layer_bytes: tuple[int, ...] = ()
    """What belongs to each of the model's layers and lies where the layer lies (an adapter)."""
    rank: int = 0
    """Rank of an adapter's products, where its engine reserves room by it."""
    facts: "ModelFacts | None" = None
    """What it says of itself (a draft)."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model file says of itself. Counts are counts, sizes are bytes.

    Fields that a format or architecture does not have are zero or empty; `architecture` is the name
    used by the format (`llama`, `qwen2`, `bert`).
    """

    format: str
    """gguf, safetensors, pytorch, ctranslate2, diffusers."""
    architecture: str
    size_bytes: int
    """All tensors together, as stored."""
    parameter_count: int = 0
    quantization: str = ""
    context_length: int = 0
    """The longest context the model was trained for, in tokens."""
    layer_count: int = 0
    embedding_length: int = 0
    feed_forward_length: int = 0
    vocabulary_size: int = 0
    head_count: int = 0
    head_count_kv: tuple[int, ...] = ()
    """Per layer; one entry stands for all layers."""
    key_length: int = 0
    value_length: int = 0
    """Zero with a key length: values come from the keys (latent attention), none is stored."""
    sliding_window: int = 0
    sliding_layers: tuple[bool, ...] = ()
    """Per layer whether it only sees the window; empty: no layer does, or it is not known."""
    recurrent_bytes: int = 0
    """State that recurrent layers keep for one sequence, all layers together."""
    expert_count: int = 0
    expert_used_count: int = 0
    expert_feed_forward_length: int = 0
    pooling: str = ""
    """none, mean, cls, last, rank; empty when the model does not pool."""
    token_embedding_bytes: int = 0
    output_bytes: int = 0
    layer_bytes: tuple[int, ...] = ()
    """Tensor bytes of each repeating layer."""
    chat_template: bool = False
    name: str = ""
    categories: tuple[Category, ...] = ()
    architecture_class: str = ""
    """The class that config.json names, `LlamaForCausalLM`; engines choose by it."""
    unknown_architecture: bool = False
    """This program does not know the architecture: facts hold what is there, estimates guess."""
    custom_code: bool = False
    """The repository brings Python code for this model (`auto_map`). It is never run here; an
    engine that does not know the architecture itself would need it."""
    dtype: str = ""
    """What weights that are not quantised are stored in: BF16, F16, F32."""
    tied_embeddings: bool = False
    part_bytes: WeightParts = WeightParts()
    """Where the bytes are; adds up to `size_bytes`."""
    part_bytes_rough: bool = False
    """`part_bytes` and `parameter_count` were computed from the configuration, not counted."""
    weight_bits: int = 0
    """Bits of a quantised weight without its scales; zero when weights are not quantised."""
    group_size: int = 0
    """Weights that share a scale; zero: a scale per channel or tensor."""
    unquantized_modules: tuple[str, ...] = ()
    """Module names or patterns that quantisation left out, as the format spells them."""
    kv_cache_quantization: str = ""
    """The type that the checkpoint has scales for, `fp8`; empty: none."""
    original_context_length: int = 0
    """Tokens before rotary positions were stretched; zero when they are not."""
    output_tokens_max: int = 0
    """`max_new_tokens` of generation_config.json, which some engines make everyone's limit."""
    latent_length: int = 0
    """Latent attention: the compressed vector that keys and values come from (`kv_lora_rank`)."""
    latent_query_length: int = 0
    rope_length: int = 0
    """Latent attention: the part of a key that carries the position and is not compressed."""
    recurrent_layer_count: int = 0
    recurrent_conv_elements: int = 0
    """Convolution state of one sequence, all recurrent layers together, in elements."""
    recurrent_state_elements: int = 0
    """Recurrent state of one sequence, all recurrent layers together, in elements."""
    shared_expert_feed_forward_length: int = 0
    """All experts together that every token passes."""
    leading_dense_layer_count: int = 0
    """Layers before the first with experts; zero where that is not said."""
    prediction_layer_count: int = 0
    """Layers beyond `layer_count` that predict further tokens (MTP)."""
    encoder_layer_count: int = 0
    """Encoder of an encoder-decoder model (Whisper)."""
    encoder_context_length: int = 0
    vision: bool = False
    """Takes images."""
    audio: bool = False
    """Takes sound."""
    vision_layer_count: int = 0
    vision_embedding_length: int = 0
    tools: bool = False
    """The chat template knows tools."""
    gated: bool = True
    """Feed-forward layers have a gate beside the way up."""
    latent_head_length: int = 0
    """Latent attention: a head's query before it is carried into the latent space."""
    companions: tuple[Companion, ...] = ()
    """Files beside the model's that could be loaded with it. A backend's `loads` leaves those that
    are."""
    latent_value_length: int = 0
    """Latent attention: a head's value once it is unfolded."""
    recurrent_inner_length: int = 0
    """Width of a recurrent layer (`ssm.inner_size`)."""
    recurrent_state_length: int = 0
    """State that each of its channels keeps (`ssm.state_size`)."""
    recurrent_group_count: int = 0
    """Groups of channels that share their inputs; zero: the first Mamba, which has none."""
    recurrent_rank: int = 0
    """Heads, or the rank of the first Mamba's time steps (`ssm.time_step_rank`)."""
    recurrent_kernel: int = 0
    """Tokens that its convolution sees at once."""
    tensor_count: int = 0
    """Tensors in the file; zero where nobody counted."""
    recurrent_width: int = 0
    """Values per token that a recurrent layer holds at once while it computes."""

    def served_for(self, categories: tuple[Category, ...]) -> "ModelFacts":
        """The model when it is to be served for `categories`; empty: for its own."""
        return replace(self, categories=categories) if categories else self

    def alone(self) -> "ModelFacts":
        """The model without anything beside it."""
        return replace(self, companions=()) if self.companions else self

    def beside(self, kind: CompanionKind) -> tuple[Companion, ...]:
        """The companions of one kind."""
        return tuple(each for each in self.companions if each.kind is kind)


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for beyond the model: reaches a backend's `shapes` and `launch`."""

    parameters: tuple[str, ...] = ()
    """Backend parameters as command-line words, `--ctx-size=4096` or `-c`, `4096`."""
    env: tuple[tuple[str, str], ...] = ()
    cpu_offloading: bool = True
    distributed: bool = False
    backend_version: str | None = None
    categories: tuple[Category, ...] = ()
    """What the model is to be served for, as the user says; empty: what its files say."""
