"""Models that lie on the worker's own disk already: nothing is fetched, only looked for.

A path comes from a user of the cluster and is opened by the worker, so it must be a plain file in a
plain place: never a device, a pipe, or one of the system's own file systems.
"""

import asyncio
import fnmatch
import os
import stat
from pathlib import Path

from aimindserve.core.errors import AimsError, ForbiddenError, NotFoundError
from aimindserve.core.facts import ModelRef
from aimindserve.sources.base import Progress, Resolved

PATH_MAX = 4096
ENTRIES_MAX = 10_000
SUFFIX = ".gguf"
_SYSTEM = ("/proc", "/sys", "/dev")
_PROJECTOR = "mmproj"


class LocalSource:
    """A file, or a directory that holds one."""

    name = "local"

    async def resolve(self, model: ModelRef) -> Resolved:
        """Raises NotFoundError or ForbiddenError, with `params["reason"]`."""
        path = await asyncio.to_thread(find, model)
        size = await asyncio.to_thread(os.path.getsize, path)
        return Resolved(file_name=path.name, size_bytes=size)

    async def fetch(self, model: ModelRef, target_dir: str, progress: Progress) -> str:  # noqa: ARG002 - protocol
        """The real path of the model's main file; nothing is copied."""
        return str(await asyncio.to_thread(find, model))


def find(model: ModelRef) -> Path:
    """The file that `model` means, with every link resolved.

    A directory means the first `.gguf` in it by name (`model.file` narrows the choice): of a model
    in several parts that is the first part. Projectors of vision models are not models.
    """
    given = model.path or ""
    if not given or "\0" in given or len(given) > PATH_MAX or not Path(given).is_absolute():
        raise _forbidden(given, "The path of a local model must be absolute.")
    _refuse_system(given, os.path.normpath(given))
    try:
        real = Path(given).resolve(strict=True)
        _refuse_system(given, str(real))
        mode = real.stat().st_mode
        if stat.S_ISDIR(mode):
            real = _inside(given, real, model.file)
            mode = real.stat().st_mode
        if not stat.S_ISREG(mode):
            raise _forbidden(given, f"{given} is not a regular file.")
        # Opening is the only honest question about rights: root, ACLs and mounts all have a say.
        with real.open("rb"):
            return real
    except PermissionError as error:
        params = {"reason": "path_perm", "path": given}
        raise ForbiddenError(f"{given} may not be read by the worker.", params=params) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(given, f"{given} does not exist.") from error
    except (OSError, RuntimeError) as error:
        # RuntimeError: links that lead in a circle, before Python 3.13.
        raise _missing(given, f"{given} cannot be reached: {error}") from error


def _inside(given: str, folder: Path, pattern: str | None) -> Path:
    names: list[str] = []
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= ENTRIES_MAX:
                break
            if _fits(entry.name, pattern):
                names.append(entry.name)
    if not names:
        wanted = pattern or f"*{SUFFIX}"
        raise _missing(f"{given.rstrip('/')}/{wanted}", f"{given} holds no {wanted}.")
    real = (folder / min(names)).resolve(strict=True)
    _refuse_system(given, str(real))
    return real


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
