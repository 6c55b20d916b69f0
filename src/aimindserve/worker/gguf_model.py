"""Looking at a GGUF model on disk: one file or all parts of a split one, and what lies beside it.

Reads headers only; what they say is the business of `formats.gguf` and `formats.gguf_companions`. A
directory may hold many models: what belongs to none of this one is passed over.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import Companion, CompanionKind, ModelFacts
from aimindserve.formats import gguf
from aimindserve.formats.gguf_companions import companion

PROJECTOR = "mmproj"
SUFFIX = ".gguf"
ENTRIES_MAX = 10_000
COMPANIONS_MAX = 32
"""Files beside a model that are looked into, projectors first, then the smallest."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is now."""

    path: Path
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Files:
    """Every file that says something of the model, in order."""

    parts: tuple[File, ...]
    beside: tuple[File, ...]

    @property
    def signature(self) -> tuple[int, int]:
        """(what stands for the state of all files, bytes of the model): changes when any does."""
        return hash((self.parts, self.beside)), sum(part.size_bytes for part in self.parts)


def listing(path: str) -> Files:
    """The files of the model that `path` is a part of. Raises FormatError for a part that is not
    there, and OSError."""
    given = Path(path)
    parts = tuple(given.with_name(name) for name in gguf.part_names(given.name))
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FormatError(f"its part {missing[0]}{more} is not beside it")
    seen = tuple(_seen(part, part.stat()) for part in parts)
    return Files(seen, _beside(given, seen))


def facts(files: Files) -> ModelFacts:
    """What the headers say. Raises FormatError and OSError."""
    found = gguf.facts(_header([file.path for file in files.parts]))
    companions = [each for file in files.beside if (each := _companion(found, file))]
    sees = any(each.kind is CompanionKind.PROJECTOR for each in companions)
    return replace(found, companions=tuple(companions), vision=sees)


def _companion(found: ModelFacts, file: File) -> Companion | None:
    try:
        return companion(found, file.path.name, _header_of(file))
    except (FormatError, OSError):
        return None  # of another model, or not whole, or gone by now: the model itself is fine


def _beside(given: Path, parts: Sequence[File]) -> tuple[File, ...]:
    """Other files that may belong to the model; none for a file that is only ever beside one."""
    if given.name.startswith(PROJECTOR):
        return ()
    own = {part.path.name for part in parts}
    with os.scandir(given.parent) as entries:
        found = [
            _seen(given.parent / entry.name, entry.stat())
            for entry in islice(entries, ENTRIES_MAX)
            if entry.name.endswith(SUFFIX) and entry.name not in own and entry.is_file()
        ]
    # A part of another split model says too little by itself.
    whole = [file for file in found if gguf.part_names(file.path.name) == (file.path.name,)]
    whole.sort(key=lambda file: (PROJECTOR not in file.path.name, file.size_bytes, file.path.name))
    return tuple(sorted(whole[:COMPANIONS_MAX], key=lambda file: file.path.name))


def _seen(path: Path, status: os.stat_result) -> File:
    return File(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2 * COMPANIONS_MAX)
def _header_of(file: File) -> gguf.Header:
    """While one file of a directory is written, the others are not read again and again."""
    return _header((file.path,))


def _header(paths: Sequence[Path]) -> gguf.Header:
    with ExitStack() as opened:
        headers: list[gguf.Header] = []
        for path in paths:
            file = opened.enter_context(path.open("rb", buffering=0))
            size = os.fstat(file.fileno()).st_size
            try:
                headers.append(gguf.read_header(_reader(file), size))
            except FormatError as error:
                if len(paths) == 1:
                    raise
                raise FormatError(f"in {path.name}: {error.message}") from error
        return gguf.joined(headers)


def _reader(file: BinaryIO) -> gguf.Read:
    def read(offset: int, length: int) -> bytes:
        file.seek(offset)
        parts: list[bytes] = []
        while length > 0 and (part := file.read(length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    return read
