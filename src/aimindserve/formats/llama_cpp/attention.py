"""Attention as llama.cpp computes it, as far as it takes room.

Read from `build_qkv`, `build_attn` and `build_attn_mha` in `src/llama-graph.cpp`, `cpy_k` and
`cpy_v` in `src/llama-kv-cache.cpp`, and what families add to it in `src/models/*.cpp`.
"""

from aimindserve.formats.llama_cpp import operations as ops
from aimindserve.formats.llama_cpp.allocator import Tensor
from aimindserve.formats.llama_cpp.batch import DELTA_NETS, Batch, Cache, Layer

_FUSED = frozenset(
    {
        *("chatglm", "falcon", "gpt2", "gptneox", "mpt", "nomic-bert", "phi2", "phi3", "qwen"),
        "starcoder",
    }
)
"""Queries, keys and values come out of one matrix."""
_NORMED_HEADS = frozenset({"gemma3", "qwen3", "qwen3moe"})
_SCALED_QUERIES = frozenset({"gemma2", "gemma3", "phi2", "phi3"})
_WITHOUT_POSITIONS = frozenset({"jamba"})


def attention(batch: Batch, operand: Tensor, layer: Layer) -> Tensor:
    if batch.facts.latent_head_length:
        return _latent_attention(batch, operand)
    if batch.architecture in DELTA_NETS:
        return _gated_attention(batch, operand, layer)
    query, key, value = projections(batch, operand, layer.kv_heads)
    if batch.architecture in _NORMED_HEADS:
        query = ops.scaled_norm(query)
    if batch.architecture not in _WITHOUT_POSITIONS:
        query = ops.like(query, batch.positions)
    if batch.architecture in _NORMED_HEADS:
        key = ops.scaled_norm(key)
    if batch.architecture not in _WITHOUT_POSITIONS:
        key = ops.like(key, batch.positions)
    if batch.architecture in _SCALED_QUERIES:
        query = ops.like(query)
    return ops.product(batch.width, _attend(batch, query, key, value, layer))


def projections(batch: Batch, operand: Tensor, kv: int) -> tuple[Tensor, Tensor, Tensor]:
    facts, count = batch.facts, batch.count
    heads, key, value = facts.head_count, facts.key_length, facts.value_length
    if batch.architecture in _FUSED:
        total = heads * key + kv * (key + value)
        joined = ops.product(total, operand)
        strides = 1, key, total, total * count
        return (
            ops.viewed(joined, (key, heads, count, 1), strides),
            ops.viewed(joined, (key, kv, count, 1), strides),
            ops.viewed(joined, (value, kv, count, 1), (1, value, total, total * count)),
        )
    return (
        ops.reshaped(ops.product(heads * key, operand), key, heads, count),
        ops.reshaped(ops.product(kv * key, operand), key, kv, count),
        ops.reshaped(ops.product(kv * value, operand), value, kv, count),
    )


def _attend(batch: Batch, query: Tensor, key: Tensor, value: Tensor, layer: Layer) -> Tensor:
    """`build_attn` with a cache: keys and values are stored, then read from there."""
    cache = batch.window if layer.slides else batch.full
    if cache.rotate_keys is not None:
        query, key = _rotated(query, cache.rotate_keys), _rotated(key, cache.rotate_keys)
    if cache.rotate_values is not None:
        value = _rotated(value, cache.rotate_values)
    windows = batch.window is not batch.full
    for one in (query, key, value) if windows else (query, value, key):
        batch.graph.expand(one)
    batch.graph.expand(ops.written(_flat(key), cache.places))
    if batch.settings.flash_attention:
        batch.graph.expand(ops.written(_flat(value), cache.value_places))
    else:
        one, two, three, _ = value.lengths
        flat = value if ops.is_contiguous(value) else ops.copied(value)
        flat = ops.reshaped(flat, one * two, three)
        flat = ops.reshaped(flat, 1, one * two * three)
        batch.graph.expand(ops.written(flat, cache.value_places))
    current = _mix(batch, query, cache, batch.facts.value_length)
    if cache.rotate_values is not None:
        current = _rotated(current, cache.rotate_values)
    return current


def _mix(
    batch: Batch, query: Tensor, cache: Cache, value: int, *, unfold: int = 0, read_turned: int = 0
) -> Tensor:
    """`build_attn_mha`; `unfold`: how wide values become that lie compressed; `read_turned`:
    elements of values that have to be turned over first."""
    heads, each = query.lengths[1], batch.count // batch.streams
    one, two, three, _ = query.strides
    split = ops.viewed(
        query, (query.lengths[0], heads, each, batch.streams), (one, two, three, three * each)
    )
    asked = ops.swapped(split)
    if batch.settings.flash_attention:
        current = ops.result(value, heads, each, batch.streams, asked, cache.mask)
        if unfold:
            current = ops.product(unfold, ops.swapped(current))
            current = ops.copied(ops.swapped(current))
        width, rows = current.lengths[0] * current.lengths[1], batch.count
        current = ops.reshaped(current, width, rows)
    else:
        scores = ops.result(cache.cells, each, heads, batch.streams, asked)
        if batch.architecture == "gemma2":
            scores = ops.like(scores)
        scores = ops.like(scores, cache.mask)
        read: tuple[Tensor, ...] = ()
        if read_turned:
            read = (ops.result_of(2, (cache.cells, value, 1, batch.streams)),)
        current = ops.result(value, each, heads, batch.streams, *read, scores)
        if unfold:
            current = ops.product(unfold, current)
        width = current.lengths[0] * heads
        current = ops.result(width, batch.count, 1, 1, ops.swapped(current))
    batch.graph.expand(current)
    return current


