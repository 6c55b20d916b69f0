"""The room that ggml's allocator needs for a graph: what `ggml_gallocr` does, without the tensors.

It walks the nodes in the order in which they are computed. A result takes the place of an operand
that nobody reads any more where the operation allows it, else the smallest hole that is large
enough, else room at the end; what nobody reads any more becomes a hole. So the peak is no sum of
anything: it depends on which holes are there. Read from `ggml/src/ggml-alloc.c` of llama.cpp build
11434. Must not know models.

Operands that lie elsewhere (weights, caches) are never part of a graph here.
"""

from bisect import bisect_left
from collections.abc import Sequence

Shape = tuple[int, int, int, int]
ALIGNMENT = 32
"""`TENSOR_ALIGNMENT` of buffers in the host's memory; on devices 128 (CUDA) or 32 (Metal): what is
lost by it is a few kB."""


class Tensor:
    """A result, an input, or a view of one. Lengths and strides count elements."""

    __slots__ = (
        "allocated",
        "children",
        "element",
        "in_place",
        "is_input",
        "kept",
        "lengths",
        "offset",
        "operands",
        "room",
        "root",
        "strides",
        "views",
        "visited",
    )

    def __init__(
        self,
        lengths: Shape,
        strides: Shape,
        operands: "Sequence[Tensor]" = (),
        *,
        element: int = 4,
        in_place: bool = False,
        root: "Tensor | None" = None,
    ) -> None:
        self.lengths, self.strides, self.operands = lengths, strides, operands
        self.element, self.in_place, self.root = element, in_place, root
        self.is_input = self.kept = self.visited = self.allocated = False
        self.children = self.views = self.offset = 0
        one, two, three, four = lengths
        self.room = -(-one * two * three * four * element // ALIGNMENT) * ALIGNMENT


ELSEWHERE = Tensor((0, 0, 0, 0), (0, 0, 0, 0))
"""The root of views of what is not allocated here: writing into a cache."""


class Graph:
    """Nodes in the order of their computation.

    `given`: what goes into it is copied from elsewhere (`ggml_backend_sched_split_graph` in
    ggml-backend.cpp makes the copies, in the order in which nodes read them). Of several `copies`
    none makes room for anything else.
    """

    def __init__(self, *, given: bool = False, copies: int = 1) -> None:
        self._given = given
        self._copies = copies
        self._inputs: list[Tensor] = []
        self._nodes: list[Tensor] = []

    def __len__(self) -> int:
        """Inputs and nodes."""
        return len(self._inputs) + len(self._nodes)

    def expand(self, tensor: Tensor) -> None:
        """Compute `tensor` next, after whatever it needs (`ggml_build_forward_expand`)."""
        if tensor.visited:
            return
        tensor.visited = True
        for operand in tensor.operands:
            self.expand(operand)
        (self._inputs if tensor.is_input else self._nodes).append(tensor)

    def input_bytes(self) -> int:
        """The room of everything that is given to it."""
        return sum(each.room for each in self._inputs)

    def peak_bytes(self) -> int:
        """The size of the buffer. A graph can be asked once."""
        holes = _Holes()
        for tensor in self._read() if self._given else self._inputs:
            _place(tensor, holes)
            tensor.kept = self._copies > 1
            holes.take((self._copies - 1) * tensor.room)
        for node in self._nodes:
            if node.root is not None:
                node.root.views += 1
            for operand in node.operands:
                operand.children += 1
        for node in self._nodes:
            _place(node, holes)
            for operand in node.operands:
                operand.children -= 1
                if not operand.children and not operand.views:
                    _release(operand, holes)
        return holes.peak

    def _read(self) -> list[Tensor]:
        """The inputs that nodes read, in that order."""
        operands = (operand for node in self._nodes for operand in node.operands)
        return list({id(each): each for each in operands if each.is_input}.values())


def _place(node: Tensor, holes: "_Holes") -> None:
    if node.root is not None:
        return
    node.allocated = True
    if node.in_place:
        for operand in node.operands:
            if _takes_over(node, operand, holes):
                return
    node.offset = holes.take(node.room)


def _takes_over(node: Tensor, operand: Tensor, holes: "_Holes") -> bool:
    """Whether `node` lies where `operand` lay. Never where a view did: a view is not the
    allocator's own (`ggml_gallocr_is_own`)."""
    if not operand.allocated or operand.kept or operand.children != 1 or operand.views:
        return False
    if operand.lengths != node.lengths or operand.element != node.element:
        return False
    operand.allocated = False
    node.offset = operand.offset
    if operand.room > node.room:
        holes.give(operand.offset + node.room, operand.room - node.room)
    return True


def _release(operand: Tensor, holes: "_Holes") -> None:
    owner = operand
    if operand.root is not None:
        owner = operand.root
        owner.views -= 1
        if owner.views or owner.children:
            return
    if owner.allocated and not owner.kept:
        owner.allocated = False
        holes.give(owner.offset, owner.room)


class _Holes:
    """Free room by place; behind the last hole, which has no end, nothing is taken."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._sizes: list[int] = []
        self._end = 0
        self.peak = 0

    def take(self, size: int) -> int:
        """The place of `size` bytes: in the smallest hole that is large enough, the last of equals
        (`ggml_dyn_tallocr_alloc`)."""
        best, best_size = -1, 0
        for at, room in enumerate(self._sizes):
            if room >= size and (best < 0 or room <= best_size):
                best, best_size = at, room
        if best < 0:
            start = self._end
            self._end += size
            self.peak = max(self.peak, self._end)
            return start
        start = self._starts[best]
        if best_size == size:
            del self._starts[best], self._sizes[best]
        else:
            self._starts[best] += size
            self._sizes[best] -= size
        return start

    def give(self, start: int, size: int) -> None:
        """Make a hole, one with those beside it (`ggml_dyn_tallocr_free_bytes`)."""
        if not size:
            return
        starts, sizes = self._starts, self._sizes
        at = bisect_left(starts, start)
        if at and starts[at - 1] + sizes[at - 1] == start:
            at -= 1
            sizes[at] += size
        else:
            starts.insert(at, start)
            sizes.insert(at, size)
        end = starts[at] + sizes[at]
        if at + 1 < len(starts) and starts[at + 1] == end:
            sizes[at] += sizes[at + 1]
            del starts[at + 1], sizes[at + 1]
        elif at + 1 == len(starts) and end == self._end:
            self._end = starts[at]
            del starts[at], sizes[at]
