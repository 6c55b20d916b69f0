"""Reading what a model directory on this machine's disk is: a listing and small reads, no loading.

The reader in `formats` is given names and ways to read them; which file a name leads to was decided
by the source, with links resolved. A file is open only for as long as one read of it takes.
"""

import os
import stat
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path

from aimindserve.core.facts import ModelFacts
from aimindserve.formats import hugging_face
from aimindserve.sources.local import Part, parts

_SNAPSHOTS = "snapshots"


def listing(path: str) -> Mapping[str, Part]:
    """The files of a model directory by name. Raises ForbiddenError and OSError."""
    return parts(Path(path))


def signature(files: Mapping[str, Part]) -> tuple[int, int]:
    """Two numbers that change when any of the files does: a digest, and bytes in all."""
    digest = blake2b(digest_size=8)
    for name, part in sorted(files.items()):
        digest.update(os.fsencode(f"{name}\0{part.path}\0{part.size_bytes}\0{part.modified_ns}\n"))
    return int.from_bytes(digest.digest(), "big"), sum(part.size_bytes for part in files.values())


def facts(path: str, files: Mapping[str, Part]) -> ModelFacts:
    """What the directory says of its model. Raises FormatError and OSError."""
    access = {
        name: hugging_face.FileAccess(part.size_bytes, partial(_read, part.path))
        for name, part in files.items()
    }
    return hugging_face.read_facts(access, _name(Path(path)))


def _name(path: Path) -> str:
    """What the model is called: the directory, or the repository that a hub's cache keeps there
    (`models--owner--name/snapshots/<revision>`)."""
    if path.parent.name == _SNAPSHOTS:
        return path.parent.parent.name.rpartition("--")[2]
    return path.name


def _read(path: Path, offset: int, length: int) -> bytes:
    # Not to wait for the other end of a pipe, should the file have become one since it was listed.
    descriptor = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileNotFoundError(2, "it is no longer a regular file", str(path))
        file.seek(offset)
        return file.read(length)
