"""Which model is meant, and what reading its files (never running them) told about it."""

from dataclasses import dataclass
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
class ModelFacts:
    """What a model file says of itself. Counts are counts, sizes are bytes.

    Fields that a format or architecture does not have are zero or empty; `architecture` is the name
    used by the format (`llama`, `qwen2`, `bert`).
    """

    format: str
    """gguf, safetensors."""
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


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for beyond the model: reaches a backend's `shapes` and `launch`."""

    parameters: tuple[str, ...] = ()
    """Backend parameters as command-line words, `--ctx-size=4096` or `-c`, `4096`."""
    env: tuple[tuple[str, str], ...] = ()
    cpu_offloading: bool = True
    distributed: bool = False
    backend_version: str | None = None
