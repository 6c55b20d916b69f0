"""The files of a model directory, as they are handed over: which of them are its weights, and the
small ones parsed with limits.

A file may be readable or known by size alone (a listing of a hub). Names are looked up, never
joined to paths: nothing in a file can lead to another file than one that was offered.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aimindserve.core.errors import FormatError
from aimindserve.formats.gguf_header import Read
from aimindserve.formats.json_text import Keys, parse_object, parse_objects
from aimindserve.formats.safetensors import (
    INDEX_BYTES_MAX,
    Tensor,
    read_header,
    read_index,
)

JSON_BYTES_MAX = 16 * 1024**2
"""Tokenizer configurations that list every token reach 1 MiB."""
TEMPLATE_BYTES_MAX = 2 * 1024**2
SHARDS_MAX = 2_048
INDEX = "model.safetensors.index.json"

_STATE = re.compile(r"^(training_args|optimizer|scheduler|rng_state|adapter_model)")
_PICKLED = re.compile(r"^[^/]*\.(bin|pt|pth)\Z")


@dataclass(frozen=True, slots=True)
class FileAccess:
    """One file of a model."""

    size_bytes: int
    read: Read | None = None
    """None: only the size is known."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What holds a model's weights."""

    format: str
    files: tuple[str, ...]
    size_bytes: int
    """Of the files."""
    tensors: tuple[Tensor, ...] | None
    """None: not listed, only sizes are known."""


class Directory:
    """Access to the files by name."""

    def __init__(self, files: Mapping[str, FileAccess]) -> None:
        self.files = files

    def text(self, name: str, limit: int = TEMPLATE_BYTES_MAX) -> bytes | None:
        """All of a file; None when it is not there or cannot be read."""
        file = self.files.get(name)
        if file is None or file.read is None:
            return None
        if file.size_bytes > limit:
            raise FormatError(f"{name} has {file.size_bytes} bytes; {limit} is the most allowed")
        data = file.read(0, file.size_bytes)
        if len(data) != file.size_bytes:
            raise FormatError(f"{name} is cut short: it has {len(data)} of {file.size_bytes} bytes")
        return data

    def keys(self, name: str) -> Keys | None:
        """A file that holds a JSON object."""
        data = self.text(name, JSON_BYTES_MAX)
        return None if data is None else Keys(parse_object(data, name), name)

    def objects(self, name: str) -> Sequence[dict[str, Any]]:
        """A file that holds a list of JSON objects; empty when it is not there."""
        data = self.text(name, JSON_BYTES_MAX)
        return () if data is None else parse_objects(data, name)

    def weights(self) -> Weights:
        """The files that an engine would load. Raises FormatError when there are none, or some of
        them are missing."""
        index = self.text(INDEX, INDEX_BYTES_MAX)
        if index is not None:
            return self._indexed(index)
        names = self._top(r"^[^/]*\.safetensors\Z")
        names = [name for name in names if not name.startswith("consolidated")] or names
        if names:
            return self._listed(names)
        pickled = [name for name in self._top(_PICKLED.pattern) if not _STATE.match(name)]
        if not pickled:
            raise FormatError("there are no weights beside its config.json")
        return Weights("pytorch", tuple(pickled), self._size(pickled), None)

    def _top(self, pattern: str) -> list[str]:
        found = re.compile(pattern)
        return sorted(n for n in self.files if found.match(n) and not _STATE.match(n))

    def _size(self, names: Sequence[str]) -> int:
        return sum(self.files[name].size_bytes for name in names)

    def _indexed(self, data: bytes) -> Weights:
        index = read_index(data)
        missing = [name for name in index.shards if name not in self.files]
        if missing:
            raise FormatError(
                f"{len(missing)} of {len(index.shards)} files that its index names are missing, "
                f"{missing[0]} is the first"
            )
        found = self._listed(index.shards)
        if found.tensors is None:
            return found
        there = {tensor.name for tensor in found.tensors}
        absent = next((name for name in index.files if name not in there), None)
        if absent is not None:
            raise FormatError(
                f"its index promises tensor {absent[:80]!r} in {index.files[absent]}, which has "
                "no such tensor"
            )
        return found

    def _listed(self, names: Sequence[str]) -> Weights:
        if len(names) > SHARDS_MAX:
            raise FormatError(f"it has {len(names)} weight files; {SHARDS_MAX} is the most allowed")
        size = self._size(names)
        tensors: dict[str, Tensor] = {}
        for name in names:
            file = self.files[name]
            if file.read is None:
                return Weights("safetensors", tuple(names), size, None)
            try:
                header = read_header(file.read, file.size_bytes)
            except FormatError as error:
                raise FormatError(f"{name}: {error.message}") from error
            # A tensor in two files is loaded twice, into the same place.
            tensors.update((tensor.name, tensor) for tensor in header.tensors)
        return Weights("safetensors", tuple(names), size, tuple(tensors.values()))
