"""Reading the header of a GGUF file, from bytes somebody hands over, without trusting any of them.

Layout (llama.cpp, `ggml/include/gguf.h`): magic `GGUF`, version, tensor count, metadata count, the
metadata pairs, the tensor infos, padding, tensor data. Every count, length and offset in it was
written by a stranger: each is checked against the file's size before it is used, and anything wrong
is a FormatError that says what is wrong in numbers. Must not open files: the caller reads.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aimindserve.core.errors import FormatError
from aimindserve.formats.ggml_types import TYPES

Read = Callable[[int, int], bytes]
"""(offset, length) -> the bytes there; fewer only at the end of the file."""

HEADER_BYTES_MAX = 64 * 1024**2
PAIRS_MAX = 65_536
TENSORS_MAX = 65_536
ELEMENTS_MAX = 4_000_000
"""Of all arrays together: reading one string's length takes about 0.2 microseconds."""
KEPT_ELEMENTS_MAX = 4_096
KEY_BYTES_MAX = 65_535
NAME_BYTES_MAX = 255
DIMENSIONS_MAX = 4
CHUNK_BYTES = 256 * 1024
DEFAULT_ALIGNMENT = 32
_TENSOR_ELEMENTS_MAX = 2**63 - 1

_SCALARS: Mapping[int, struct.Struct] = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING = 8
_ARRAY = 9
_U32 = _SCALARS[4]
_U64 = _SCALARS[10]


@dataclass(frozen=True, slots=True)
class Skipped:
    """An array that is too long to keep (a vocabulary): only its length is known."""

    count: int


Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...] | Skipped


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: `offset` counts from the start of the data, sizes are bytes."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int
    size_bytes: int
    elements: int


