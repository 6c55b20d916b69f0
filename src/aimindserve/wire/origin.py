"""Where a server listens. Pure: tables may hold it."""

from typing import NamedTuple


class Origin(NamedTuple):
    """Host and port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def unix(cls, path: str) -> "Origin":
        """The server behind the unix socket `path`."""
        return cls(path=path)

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"
