"""What an engine says of the memory it has allocated, found in the first lines of its log. Pure.

The sentences of several engines in one table: they name memory in words of their own, and an engine
that says nothing is measured from outside instead. A place is `cpu`, or a device's place among
those the engine was given: `0`, `1`.

Sources: llama.cpp `load_tensors`, `llama_kv_cache`, `llama_context`, `sched_reserve` (src/*.cpp);
vLLM `gpu_model_runner.py`, `gpu_worker.py` ("Model loading took", "Available KV cache memory").
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

Reported = tuple[tuple[str, int], ...]

_UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "MB": 10**6, "GB": 10**9}
_BUFFER = re.compile(
    r"(?P<place>[A-Za-z]+\d*(?:_\w+)?)\s+"
    r"(?:model|KV|RS|compute|output)\s+buffer size\s*=\s*(?P<size>[\d.]+)\s*(?P<unit>[KMG]iB)"
)
_HOST = re.compile(r"^(?:CPU|BLAS|\w*_Host)", re.IGNORECASE)
_RANK = re.compile(r"\(.*?(?:rank=|TP|Worker_TP)(?P<rank>\d+)")
_VLLM = (
    re.compile(r"[Mm]odel (?:loading took|weights take) (?P<size>[\d.]+) ?(?P<unit>[GM]i?B)"),
    re.compile(r"Available KV cache memory: (?P<size>[\d.]+) ?(?P<unit>[GM]i?B)"),
)


def reported(lines: Iterable[str]) -> Reported:
    """(place, bytes) in order of the places; empty when nothing was said."""
    sums: Counter[str] = Counter()
    for line in lines:
        for place, size in _said(line):
            sums[place] += size
    return tuple(sorted(sums.items()))


def _said(line: str) -> Iterator[tuple[str, int]]:
    found = _BUFFER.search(line)
    if found is not None:
        yield _place(found["place"]), _bytes(found)
        return
    for pattern in _VLLM:
        found = pattern.search(line)
        if found is not None:
            rank = _RANK.search(line)
            yield ("0" if rank is None else rank["rank"]), _bytes(found)
            return


def _place(buffer: str) -> str:
    """`CPU`, `CUDA_Host` and `CPU_Mapped` lie in the host's memory, `CUDA1` and `MTL0` do not."""
    if _HOST.match(buffer) is not None:
        return "cpu"
    number = re.search(r"\d+", buffer)
    return "0" if number is None else number.group()


def _bytes(found: re.Match[str]) -> int:
    return int(float(found["size"]) * _UNITS[found["unit"]])
