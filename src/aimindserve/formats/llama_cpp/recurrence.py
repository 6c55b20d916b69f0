"""Recurrent layers as llama.cpp computes them, as far as they take room.

Read from `build_rs` in `src/llama-graph.cpp`, `src/models/mamba-base.cpp`, `delta-net-base.cpp`
and `qwen3next.cpp`.
"""

from aimindserve.core.facts import ModelFacts
from aimindserve.formats.llama_cpp import operations as ops
from aimindserve.formats.llama_cpp.allocator import Tensor
from aimindserve.formats.llama_cpp.batch import DELTA_NETS, Batch, Layer
from aimindserve.formats.llama_cpp.settings import Settings, tokens


def recurrence(batch: Batch, operand: Tensor, _: Layer) -> Tensor:
    """A recurrent layer of the kind that the model has."""
    if not _divides(batch.facts):
        return _unlike(batch, operand)
    if batch.architecture in DELTA_NETS:
        return _delta_net(batch, operand)
    return (_second_scan if batch.facts.recurrent_group_count else _first_scan)(batch, operand)


def scan(batch: Batch, operand: Tensor) -> Tensor:
    """A state-space layer beside one that attends."""
    return (_second_scan if _divides(batch.facts) else _unlike)(batch, operand)


def crossing(facts: ModelFacts, settings: Settings) -> tuple[int, int]:
    """Bytes that a recurrent layer sends to the device of the next one, and gets back: states of
    the next layer are looked up in the midst of it, and what has no weights follows them there.
    Not where states are looked up first (`_delta_net`), nor where each layer attends as well."""
    both = DELTA_NETS | {"falcon-h1"}
    if not facts.recurrent_layer_count or facts.architecture in both:
        return 0, 0
    inner, groups = facts.recurrent_inner_length, facts.recurrent_group_count
    row = 2 * inner + 2 * groups * facts.recurrent_state_length
    row += facts.recurrent_rank if groups else 0
    count = 4 * tokens(facts, settings)
    return row * count, inner * count


def _divides(facts: ModelFacts) -> bool:
    """Whether all sizes are known, and are such as llama.cpp takes."""
    inner, heads = facts.recurrent_inner_length, facts.recurrent_rank
    groups = facts.recurrent_group_count
    if not (inner and facts.recurrent_state_length and facts.recurrent_kernel and heads):
        return False
    return not groups or not (inner % heads or inner % groups or heads % groups)


def _stored(batch: Batch, width: int) -> Tensor:
    """States of the batch's sequences, copied out of the cache (`build_rs`)."""
    gathered = ops.result(width, batch.slots, 1, 1, batch.states)
    wanted = ops.viewed(gathered, (width, batch.slots, 1, 1), gathered.strides)
    batch.graph.expand(wanted)
    rest = ops.viewed(gathered, (width, 0, 1, 1), gathered.strides)
    batch.graph.expand(ops.written(rest))
    return wanted


def _scanned(batch: Batch, inner: int, state: int, *operands: Tensor) -> Tensor:
    """The scan itself, which reads its states in the cache; those of other sequences are
    copied."""
    main, tail = batch.states_apart()
    gathered = ops.result(state * inner, batch.slots - 1, 1, 1, tail)
    size = inner * batch.count + state * inner * batch.slots
    scanned = ops.result(size, 1, 1, 1, *operands, main)
    batch.graph.expand(scanned)
    rest = ops.viewed(gathered, (state * inner, 0, 1, 1), gathered.strides)
    batch.graph.expand(ops.written(rest))
    return scanned


def _convolved(batch: Batch, kept: Tensor, part: Tensor, wide: int) -> Tensor:
    each, kernel = batch.each, batch.facts.recurrent_kernel
    joined = ops.result(kernel - 1 + each, wide, batch.slots, 1, kept, ops.turned(part))
    last = ops.viewed(joined, (kernel - 1, wide, batch.slots, 1), joined.strides)
    batch.graph.expand(ops.written(last))
    return ops.result(wide, each, batch.slots, 1, joined)


