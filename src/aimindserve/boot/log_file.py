"""The log file of a child: appended to line by line, rotated by size, the newest ones kept."""

from pathlib import Path
from typing import BinaryIO

SIZE_MAX_BYTES = 16 * 1024 * 1024
KEPT = 5


class LogFile:
    """`<path>`, `<path>.1` (the one before), … Not for several threads at once."""

    def __init__(self, path: Path, size_max_bytes: int = SIZE_MAX_BYTES) -> None:
        self._path = path
        self._limit = size_max_bytes
        self._file: BinaryIO | None = None
        self._size = 0

    def write(self, line: bytes) -> None:
        """Append `line`. A disk that is full costs log lines, never the program."""
        try:
            file = self._file or self._open()
            if self._size + len(line) > self._limit and self._size > 0:
                file = self._rotate()
            file.write(line)
            file.flush()
            self._size += len(line)
        except OSError:
            self.close()

    def close(self) -> None:
        """Let go of the file; the next write opens it again."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                return

    def _open(self) -> BinaryIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab")
        self._size = self._file.tell()
        return self._file

    def _rotate(self) -> BinaryIO:
        self.close()
        for number in range(KEPT - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        return self._open()