def _gated_attention(batch: Batch, operand: Tensor, layer: Layer) -> Tensor:
    facts, count = batch.facts, batch.count
    heads, key, kv = facts.head_count, facts.key_length, layer.kv_heads
    both = ops.reshaped(ops.product(2 * heads * key, operand), 2 * key, heads, count)
    strides = both.strides
    query = ops.viewed(both, (key, heads, count, 1), strides)
    gate = ops.viewed(both, (key, heads, count, 1), strides)
    keys = ops.reshaped(ops.product(kv * key, operand), key, kv, count)
    values = ops.reshaped(ops.product(kv * key, operand), key, kv, count)
    query = ops.like(ops.scaled_norm(query), batch.positions)
    keys = ops.like(ops.scaled_norm(keys), batch.positions)
    current = _attend(batch, query, keys, values, layer)
    opened = ops.like(ops.result(heads * key, count, 1, 1, gate))
    return ops.product(batch.width, ops.like(current, opened))


def _latent_attention(batch: Batch, operand: Tensor) -> Tensor:
    facts, count = batch.facts, batch.count
    heads, turning, rank = facts.head_count, facts.rope_length, facts.latent_length
    plain = max(facts.latent_head_length - turning, 0)
    if facts.latent_query_length:
        narrow = ops.scaled_norm(ops.product(facts.latent_query_length, operand))
        query = ops.product(heads * facts.latent_head_length, narrow)
    else:
        query = ops.product(heads * facts.latent_head_length, operand)
    query = ops.reshaped(query, facts.latent_head_length, heads, count)
    packed = ops.product(rank + turning, operand)
    row = packed.lengths[0]
    compressed = ops.viewed(packed, (rank, count, 1, 1), (1, row, row * count, row * count))
    position = ops.viewed(packed, (turning, 1, count, 1), (1, row, row, row * count))
    position = ops.like(position, batch.positions)
    compressed = ops.scaled_norm(compressed)
    unturned = ops.viewed(query, (plain, heads, count, 1), query.strides)
    turned = ops.like(ops.viewed(query, (turning, heads, count, 1), query.strides), batch.positions)
    absorbed = ops.swapped(ops.product(rank, ops.swapped(unturned)))
    asked = ops.result(rank + turning, heads, count, 1, absorbed, turned)
    compressed = ops.reshaped(compressed, rank, 1, count)
    key = ops.result(rank + turning, 1, count, 1, compressed, position)
    for one in (asked, compressed, key):
        batch.graph.expand(one)
    batch.graph.expand(ops.written(_flat(key), batch.full.places))
    value = facts.latent_value_length or plain
    current = _mix(batch, asked, batch.full, rank, unfold=value, read_turned=rank)
    return ops.product(batch.width, current)


def whole_attention(batch: Batch, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention over the batch itbatch."""
    heads, length = query.lengths[1], value.lengths[0]
    for one in (query, key, value):
        batch.graph.expand(one)
    asked = ops.swapped(ops.viewed(query, query.lengths, query.strides))
    keys = ops.swapped(key)
    if batch.settings.flash_attention:
        keys = ops.result_of(2, keys.lengths, keys)
        values = ops.swapped(value)
        values = ops.result_of(2, values.lengths, values)
        mixed = ops.result(length, heads, batch.count, 1, asked, keys, values, batch.full.mask)
        mixed = ops.reshaped(mixed, length * heads, batch.count)
    else:
        scores = ops.result(batch.count, batch.count, heads, 1, keys, asked)
        scores = ops.like(scores, batch.full.mask)
        values = ops.copied(ops.turned(ops.swapped(value)))
        mixed = ops.result(length, batch.count, heads, 1, values, scores)
        mixed = ops.result(length * heads, batch.count, 1, 1, ops.swapped(mixed))
    batch.graph.expand(mixed)
    return mixed


def _rotated(operand: Tensor, matrix: Tensor) -> Tensor:
    side = matrix.lengths[0]
    one, two, three, four = operand.lengths
    count = one * two * three * four // side
    if ops.is_contiguous(operand):
        flat = ops.reshaped(operand, side, count)
    else:
        flat = ops.result(side, count, 1, 1, operand)
    return ops.reshaped(ops.result(side, count, 1, 1, matrix, flat), *operand.lengths)


def _flat(operand: Tensor) -> Tensor:
    one, two, three, _ = operand.lengths
    row = operand.strides[2]
    return ops.viewed(operand, (one * two, three, 1, 1), (1, row, row * three, row * three))
