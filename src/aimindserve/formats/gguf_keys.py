"""Typed access to the metadata of a GGUF file: every number checked, every wrong one a FormatError.

Keys without a prefix belong to the architecture, as in llama.cpp's `src/llama-arch.cpp`.
"""

from aimindserve.core.errors import FormatError
from aimindserve.formats.gguf_header import Header, Skipped

COUNT_MAX = 2**40


class Keys:
    """Typed access to metadata; keys without a prefix belong to the architecture."""

    def __init__(self, header: Header) -> None:
        self.metadata = header.metadata
        name = header.metadata.get("general.architecture")
        if not isinstance(name, str) or not name:
            raise FormatError("it does not say its architecture (general.architecture is missing)")
        self.architecture = name[:64]

    def count(self, key: str, *, default: int = 0, limit: int = COUNT_MAX) -> int:
        """A count that is one number; the largest one where it is given per layer."""
        return max(self._counts(key, limit), default=default)

    def per_layer(self, key: str, layers: int) -> tuple[int, ...]:
        """One entry per layer, or one for all, or none."""
        counts = self._counts(key, COUNT_MAX)
        if len(counts) > 1 and len(counts) < layers:
            raise FormatError(f"{key} is given for {len(counts)} layers, but there are {layers}")
        return counts[:layers] if len(counts) > 1 else counts

    def flags(self, key: str) -> tuple[bool, ...]:
        """A yes or no per layer, if it is given so."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        return tuple(bool(entry) for entry in value) if isinstance(value, tuple) else ()

    def _counts(self, key: str, limit: int) -> tuple[int, ...]:
        full = f"{self.architecture}.{key}"
        value = self.metadata.get(full)
        if value is None:
            return ()
        entries = value if isinstance(value, tuple) else (value,)
        counts: list[int] = []
        for entry in entries:
            if isinstance(entry, bool | float | str | Skipped):
                raise FormatError(f"{full} should be a whole number, not {str(entry)[:40]!r}")
            if not -1 <= entry <= limit:
                raise FormatError(f"{full} is {entry}; 0 to {limit} makes sense")
            counts.append(max(entry, 0))
        return tuple(counts)