@dataclass(frozen=True, slots=True)
class Header:
    """All of a GGUF file but its tensor data."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    data_offset: int
    file_bytes: int


def read_header(read: Read, file_bytes: int) -> Header:
    """The header of the GGUF file that `read` gives access to and that has `file_bytes` bytes.

    Raises FormatError, and nothing else, for a file that is damaged, cut short, or no GGUF.
    """
    cursor = _Cursor(read, file_bytes)
    version = _version(cursor)
    tensor_count = _limited(cursor.u64(), TENSORS_MAX, "tensors")
    pair_count = _limited(cursor.u64(), PAIRS_MAX, "metadata entries")
    metadata = _metadata(cursor, pair_count)
    tensors = tuple(_tensor(cursor) for _ in range(tensor_count))
    alignment = _alignment(metadata)
    data_offset = -(-cursor.position // alignment) * alignment
    _check_tensors(tensors, data_offset, alignment, file_bytes)
    return Header(version, metadata, tensors, data_offset, file_bytes)


class _Cursor:
    """Walks through the header, fetching the file in growing chunks."""

    def __init__(self, read: Read, file_bytes: int) -> None:
        self._read = read
        self._file_bytes = file_bytes
        self._buffer = bytearray()
        self.position = 0
        self.elements_left = ELEMENTS_MAX

    def need(self, count: int) -> None:
        """Make sure that `count` bytes from here on are in the buffer."""
        end = self.position + count
        if end <= len(self._buffer):
            return
        if end > self._file_bytes:
            raise FormatError(
                f"it is cut short: its header needs byte {end}, but the file has "
                f"{self._file_bytes} bytes"
            )
        if end > HEADER_BYTES_MAX:
            raise FormatError(f"its header is larger than {HEADER_BYTES_MAX} bytes")
        start = len(self._buffer)
        wanted = max(end - start, CHUNK_BYTES, start)
        wanted = min(wanted, self._file_bytes - start, HEADER_BYTES_MAX - start)
        chunk = self._read(start, wanted)
        self._buffer += chunk[:wanted]
        if len(self._buffer) < end:
            raise FormatError(
                f"it is cut short: {wanted} bytes at {start} were asked for, {len(chunk)} came"
            )

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.need(count)
        start = self.position
        self.position = start + count
        return bytes(self._buffer[start : self.position])

    def scalar(self, form: struct.Struct) -> Scalar:
        """The next number."""
        self.need(form.size)
        (value,) = form.unpack_from(self._buffer, self.position)
        self.position += form.size
        return value

    def u32(self) -> int:
        """The next unsigned 32-bit number."""
        return int(self.scalar(_U32))

    def u64(self) -> int:
        """The next unsigned 64-bit number."""
        return int(self.scalar(_U64))

    def text(self, limit: int, what: str) -> str:
        """The next string; replaces what is not UTF-8, as real vocabularies have such."""
        length = self.u64()
        if length > limit:
            raise FormatError(f"{what} is {length} bytes long; {limit} is the most allowed")
        return self.take(length).decode("utf-8", "replace")

    def skip(self, count: int) -> None:
        """Pass over `count` bytes."""
        self.need(count)
        self.position += count

    def skip_strings(self, count: int) -> None:
        """Pass over `count` strings."""
        unpack = _U64.unpack_from
        buffer = self._buffer
        position = self.position
        for _ in range(count):
            end = position + 8
            if end > len(buffer):
                self.position = position
                self.need(8)
            length = unpack(buffer, position)[0]
            position = end + length
            if position > self._file_bytes:
                self.position = end
                self.need(length)
        self.position = position


def _version(cursor: _Cursor) -> int:
    if cursor.take(4) != b"GGUF":
        cursor.position = 0
        raise FormatError(
            f"it is not a GGUF file: it begins with {cursor.take(4).hex(' ')} instead of "
            "47 47 55 46 (GGUF)"
        )
    version = cursor.u32()
    if version & 0xFFFF == 0:
        raise FormatError("it is a big-endian GGUF file; only little-endian ones can be read")
    if version == 1:
        raise FormatError("it is GGUF version 1, which no engine reads any more; convert it again")
    if version not in (2, 3):
        raise FormatError(f"it is GGUF version {version}; versions 2 and 3 can be read")
    return version


def _limited(count: int, limit: int, what: str) -> int:
    if count > limit:
        raise FormatError(f"it claims to have {count} {what}; {limit} is the most allowed")
    return count


def _metadata(cursor: _Cursor, count: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(count):
        key = cursor.text(KEY_BYTES_MAX, "a metadata key")
        if key in metadata:
            raise FormatError(f"its metadata has the key {key[:80]!r} twice")
        metadata[key] = _value(cursor, key)
    return metadata


def _value(cursor: _Cursor, key: str) -> Value:
    kind = cursor.u32()
    form = _SCALARS.get(kind)
    if form is not None:
        return cursor.scalar(form)
    if kind == _STRING:
        return cursor.text(HEADER_BYTES_MAX, f"the value of {key[:80]!r}")
    if kind == _ARRAY:
        return _array(cursor, key)
    raise FormatError(f"the value of {key[:80]!r} has type {kind}, which does not exist")


def _array(cursor: _Cursor, key: str) -> Value:
    kind = cursor.u32()
    count = cursor.u64()
    form = _SCALARS.get(kind)
    if form is None and kind != _STRING:
        raise FormatError(f"the array {key[:80]!r} has elements of type {kind}")
    if count > cursor.elements_left:
        raise FormatError(
            f"the array {key[:80]!r} claims {count} elements; all arrays together may have "
            f"{ELEMENTS_MAX}"
        )
    cursor.elements_left -= count
    if form is None:
        cursor.skip_strings(count)
        return Skipped(count)
    if count > KEPT_ELEMENTS_MAX:
        cursor.skip(count * form.size)
        return Skipped(count)
    return struct.unpack(f"<{count}{form.format[1:]}", cursor.take(count * form.size))


def _tensor(cursor: _Cursor) -> Tensor:
    name = cursor.text(NAME_BYTES_MAX, "a tensor's name")
    dimensions = cursor.u32()
    if dimensions > DIMENSIONS_MAX:
        raise FormatError(f"tensor {name!r} has {dimensions} dimensions; 4 is the most allowed")
    shape = tuple(cursor.u64() for _ in range(dimensions))
    type_id = cursor.u32()
    offset = cursor.u64()
    kind = TYPES.get(type_id)
    if kind is None:
        raise FormatError(f"tensor {name!r} is of type {type_id}, which is unknown")
    elements = 1
    for length in shape:
        elements *= length
        if elements > _TENSOR_ELEMENTS_MAX:
            raise FormatError(f"tensor {name!r} of shape {shape} is larger than any file")
    row = shape[0] if shape else 1
    if row % kind.block:
        raise FormatError(
            f"tensor {name!r} has rows of {row} elements, but {kind.name} stores {kind.block} "
            "together"
        )
    return Tensor(name, shape, type_id, offset, kind.row_bytes(elements), elements)


def _alignment(metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if (
        not isinstance(alignment, int)
        or isinstance(alignment, bool)
        or not 1 <= alignment <= CHUNK_BYTES
        or alignment & (alignment - 1)
    ):
        raise FormatError(f"its alignment is {alignment!r}; it must be a power of two")
    return alignment


def _check_tensors(
    tensors: tuple[Tensor, ...], data_offset: int, alignment: int, file_bytes: int
) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise FormatError(f"it has two tensors called {tensor.name!r}")
        seen.add(tensor.name)
        if tensor.offset % alignment:
            raise FormatError(
                f"tensor {tensor.name!r} begins at {tensor.offset}, which is not aligned to "
                f"{alignment} bytes"
            )
    needed = max((data_offset + t.offset + t.size_bytes for t in tensors), default=0)
    if needed > file_bytes:
        raise FormatError(
            f"it is cut short: its tensors need {needed} bytes, but the file has {file_bytes}"
        )
