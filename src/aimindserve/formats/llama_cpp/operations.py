"""Operations of ggml as far as they take room, and what llama.cpp's models share: attention,
feed-forward layers, experts, recurrent states.

Each function says which result it makes of which operands, in the order in which llama.cpp adds
them to its graph. Read from `ggml/src/ggml.c`, `src/llama-graph.cpp`, `src/llama-kv-cache.cpp` and
`src/models/mamba-base.cpp`, `delta-net-base.cpp` of llama.cpp build 11434. Weights and caches lie
elsewhere and are left out.
"""

from dataclasses import dataclass

from aimindserve.formats.llama_cpp.allocator import ELSEWHERE, Graph, Shape, Tensor


@dataclass(frozen=True, slots=True)
class Experts:
    """How a layer chooses experts, and how large they are."""

    count: int
    used: int
    wide: int
    normalised: bool = True
    """Weights of those chosen add up to one."""
    biased_choice: bool = False
    """A bias decides who is chosen, not how much it weighs."""
    biased: bool = False
    """What experts compute has a bias."""
    weighs_chosen: bool = False
    """Scores become weights among those chosen only."""


def _strides(lengths: Shape) -> Shape:
    one, two, three, _ = lengths
    return 1, one, one * two, one * two * three


def result(one: int, two: int = 1, three: int = 1, four: int = 1, *operands: Tensor) -> Tensor:
    """Of 32-bit numbers, in room of its own."""
    lengths = one, two, three, four
    return Tensor(lengths, _strides(lengths), operands)


def result_of(element: int, lengths: Shape, *operands: Tensor) -> Tensor:
    """Of elements of another size, in room of its own."""
    return Tensor(lengths, _strides(lengths), operands, element=element)


def entry(*lengths: int, element: int = 4) -> Tensor:
    """What is given to the graph."""
    one, two, three, four = (*lengths, 1, 1, 1)[:4]
    shape = one, two, three, four
    given = Tensor(shape, _strides(shape), element=element)
    given.is_input = True
    return given


def like(*operands: Tensor) -> Tensor:
    """Element by element of the first operand; takes its place where nobody else reads it."""
    first = operands[0]
    return Tensor(
        first.lengths, _strides(first.lengths), operands, element=first.element, in_place=True
    )


def copied(operand: Tensor) -> Tensor:
    """`ggml_cont`, and whatever else has room of its own and the operand's shape."""
    return Tensor(operand.lengths, _strides(operand.lengths), (operand,), element=operand.element)


def viewed(operand: Tensor, lengths: Shape, strides: Shape) -> Tensor:
    """A part of the operand."""
    root = operand.root or operand
    return Tensor(lengths, strides, (operand,), element=operand.element, root=root)


def reshaped(operand: Tensor, one: int, two: int = 1, three: int = 1, four: int = 1) -> Tensor:
    """The same elements in rows of another length."""
    lengths = one, two, three, four
    return viewed(operand, lengths, _strides(lengths))


def swapped(operand: Tensor) -> Tensor:
    """`ggml_permute(0, 2, 1, 3)`."""
    one, two, three, four = operand.lengths
    first, second, third, fourth = operand.strides
    return viewed(operand, (one, three, two, four), (first, third, second, fourth))


def turned(operand: Tensor) -> Tensor:
    """`ggml_transpose`."""
    one, two, three, four = operand.lengths
    first, second, third, fourth = operand.strides
    return viewed(operand, (two, one, three, four), (second, first, third, fourth))


def product(width: int, operand: Tensor, *others: Tensor) -> Tensor:
    """Rows of the operand times a weight of `width` rows (`ggml_mul_mat`)."""
    _, two, three, four = operand.lengths
    return result(width, two, three, four, *others, operand)


def written(*operands: Tensor) -> Tensor:
    """Into a cache: takes no room, and ends what is read for it (`ggml_set_rows`, `ggml_cpy`)."""
    return Tensor((0, 0, 0, 0), (0, 0, 0, 0), operands, root=ELSEWHERE)


def rows(operand: Tensor, places: Tensor) -> Tensor:
    """`ggml_get_rows`."""
    return result(operand.lengths[0], places.lengths[0], 1, 1, operand, places)