def _first_scan(batch: Batch, operand: Tensor) -> Tensor:
    """Mamba's first (`build_mamba_layer`)."""
    facts, slots, each = batch.facts, batch.slots, batch.each
    inner, state = facts.recurrent_inner_length, facts.recurrent_state_length
    rank, kernel = facts.recurrent_rank, facts.recurrent_kernel
    kept = ops.reshaped(_stored(batch, (kernel - 1) * inner), kernel - 1, inner, slots)
    operand = ops.reshaped(operand, batch.width, each, slots)
    both = ops.product(2 * inner, operand)
    part = ops.viewed(both, (inner, each, slots, 1), both.strides)
    gate = ops.viewed(both, (inner, each, slots, 1), both.strides)
    current = ops.like(ops.like(_convolved(batch, kept, part, inner)))
    small = ops.product(rank + 2 * state, current)
    step = ops.viewed(small, (rank, each, slots, 1), small.strides)
    wide = (small.strides[1], small.strides[2])
    ways = [ops.viewed(small, (state, 1, each, slots), (1, state, *wide)) for _ in range(2)]
    if batch.architecture == "jamba":
        step, *ways = (ops.scaled_norm(one) for one in (step, *ways))
    else:
        step = ops.copied(step)
    step = ops.like(ops.product(inner, step))
    flat = ops.reshaped(current, 1, inner, each, slots)
    scanned = _scanned(batch, inner, state, flat, step, *ways)
    stored = ops.viewed(scanned, (state * inner * slots, 1, 1, 1), scanned.strides)
    batch.graph.expand(ops.written(stored))
    shown = ops.viewed(
        scanned, (inner, each, slots, 1), (1, inner, inner * each, inner * each * slots)
    )
    shown = ops.like(shown, ops.like(current))
    opened = ops.result(inner, each, slots, 1, ops.copied(gate), shown)
    return ops.reshaped(ops.product(batch.width, opened), batch.width, batch.count)


