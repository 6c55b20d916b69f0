"""Looking at model files: whether they are there, and what their headers say.

A header is read once and again only when the file changed; reading happens in a thread, and the
reader itself refuses headers over its limit.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from aimindserve.core.errors import AimsError, FormatError
from aimindserve.core.facts import ModelFacts, ModelRef, SourceName
from aimindserve.core.reason import CATALOGUE, Reason
from aimindserve.core.report import FileObservation, FileState
from aimindserve.kit.log import get_logger
from aimindserve.sources.base import Source
from aimindserve.worker import gguf_model, model_directory
from aimindserve.worker.observed import FileSeen

log = get_logger("worker")

OFFERED = frozenset({SourceName.LOCAL})
"""Sources a deployment may name in this version."""


class ModelFiles:
    """Model files on this machine's disks."""

    def __init__(self, sources: Mapping[str, Source], cache_dir: str) -> None:
        self._sources = sources
        self._cache_dir = cache_dir

    async def look(self, worker: str, model: ModelRef, before: FileSeen | None) -> FileSeen:
        """What is there now; what did not change since `before` is not read again."""
        source = self._sources.get(model.source.value)
        if source is None or model.source not in OFFERED:
            reason = Reason("source_unavailable", {"source": model.source.value})
            return FileSeen(FileObservation(FileState.FAILED, reason=reason))
        try:
            path = await source.fetch(model, self._cache_dir, _no_progress)
            seen = await asyncio.to_thread(_read, path, before)
        except AimsError as error:
            return _refused(error, model, worker)
        except OSError as error:
            return _unreadable(error, model, worker)
        if before is None or before.observation != seen.observation:
            log.info("file.seen", path=path, size_bytes=seen.observation.size_bytes)
        return seen


def _read(path: str, before: FileSeen | None) -> FileSeen:
    if Path(path).is_dir():
        return _read_directory(path, before)
    status = Path(path).stat()
    try:
        files = gguf_model.listing(path)
    except FormatError as error:
        return FileSeen(_unreadable_format(path, status.st_size, error))
    signature = files.signature
    if before is not None and (before.signature, before.observation.path) == (signature, path):
        return before
    observation = _described(path, signature[1], lambda: gguf_model.facts(files))
    return FileSeen(observation, signature=signature)


def _read_directory(path: str, before: FileSeen | None) -> FileSeen:
    files = model_directory.listing(path)
    signature = model_directory.signature(files)
    if before is not None and (before.signature, before.observation.path) == (signature, path):
        return before
    observation = _described(path, signature[1], lambda: model_directory.facts(path, files))
    return FileSeen(observation, signature=signature)


def _described(path: str, size: int, facts: Callable[[], ModelFacts]) -> FileObservation:
    found = FileObservation(FileState.READY, path=path, size_bytes=size)
    try:
        return replace(found, facts=facts())
    except FormatError as error:
        return _unreadable_format(path, size, error)


def _unreadable_format(path: str, size: int, error: FormatError) -> FileObservation:
    reason = Reason("format_invalid", {"path": path, "detail": error.message.rstrip(".")})
    return FileObservation(FileState.FAILED, path=path, size_bytes=size, reason=reason)


def _refused(error: AimsError, model: ModelRef, worker: str) -> FileSeen:
    """The source says no, and why."""
    path = str(error.params.get("path", model.path or ""))
    params = {**error.params, "path": path, "worker": worker, "detail": error.message.rstrip(".")}
    code = str(params.pop("reason", "file_failed"))
    reason = Reason(code if code in CATALOGUE else "file_failed", params)
    state = FileState.MISSING if code == "path_missing" else FileState.FAILED
    return FileSeen(FileObservation(state, path=path, reason=reason))


def _unreadable(error: OSError, model: ModelRef, worker: str) -> FileSeen:
    """It went away, or its rights changed, between being found and being opened."""
    path = str(error.filename or model.path or "")
    params = {"path": path, "worker": worker, "detail": error.strerror or str(error)}
    if isinstance(error, FileNotFoundError):
        return FileSeen(
            FileObservation(FileState.MISSING, path=path, reason=Reason("path_missing", params))
        )
    code = "path_perm" if isinstance(error, PermissionError) else "file_failed"
    return FileSeen(FileObservation(FileState.FAILED, path=path, reason=Reason(code, params)))


async def _no_progress(_done: int, _total: int) -> None:
    """Looking at what is there already moves nothing."""
