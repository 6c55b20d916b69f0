"""Parameters with which llama.cpp would take less memory for the same model: advice, not policy."""

from collections.abc import Iterable, Sequence

from aimindserve.backends._llama_cpp_parameters import VOCABULARY
from aimindserve.backends.base import Lesser

CONTEXT_LEAST = 512
_KV_TYPES = ("q8_0", "q4_0")


def lesser(
    parameters: Sequence[str], context: int, parallel: int, kv_type: str
) -> Iterable[Lesser]:
    """From the least change on: fewer slots of the same length, a shorter context, a smaller cache
    type. `context` is that of all slots together."""
    each = max(context // max(parallel, 1), 1)
    slots = parallel // 2
    while slots >= 1:
        words = (f"--parallel={slots}", f"--ctx-size={slots * each}")
        yield _lesser("slots", parameters, words, parallel, slots)
        slots //= 2
    shorter = context // 2
    while shorter >= CONTEXT_LEAST:
        words = (f"--ctx-size={shorter}", f"--parallel={parallel}")
        yield _lesser("context", parameters, words, context, shorter)
        shorter //= 2
    if kv_type in ("f32", "f16", "bf16"):
        for smaller in _KV_TYPES:
            words = (f"--cache-type-k={smaller}", f"--cache-type-v={smaller}")
            yield _lesser("kv_type", parameters, words, kv_type, smaller)


def _lesser(
    kind: str, parameters: Sequence[str], words: tuple[str, ...], before: object, after: object
) -> Lesser:
    params = {"from": before, "to": after, "parameters": " ".join(words)}
    return Lesser(kind, VOCABULARY.replaced(parameters, words), params)