def _second_scan(batch: Batch, operand: Tensor) -> Tensor:
    """Mamba 2's (`build_mamba2_layer`)."""
    facts, slots, each = batch.facts, batch.slots, batch.each
    inner, state = facts.recurrent_inner_length, facts.recurrent_state_length
    heads, groups = facts.recurrent_rank, facts.recurrent_group_count
    wide, kernel = inner + 2 * groups * state, facts.recurrent_kernel
    length = inner // heads
    kept = ops.reshaped(_stored(batch, (kernel - 1) * wide), kernel - 1, wide, slots)
    row = inner + wide + heads
    whole = ops.reshaped(ops.product(row, operand), row, each, slots)
    strides = 1, length, row, row * each
    gate = ops.viewed(whole, (length, heads, each, slots), strides)
    part = ops.viewed(whole, (wide, each, slots, 1), whole.strides)
    step = ops.viewed(whole, (heads, each, slots, 1), whole.strides)
    current = ops.like(ops.like(_convolved(batch, kept, part, wide)))
    strides = 1, length, wide, wide * each
    values = ops.viewed(current, (length, heads, each, slots), strides)
    ways = [
        ops.viewed(current, (state, groups, each, slots), (1, state, wide, wide * each))
        for _ in range(2)
    ]
    step = ops.like(ops.copied(step))
    scanned = _scanned(batch, inner, state, values, step, *ways)
    stored = ops.viewed(scanned, (state * inner, slots, 1, 1), scanned.strides)
    batch.graph.expand(ops.written(stored))
    shown = ops.viewed(scanned, (length, heads, each, slots), (1, length, inner, inner * each))
    shown = ops.like(shown, ops.like(values))
    opened = ops.result(length, heads, each, slots, ops.copied(gate), shown)
    if batch.architecture != "falcon-h1":
        opened = ops.scaled_norm(ops.reshaped(opened, inner // groups, groups, each, slots))
    opened = ops.reshaped(opened, inner, batch.count)
    return ops.product(batch.width, opened)


def _delta_net(batch: Batch, operand: Tensor) -> Tensor:
    """A gated delta net (`build_layer_attn_linear` in qwen3next.cpp)."""
    facts, slots, each = batch.facts, batch.slots, batch.each
    inner, length = facts.recurrent_inner_length, facts.recurrent_state_length
    heads, groups = facts.recurrent_rank, facts.recurrent_group_count
    wide, kernel = inner + 2 * groups * length, facts.recurrent_kernel
    head = inner // heads
    mixed = ops.reshaped(ops.product(wide, operand), wide, each, slots)
    gate = ops.product(inner, operand)
    pair = ops.product(2 * heads, operand)
    share = heads // groups
    pair = ops.reshaped(pair, 2 * share, groups, each, slots)
    first = ops.viewed(pair, (share, groups, each, slots), pair.strides)
    second = ops.viewed(pair, (share, groups, each, slots), pair.strides)
    strength = ops.like(ops.copied(first))
    forget = ops.like(ops.like(ops.like(ops.result(heads, each, slots, 1, second))))
    strength = ops.reshaped(strength, 1, heads, each, slots)
    forget = ops.reshaped(forget, 1, heads, each, slots)
    kept = ops.reshaped(_stored(batch, (kernel - 1) * wide), kernel - 1, wide, slots)
    joined = ops.result(kernel - 1 + each, wide, slots, 1, kept, ops.turned(mixed))
    last = ops.viewed(joined, (kernel - 1, wide, slots, 1), joined.strides)
    batch.graph.expand(ops.written(last))
    state = ops.reshaped(_stored(batch, head * head * heads), head, head, heads, slots)
    current = ops.like(ops.result(wide, each, slots, 1, joined))
    strides = 1, length, wide, wide * each
    query, key = (
        ops.copied(ops.viewed(current, (length, groups, each, slots), strides)) for _ in range(2)
    )
    value = ops.viewed(current, (head, heads, each, slots), (1, head, wide, wide * each))
    if groups != heads:
        query, key = (
            ops.reshaped(
                ops.result(
                    *(length, share, groups, batch.count),
                    ops.reshaped(one, length, 1, groups, batch.count),
                ),
                *(length, heads, each, slots),
            )
            for one in (query, key)
        )
    made = ops.result(
        inner, batch.count + head * slots, 1, 1, query, key, value, forget, strength, state
    )
    shown = ops.viewed(made, (head, heads, each, slots), (1, head, inner, inner * each))
    stored = ops.viewed(made, (head, head, heads, slots), (1, head, head * head, head * inner))
    batch.graph.expand(ops.written(stored))
    gate = ops.reshaped(gate, head, heads, each, slots)
    shown = ops.like(ops.scaled_norm(shown), ops.like(gate))
    shown = ops.reshaped(shown, inner, each, slots)
    return ops.reshaped(ops.product(batch.width, shown), batch.width, batch.count)


def _unlike(batch: Batch, operand: Tensor) -> Tensor:
    """RWKV, Kimi's delta attention, short convolutions: not compared with the engine. What they
    compute with and the states that they read and write."""
    facts = batch.facts
    layers = max(facts.recurrent_layer_count, 1)
    kept = _stored(batch, facts.recurrent_conv_elements // layers)
    state = _stored(batch, facts.recurrent_state_elements // layers)
    inner = ops.product(facts.recurrent_width, operand)
    size = facts.recurrent_state_elements // layers * batch.slots
    made = ops.result(size + batch.width * batch.count, 1, 1, 1, inner, kept, state)
    shown = ops.viewed(made, (batch.width, batch.count, 1, 1), operand.strides)
    return ops.product(batch.width, shown)
