"""Models that lie on the worker's own disk already: nothing is fetched, only looked for.

A path comes from a user of the cluster and is opened by the worker, so it must be a plain file in a
plain place: never a device, a pipe, or one of the system's own file systems.
"""

import asyncio
import errno
import fnmatch
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from aimindserve.core.errors import AimsError, ForbiddenError, NotFoundError
from aimindserve.core.facts import ModelRef
from aimindserve.sources.base import Progress, Resolved

PATH_MAX = 4096
ENTRIES_MAX = 10_000
SUFFIX = ".gguf"
DIRECTORY_MARKS = (
    *("config.json", "model_index.json"),
    *("cosyvoice.yaml", "cosyvoice2.yaml", "cosyvoice3.yaml"),
)
"""What makes a directory a model by itself, when there is no GGUF in it."""
_PARTS = (".json", ".jinja", ".safetensors", ".bin", ".pt", ".pth", ".onnx", ".yaml")
_SYSTEM = ("/proc", "/sys", "/dev")
_PROJECTOR = "mmproj"
_NOT_THERE = (errno.ENOENT, errno.ELOOP)
"""What a link answers that leads nowhere or in a circle."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a model directory, with every link resolved."""

    path: Path
    size_bytes: int
    modified_ns: int


class LocalSource:
    """A file, a directory that holds one, or a directory that is a model."""

    name = "local"

    async def resolve(self, model: ModelRef) -> Resolved:
        """Raises NotFoundError or ForbiddenError, with `params["reason"]`."""
        path = await asyncio.to_thread(find, model)
        return Resolved(path.name, await asyncio.to_thread(_size, path))

    async def fetch(self, model: ModelRef, target_dir: str, progress: Progress) -> str:  # noqa: ARG002 - protocol
        """The path of the model's file or directory; nothing is copied."""
        return str(await asyncio.to_thread(find, model))


def find(model: ModelRef) -> Path:
    """The file or directory that `model` means. Links are followed to see whether it may be read,
    and kept: in a hub's cache only the link says what a file is called and what lies beside it.

    A directory means the first `.gguf` in it by name (`model.file` narrows the choice): of a model
    in several parts that is the first part. Projectors of vision models are not models. Without a
    GGUF, a directory that has a configuration is a model itself.
    """
    given = model.path or ""
    if not given or "\0" in given or len(given) > PATH_MAX or not Path(given).is_absolute():
        raise _forbidden(given, "The path of a local model must be absolute.")
    _refuse_system(given, os.path.normpath(given))
    try:
        found = Path(given)
        mode = _mode(given, found)
        if stat.S_ISDIR(mode):
            found = _inside(given, found, model.file)
            mode = _mode(given, found)
            if stat.S_ISDIR(mode):
                return found
        if not stat.S_ISREG(mode):
            raise _forbidden(given, f"{given} is not a regular file.")
        # Opening is the only honest question about rights: root, ACLs and mounts all have a say.
        with found.open("rb"):
            return found
    except PermissionError as error:
        params = {"reason": "path_perm", "path": given}
        raise ForbiddenError(f"{given} may not be read by the worker.", params=params) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(given, f"{given} does not exist.") from error
    except (OSError, RuntimeError) as error:
        # RuntimeError: links that lead in a circle, before Python 3.13.
        raise _missing(given, f"{given} cannot be reached: {error}") from error


def _mode(given: str, path: Path) -> int:
    real = path.resolve(strict=True)
    _refuse_system(given, str(real))
    return real.stat().st_mode


def _inside(given: str, folder: Path, pattern: str | None) -> Path:
    names: list[str] = []
    marked = False
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= ENTRIES_MAX:
                break
            marked = marked or entry.name in DIRECTORY_MARKS
            if _fits(entry.name, pattern):
                names.append(entry.name)
    if not names and marked and pattern is None:
        return folder
    if not names:
        wanted = pattern or f"*{SUFFIX}"
        raise _missing(f"{given.rstrip('/')}/{wanted}", f"{given} holds no {wanted}.")
    return folder / min(names)


def parts(folder: Path) -> Mapping[str, Part]:
    """The files of a model directory that may say something of the model, by their name in it,
    also those one directory below (`1_Pooling/config.json`).

    Links are followed (hubs keep their caches as links), but never into the system's directories,
    and only to regular files: what is anything else, or gone, is not there. Raises ForbiddenError
    and OSError.
    """
    found: dict[str, Part] = {}
    names = _names(folder)
    for name in names:
        _take(found, folder, name)
    for place in names:
        below = folder / place
        if place in found or place.startswith(".") or below.is_symlink() or not below.is_dir():
            continue
        for name in _names(below):
            if len(found) >= ENTRIES_MAX:
                return found
            _take(found, folder, f"{place}/{name}")
    return found


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, ENTRIES_MAX)]
    # Names that are no text could not be reported.
    return sorted(name for name in names if os.fsencode(name) == name.encode("utf-8", "replace"))


def _take(found: dict[str, Part], folder: Path, name: str) -> None:
    """Note a file of a model."""
    if not name.endswith(_PARTS):
        return
    try:
        real = (folder / name).resolve(strict=True)
        status = real.stat()
    except RuntimeError:
        return  # Links in a circle, before Python 3.13.
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        return
    _refuse_system(str(folder / name), str(real))
    if stat.S_ISREG(status.st_mode):
        found[name] = Part(real, status.st_size, status.st_mtime_ns)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(part.size_bytes for part in parts(path).values())
    return path.stat().st_size


def _fits(name: str, pattern: str | None) -> bool:
    lower = name.lower()
    if pattern is not None:
        return fnmatch.fnmatch(name, pattern)
    return lower.endswith(SUFFIX) and not lower.startswith(_PROJECTOR)


def _refuse_system(given: str, path: str) -> None:
    if any(path == root or path.startswith(f"{root}/") for root in _SYSTEM):
        raise _forbidden(given, f"{given} is in one of the system's own directories.")


def _forbidden(path: str, message: str) -> AimsError:
    return ForbiddenError(message, params={"reason": "path_forbidden", "path": path})


def _missing(path: str, message: str) -> AimsError:
    return NotFoundError(message, params={"reason": "path_missing", "path": path})


PLUGIN = LocalSource()
