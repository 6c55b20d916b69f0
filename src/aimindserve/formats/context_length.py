"""How many tokens a model can hold at once: several files say so, some with numbers that mean
«no limit», some with lengths that rotary scaling multiplies."""

from aimindserve.core.errors import FormatError
from aimindserve.formats.capabilities import Sentences
from aimindserve.formats.config import text_keys
from aimindserve.formats.config_layers import CONTEXT_MAX
from aimindserve.formats.config_layout import Layout
from aimindserve.formats.json_text import Keys, as_whole
from aimindserve.formats.model_directory import Directory

_CONTEXT = (
    "max_position_embeddings",
    "n_positions",
    "max_target_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_sequence_length",
    "n_ctx",
)
_LENGTH_BELIEVED = 2**31
"""Above it a length means «none»: tokenizers write 10^30."""
_STRETCH_MAX = 4096.0


def context_length(
    directory: Directory, root: Keys, layout: Layout, sentences: Sentences
) -> tuple[int, int]:
    """(tokens of context, tokens before stretching).

    The rules are vLLM's (`_get_and_verify_max_len` in config/model.py): `yarn` multiplies the
    original length, `linear` and `dynamic` the one given, `llama3`, `longrope` and `mrope` are in
    the number already; what sentence-transformers or the tokenizer of an encoder say is a limit.
    """
    keys = text_keys(root)
    keys = Keys({**layout.rules.defaults, **keys.values}, "config.json")
    given = keys.count(*_CONTEXT, limit=CONTEXT_MAX)
    original = 0
    rope = keys.inner("rope_scaling") or keys.inner("rope_parameters")
    if rope is not None and given:
        given, original = _stretched(keys, rope, layout, given)
    given = max(given - layout.rules.position_offset, 0)
    limits = [sentences.length_max]
    if layout.rules.encoder or sentences.there:
        limits.append(_tokenizer_limit(directory))
    return min([given, *(limit for limit in limits if limit)]) if given else 0, original


def _stretched(keys: Keys, rope: Keys, layout: Layout, given: int) -> tuple[int, int]:
    kind = rope.text("rope_type", "type")
    factor = rope.number("factor", default=1.0)
    if not 0 <= factor <= _STRETCH_MAX:
        raise FormatError(f"rope factor {factor:.6g} in config.json makes no sense")
    original = rope.count("original_max_position_embeddings", limit=CONTEXT_MAX)
    original = original or keys.count("original_max_position_embeddings", limit=CONTEXT_MAX)
    if kind == "yarn" and factor > 1:
        return max(given, int((original or given) * factor)), original or given
    if kind in ("linear", "dynamic") and factor > 1 and layout.rules.rope_stretches:
        return int(given * factor), given
    return given, original if 0 < original < given else 0


def _tokenizer_limit(directory: Directory) -> int:
    keys = directory.keys("tokenizer_config.json")
    value = as_whole(keys.values.get("model_max_length")) if keys else None
    return value if value is not None and 0 < value < _LENGTH_BELIEVED else 0