def scaled_norm(operand: Tensor, *, plain: bool = False) -> Tensor:
    """A norm times its weight; `plain`: one that subtracts the mean has room of its own."""
    return like(copied(operand) if plain else like(operand))


def is_contiguous(operand: Tensor) -> bool:
    """Whether elements follow each other (`ggml_is_contiguous`)."""
    expected = 1
    for length, stride in zip(operand.lengths, operand.strides, strict=True):
        if length != 1 and stride != expected:
            return False
        expected *= length
    return True


def tokens_in(graph: Graph, width: int, count: int) -> Tensor:
    """The batch (`build_inp_embd`): what its tokens stand for, what is given as vectors, and a
    mixture of both, of which one is used. The others stay."""
    names = entry(count)
    vectors = entry(width, count)
    mixed_names, slots, mixed = entry(count), entry(count, element=8), entry(width, count)
    embedded = result(width, count, 1, 1, names)
    for one in (embedded, vectors):
        graph.expand(one)
    held = copied(mixed)
    embedded_too = result(width, count, 1, 1, mixed_names)
    graph.expand(_into(held, embedded_too, slots))
    return embedded


def tokens_given(graph: Graph, width: int, count: int) -> Tensor:
    """The same on a device: the embeddings lie on the host, and what it looked up there is given;
    the mixture is made here."""
    slots, mixed = entry(count, element=8), entry(width, count)
    held = copied(mixed)
    graph.expand(_into(held, entry(width, count), slots))
    return entry(width, count)


def _into(held: Tensor, *operands: Tensor) -> Tensor:
    """Rows that are written over what `held` has."""
    return Tensor(held.lengths, held.strides, (*operands, held), root=held)


def feed_forward(
    width: int, wide: int, operand: Tensor, *, gated: bool = True, joined: bool = False
) -> Tensor:
    """`build_ffn`; `joined`: gate and way up are one matrix."""
    if joined:
        both = product(2 * wide, operand)
        inner = result(wide, operand.lengths[1], 1, 1, both)
    elif gated:
        up, gate = product(wide, operand), product(wide, operand)
        inner = result(wide, operand.lengths[1], 1, 1, gate, up)
    else:
        inner = like(like(product(wide, operand)))
    return product(width, inner)


def experts(graph: Graph, sizes: "Experts", operand: Tensor) -> Tensor:
    """`build_moe_ffn`."""
    width, count = operand.lengths[0], operand.lengths[1]
    scores = product(sizes.count, operand)
    if not sizes.weighs_chosen:
        scores = like(scores)
    ranked = copied(like(scores) if sizes.biased_choice else scores)
    chosen = viewed(ranked, (sizes.used, count, 1, 1), ranked.strides)
    weights = result(1, sizes.used, count, 1, reshaped(scores, 1, sizes.count, count), chosen)
    if sizes.weighs_chosen:
        weights = like(reshaped(weights, sizes.used, count))
        weights = reshaped(weights, 1, sizes.used, count)
    if sizes.normalised:
        flat = reshaped(weights, sizes.used, count)
        total = like(result(1, count, 1, 1, flat))
        weights = reshaped(like(flat, total), 1, sizes.used, count)
    graph.expand(weights)
    spread = reshaped(operand, width, 1, count)
    up = result(sizes.wide, sizes.used, count, 1, spread, chosen)
    gate = result(sizes.wide, sizes.used, count, 1, spread, chosen)
    if sizes.biased:
        up, gate = like(up, chosen), like(gate, chosen)
    inner = result(sizes.wide, sizes.used, count, 1, gate, up)
    each = result(width, sizes.used, count, 1, inner, chosen)
    if sizes.biased:
        each = like(each, chosen)
    each = like(each, weights)
    graph.expand(each)
    strides = 1, width * sizes.used, width * sizes.used * count, width * sizes.used * count
    parts = [viewed(each, (width, count, 1, 1), strides) for _ in range(sizes.used)]
    for part in parts:
        graph.expand(part)
    total = parts[0]
    for part in parts[1:]:
        total = like(total, part)
        graph.expand(total)
    return copied(total) if sizes.used == 1 else total
