"""A plan's question as bytes, so that its answer can be made again and compared.

    snapshot + asks ──write──▶ bytes ──digest──▶ what every decision record names
                                 │
                                 └──read──▶ snapshot + asks ──plan──▶ the same records, to the byte

The bytes are JSON with sorted keys: the same for the same question in any process. Workers that did
not change since the last question are not encoded again. Must not know where questions are kept.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

import msgspec

from aimindserve.core.errors import FormatError
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
from aimindserve.scheduler.explain import record
from aimindserve.scheduler.plan import plan

_GIVEN = tuple(each.name for each in fields(WorkerView) if each.init)
"""What a worker was made of; everything else about it is derived from this."""
_encoder = msgspec.json.Encoder(order="sorted")


_Worker = msgspec.defstruct(
    "_Worker", [(name, get_type_hints(WorkerView)[name]) for name in _GIVEN]
)


class _Question(msgspec.Struct):
    revision: int
    workers: tuple[Any, ...]
    asks: tuple[Ask, ...]


_decoder = msgspec.json.Decoder(_Question)


class Writer:
    """Writes questions; keeps the bytes of the workers of the last one, by identity."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[WorkerView, bytes]] = {}

    def write(self, snapshot: Snapshot, asks: Sequence[Ask]) -> bytes:
        """The question what to do with `asks` in `snapshot`; neither order of input matters."""
        kept: dict[str, tuple[WorkerView, bytes]] = {}
        for worker in sorted(snapshot.workers, key=lambda each: each.name):
            known = self._kept.get(worker.name)
            written = known if known is not None and known[0] is worker else (worker, _one(worker))
            kept[worker.name] = written
        self._kept = kept
        ordered = sorted(asks, key=lambda ask: (ask.created_at, ask.instance))
        return b'{"asks":%s,"revision":%d,"workers":[%s]}' % (
            _encoder.encode(ordered),
            snapshot.revision,
            b",".join(text for _, text in kept.values()),
        )


def digest(question: bytes) -> str:
    """Thirty-two hexadecimal digits that stand for a question."""
    return hashlib.blake2b(question, digest_size=16).hexdigest()


def read(question: bytes) -> tuple[Snapshot, tuple[Ask, ...]]:
    """What was asked. Raises FormatError for bytes that are no question of this version."""
    try:
        found = _decoder.decode(question)
        plain = msgspec.convert(found.workers, tuple[_Worker, ...])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise FormatError(f"it is no question for the scheduler: {error}") from error
    workers = tuple(WorkerView(**msgspec.structs.asdict(each)) for each in plain)
    return Snapshot(found.revision, workers), found.asks


def replay(question: bytes) -> Mapping[str, bytes]:
    """Instance -> its decision record, as `encode` gives it, made anew from the question alone."""
    snapshot, asks = read(question)
    made = plan(snapshot, asks)
    return {name: encode(record(each)) for name, each in made.decisions.items()}


def encode(decision: Mapping[str, Any]) -> bytes:
    """A decision record as bytes: equal for equal records."""
    return _encoder.encode(decision)


def _one(worker: WorkerView) -> bytes:
    return _encoder.encode({name: getattr(worker, name) for name in _GIVEN})
