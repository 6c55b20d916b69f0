"""Reading safetensors: the header of one file and the index over several, from bytes handed over.

Layout (the format's README, github.com/huggingface/safetensors): 8 bytes of header length,
little-endian; a JSON object `name -> {dtype, shape, data_offsets}` with an optional
`__metadata__` of texts, padded with spaces; then the data, which the offsets cover without a gap.
Nothing in it is trusted: every length is held against the file's size before it is used. Must not
open files, and never touches the data.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from aimindserve.core.errors import FormatError
from aimindserve.formats.gguf_header import Read
from aimindserve.formats.json_text import as_whole, parse_object

HEADER_BYTES_MAX = 32 * 1024**2
"""The largest known headers (thousands of experts in a file) are below 2 MiB; the format allows
100 MB."""
INDEX_BYTES_MAX = 64 * 1024**2
"""DeepSeek V3's index of 91,991 tensors has 9 MB."""
TENSORS_MAX = 1_000_000
DIMENSIONS_MAX = 16
NAME_CHARACTERS_MAX = 1024
FIRST_BYTES = 64 * 1024
"""Fetched at once, so that most headers take one read."""
_ELEMENTS_MAX = 2**63 - 1

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "I4": 4,
    "U4": 4,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}
"""Bits of one element (`Dtype::bitsize` in safetensors/src/tensor.rs, and the packed integers that
some writers add)."""

_SHARD = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,250}\.safetensors\Z")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor; `offset` counts from the start of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int
    elements: int


@dataclass(frozen=True, slots=True)
class Header:
    """All of a safetensors file but its data."""

    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str]
    data_offset: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Index:
    """Which file holds which tensor."""

    files: Mapping[str, str]
    """Tensor name -> plain file name."""
    total_bytes: int
    """As the writer counted; published ones are now and then wrong. Zero when not told."""

    @property
    def shards(self) -> tuple[str, ...]:
        """The files, sorted."""
        return tuple(sorted(set(self.files.values())))


def read_header(read: Read, file_bytes: int) -> Header:
    """The header of the safetensors file that `read` gives access to.

    Raises FormatError, and nothing else, for a file that is damaged, cut short, or something else.
    """
    if file_bytes < 8:
        raise FormatError(f"it is no safetensors file: it has {file_bytes} bytes")
    first = read(0, min(FIRST_BYTES, file_bytes))
    if len(first) < 8:
        raise FormatError(f"it is cut short: 8 bytes were asked for, {len(first)} came")
    length = int.from_bytes(first[:8], "little")
    if length > HEADER_BYTES_MAX:
        raise FormatError(
            f"it is no safetensors file, or a damaged one: its header would have {length} bytes"
        )
    end = 8 + length
    if end > file_bytes:
        raise FormatError(
            f"it is cut short: its header ends at byte {end}, but the file has {file_bytes} bytes"
        )
    data = first[8:end]
    if len(data) < length:
        more = read(8 + len(data), length - len(data))
        data = data + more[: length - len(data)]
    if len(data) < length:
        raise FormatError(f"it is cut short: {length} bytes of header were asked for, not all came")
    if not data.startswith(b"{"):
        raise FormatError("it is no safetensors file: its header does not begin with {")
    return _header(parse_object(data, "its header", constants=False), end, file_bytes)


def _header(values: dict[str, Any], data_offset: int, file_bytes: int) -> Header:
    metadata = _metadata(values.pop("__metadata__", None))
    if len(values) > TENSORS_MAX:
        raise FormatError(f"it claims to have {len(values)} tensors; {TENSORS_MAX} is the most")
    tensors = sorted(
        (_tensor(name, value) for name, value in values.items()),
        key=lambda tensor: (tensor.offset, tensor.size_bytes),
    )
    at = 0
    for tensor in tensors:
        if tensor.offset != at:
            raise FormatError(
                f"tensor {tensor.name[:80]!r} begins at {tensor.offset}, but the one before it "
                f"ends at {at}"
            )
        at += tensor.size_bytes
    if data_offset + at != file_bytes:
        state = "is cut short" if data_offset + at > file_bytes else "is longer than it says"
        raise FormatError(
            f"it {state}: header and tensors make {data_offset + at} bytes, but the file has "
            f"{file_bytes}"
        )
    return Header(tuple(tensors), metadata, data_offset, file_bytes)


def _metadata(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FormatError("its __metadata__ should be an object of texts")
    pairs = cast("dict[str, object]", value)
    return {key[:200]: text[:200] for key, text in pairs.items() if isinstance(text, str)}


def _tensor(name: str, value: object) -> Tensor:
    if len(name) > NAME_CHARACTERS_MAX:
        raise FormatError(f"a tensor's name has {len(name)} characters")
    shown = repr(name[:80])
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    dtype = fields.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise FormatError(f"tensor {shown} is of type {str(dtype)[:40]!r}, which is unknown")
    shape = _numbers(fields.get("shape"), f"the shape of tensor {shown}", DIMENSIONS_MAX)
    offsets = _numbers(fields.get("data_offsets"), f"data_offsets of tensor {shown}", 2)
    if len(offsets) != 2 or offsets[1] < offsets[0]:
        raise FormatError(f"data_offsets of tensor {shown} are no beginning and end")
    elements = 1
    for length in shape:
        elements *= length
        if elements > _ELEMENTS_MAX:
            raise FormatError(f"tensor {shown} is larger than any file")
    bits = elements * DTYPE_BITS[dtype]
    size = offsets[1] - offsets[0]
    if bits != size * 8:
        raise FormatError(
            f"tensor {shown} takes {size} bytes, but its shape and type need {-(-bits // 8)}"
        )
    return Tensor(name, dtype, shape, offsets[0], size, elements)


def _numbers(value: object, what: str, limit: int) -> tuple[int, ...]:
    entries = cast("list[object]", value) if isinstance(value, list) else None
    if entries is None or len(entries) > limit:
        raise FormatError(f"{what} should be a list of at most {limit} whole numbers")
    made: list[int] = []
    for entry in entries:
        whole = None if isinstance(entry, float) else as_whole(entry)
        if whole is None or not 0 <= whole <= _ELEMENTS_MAX:
            raise FormatError(f"{what} should hold whole numbers from 0 on")
        made.append(whole)
    return tuple(made)


def read_index(data: bytes, what: str = "model.safetensors.index.json") -> Index:
    """The index in `data`. Raises FormatError only, also for file names that lead elsewhere."""
    if len(data) > INDEX_BYTES_MAX:
        raise FormatError(f"{what} has {len(data)} bytes; {INDEX_BYTES_MAX} is the most")
    values = parse_object(data, what)
    files = values.get("weight_map")
    if not isinstance(files, dict) or not files:
        raise FormatError(f"{what} names no tensors")
    mapping = cast("dict[str, object]", files)
    if len(mapping) > TENSORS_MAX:
        raise FormatError(f"{what} names {len(mapping)} tensors; {TENSORS_MAX} is the most")
    for name, file in mapping.items():
        if not isinstance(file, str) or not _SHARD.match(file):
            raise FormatError(f"{what} puts tensor {name[:80]!r} into {str(file)[:80]!r}")
    metadata = values.get("metadata")
    told = cast("dict[str, object]", metadata) if isinstance(metadata, dict) else {}
    total = as_whole(told.get("total_size"))
    return Index(
        cast("dict[str, str]", mapping), total if total is not None and 0 < total < 2**60 else 0
    )
