"""What is written down about every process: before its start, so that none can be unknown, and
after it, with its exact identity. One private file per process, removed when nothing of it is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aimindserve.kit.log import get_logger
from aimindserve.kit.secrets import write_private
from aimindserve.runtimes._birth import Birth
from aimindserve.runtimes.base import Handle

log = get_logger("runtime")


@dataclass(frozen=True, slots=True)
class Record:
    """A process that was to be started; `birth` is known once it had been."""

    handle: Handle
    birth: Birth | None = None


class Records:
    """The directory of records. Tokens are our own random words, so they are safe file names."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, record: Record) -> None:
        """Write or replace; on disk before this returns."""
        write_private(self._path(record.handle.token), msgspec.json.encode(record).decode())

    def get(self, token: str) -> Record | None:
        """The record of one process."""
        return self._read(self._path(token))

    def drop(self, token: str) -> None:
        """Nothing is left of it."""
        self._path(token).unlink(missing_ok=True)

    def all(self) -> Sequence[Record]:
        """Every record there is."""
        found = (self._read(path) for path in sorted(self._root.glob("*.json")))
        return [record for record in found if record is not None]

    def _path(self, token: str) -> Path:
        return self._root / f"{token}.json"

    def _read(self, path: Path) -> Record | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            log.error("record.broken", path=str(path), error=str(error))
            path.unlink(missing_ok=True)
            return None
