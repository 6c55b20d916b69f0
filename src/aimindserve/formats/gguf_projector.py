"""What a GGUF file says of a projector: the encoder that turns images or sound into embeddings of a
language model, in a file of its own beside it (`mmproj-….gguf`).

Keys are those of llama.cpp's `tools/mtmd/clip-impl.h`. Opens no file.
"""

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import Companion, CompanionKind, ModelFacts
from aimindserve.formats.gguf_header import Header

ARCHITECTURE = "clip"
_SIDE_MAX = 1_000_000
_PATCHES_MAX = 16_384
"""Patches of one image that llama.cpp's own limits let through (`image_max_tokens`)."""


def projector(header: Header, name: str, facts: ModelFacts) -> Companion:
    """The projector called `name` of the model that `facts` tell of. Raises FormatError when the
    header makes no sense, or is of a projector for a model of another width: llama.cpp would refuse
    the pair."""
    encoder = next((kind for kind in ("vision", "audio") if _has(header, kind)), None)
    if encoder is None:
        raise FormatError("it holds neither a vision nor an audio encoder")
    numbers = {key: _number(header, f"clip.{encoder}.{key}") for key in _NUMBERS}
    if numbers["projection_dim"] != facts.embedding_length:
        raise FormatError(
            f"the projector {name} makes embeddings of {numbers['projection_dim']} numbers, but the"
            f" model's have {facts.embedding_length}"
        )
    return Companion(
        CompanionKind.PROJECTOR,
        name,
        sum(tensor.size_bytes for tensor in header.tensors),
        compute_bytes=_compute(numbers),
    )


def _has(header: Header, kind: str) -> bool:
    return header.metadata.get(f"clip.has_{kind}_encoder") is True


_NUMBERS = (
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "projection_dim",
    "image_size",
    "patch_size",
    "attention.head_count",
)


def _number(header: Header, key: str) -> int:
    value = header.metadata.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _SIDE_MAX:
        raise FormatError(
            f"{key} should be a whole number up to {_SIDE_MAX}, not {str(value)[:40]}"
        )
    return value


def _compute(numbers: dict[str, int]) -> int:
    """Not exact: every patch with its hidden vectors, and all scores of one layer, as without flash
    attention. Models of any image size are encoded with up to four times the stated size."""
    patch = numbers["patch_size"]
    if not patch:  # sound: windows of 30 seconds
        patches = 1500
    else:
        patches = min((max(numbers["image_size"], patch) // patch) ** 2, _PATCHES_MAX)
    heads = max(numbers["attention.head_count"], 1)
    each = 12 * numbers["embedding_length"] + 4 * numbers["feed_forward_length"] + heads * patches
    return 4 * patches * each
