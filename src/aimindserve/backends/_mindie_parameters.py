"""Which of Ascend MindIE's parameters users may set, in which ranges.

The flags are those of the mission's table (`docs` of GPUStack 0.7, seed page on backends); MindIE
itself reads a configuration file. A key is the long flag without its hyphens.
"""

import json
from collections.abc import Mapping
from typing import Any

from aimindserve.backends._words import (
    Parameter,
    Parse,
    Vocabulary,
    choice,
    decimal,
    json_object,
    whole,
)

BACKEND = "ascend-mindie"
CONTEXT_MAX = 16 * 1024**2
_MILLISECONDS = whole(0, 1000)
_EXPECTED = whole(1, 3_600_000)
_POLICY = whole(0, 3)
_ONE_TO_16 = whole(1, 16)
_PARALLEL_MAX = 4096


def _power_of_two(low: int, high: int, *, automatic: bool = False) -> Parse:
    def parse(text: str) -> int:
        number = whole(-1 if automatic else low, high)(text)
        if automatic and number == -1:
            return number
        if number < low or number & (number - 1):
            raise ValueError(f"{number} is no power of two")
        return number

    return parse


def _json(text: str) -> dict[str, Any]:
    json_object(text)
    return json.loads(text)


def _fraction(text: str) -> float:
    number = decimal(0.0, 1.0)(text)
    if number <= 0:
        raise ValueError("0 leaves nothing")
    return number


def _switch(name: str) -> tuple[Parameter, Parameter]:
    return (
        Parameter((f"--{name}",), name),
        Parameter((f"--no-{name}",), name, constant=False),
    )


_PARALLEL = _power_of_two(1, _PARALLEL_MAX, automatic=True)
_LEVELS = ("Verbose", "Info", "Warning", "Warn", "Error", "Debug")
_DTYPES = {
    "auto": "auto",
    "half": "float16",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float": "float32",
    "float32": "float32",
}

_SERVER = (
    Parameter(("--log-level",), "log-level", choice({name.lower(): name for name in _LEVELS})),
    Parameter(("--max-link-num",), "max-link-num", whole(1, 1000)),
    Parameter(("--token-timeout",), "token-timeout", whole(1, 3600)),
    Parameter(("--e2e-timeout",), "e2e-timeout", whole(1, 3600)),
    Parameter(("--metrics",), "metrics"),
    Parameter(("--no-metrics",), "metrics", constant=False),
)

_MODEL = (
    Parameter(("--max-seq-len",), "max-seq-len", whole(1, CONTEXT_MAX)),
    Parameter(("--max-input-token-len",), "max-input-token-len", whole(1, CONTEXT_MAX)),
    *_switch("truncation"),
    Parameter(("--cpu-mem-size",), "cpu-mem-size", whole(0, 4096)),
    Parameter(("--npu-memory-fraction",), "npu-memory-fraction", _fraction),
    Parameter(("--dtype",), "dtype", choice(_DTYPES)),
    Parameter(("--rope-scaling",), "rope-scaling", _json),
    Parameter(("--rope-theta",), "rope-theta", decimal(0, 1e12)),
    Parameter(("--override-generation-config",), "override-generation-config", _json),
    *_switch("enforce-eager"),
)

_SCHEDULE = (
    Parameter(("--cache-block-size",), "cache-block-size", _power_of_two(1, 4096)),
    Parameter(("--max-prefill-batch-size",), "max-prefill-batch-size", whole(1, 5000)),
    Parameter(("--max-batch-size",), "max-batch-size", whole(1, 5000)),
    Parameter(("--max-preempt-count",), "max-preempt-count", whole(0, 5000)),
    Parameter(("--prefill-time-ms-per-req",), "prefill-time-ms-per-req", _MILLISECONDS),
    Parameter(("--decode-time-ms-per-req",), "decode-time-ms-per-req", _MILLISECONDS),
    Parameter(("--prefill-policy-type",), "prefill-policy-type", _POLICY),
    Parameter(("--decode-policy-type",), "decode-policy-type", _POLICY),
    *_switch("support-select-batch"),
    Parameter(
        ("--max-queue-delay-microseconds",), "max-queue-delay-microseconds", whole(500, 1_000_000)
    ),
    *_switch("enable-prefix-caching"),
    *_switch("enable-split"),
    Parameter(
        ("--policy-type",), "policy-type", choice({str(each): each for each in (0, 4, 5, 6, 7)})
    ),
    Parameter(("--split-chunk-tokens",), "split-chunk-tokens", whole(512, CONTEXT_MAX)),
    Parameter(("--split-start-batch-size",), "split-start-batch-size", whole(0, 5000)),
    *_switch("enable-memory-decoding"),
    Parameter(("--memory-decoding-length",), "memory-decoding-length", _ONE_TO_16),
    *_switch("memory-decoding-dynamic-algo"),
    *_switch("enable-lookahead"),
    Parameter(("--lookahead-level",), "lookahead-level", whole(3, 16)),
    Parameter(("--lookahead-window",), "lookahead-window", _ONE_TO_16),
    Parameter(("--lookahead-guess-set-size",), "lookahead-guess-set-size", _ONE_TO_16),
    *_switch("enable-multi-token-prediction"),
    Parameter(("--multi-token-prediction-tokens",), "multi-token-prediction-tokens", whole(1, 64)),
    *_switch("enable-buffer-response"),
    Parameter(("--prefill-expected-time-ms",), "prefill-expected-time-ms", _EXPECTED),
    Parameter(("--decode-expected-time-ms",), "decode-expected-time-ms", _EXPECTED),
)

_CUTS = (
    Parameter(("--pipeline-parallel-size", "-pp"), "pipeline-parallel-size", whole(1, 1024)),
    Parameter(("--data-parallel-size", "-dp"), "data-parallel-size", _PARALLEL),
    Parameter(("--tensor-parallel-size", "-tp"), "tensor-parallel-size", _PARALLEL),
    Parameter(("--sequence-parallel-size", "-sp"), "sequence-parallel-size", _PARALLEL),
    Parameter(("--moe-expert-parallel-size", "-moe-ep"), "moe-expert-parallel-size", _PARALLEL),
    Parameter(("--moe-tensor-parallel-size", "-moe-tp"), "moe-tensor-parallel-size", _PARALLEL),
)

_MANAGED = frozenset({"--host", "--port", "--model", "--config", "--ip", "--api-key", "--help"})

VOCABULARY = Vocabulary(BACKEND, (*_SERVER, *_MODEL, *_SCHEDULE, *_CUTS), _MANAGED)

_SPECULATING = ("enable-memory-decoding", "enable-lookahead")
_EXCLUSIVE = (
    ("enable-split", (*_SPECULATING, "rope-scaling")),
    ("enable-memory-decoding", ("enable-lookahead", "rope-scaling")),
    ("enable-lookahead", ("rope-scaling",)),
    ("enable-multi-token-prediction", (*_SPECULATING, "enable-split", "rope-scaling")),
    ("enable-prefix-caching", ("rope-scaling",)),
)
"""What MindIE's features cannot be used together with."""
_NOT_WITH_DATA_PARALLEL = (*_SPECULATING, "enable-split", "enable-prefix-caching")


def contradiction(fields: Mapping[str, Any]) -> tuple[str, str] | None:
    """(parameter, why) of the first that cannot stand beside the others."""
    return _clash(fields) or _order(fields) or _missing(fields)


def _clash(fields: Mapping[str, Any]) -> tuple[str, str] | None:
    pairs = list(_EXCLUSIVE)
    if fields.get("data-parallel-size", -1) > 1:
        pairs.append(("data-parallel-size", _NOT_WITH_DATA_PARALLEL))
        if fields.get("pipeline-parallel-size", 1) > 1:
            return "--data-parallel-size", "not together with --pipeline-parallel-size"
    for name, others in pairs:
        for other in others:
            if fields.get(name) and fields.get(other):
                return f"--{other}", f"not together with --{name}"
    return None


def _order(fields: Mapping[str, Any]) -> tuple[str, str] | None:
    batch = fields.get("max-batch-size", 200)
    for name, default in (("max-prefill-batch-size", 50), ("max-preempt-count", 0)):
        if fields.get(name, min(default, batch)) > batch:
            return f"--{name}", f"it must not be above --max-batch-size, {batch}"
    length = fields.get("max-seq-len")
    if length is not None and fields.get("max-input-token-len", 0) > length:
        return "--max-input-token-len", f"it must not be above --max-seq-len, {length}"
    return None


def _missing(fields: Mapping[str, Any]) -> tuple[str, str] | None:
    if not fields.get("enable-buffer-response"):
        return None
    for name in ("prefill-expected-time-ms", "decode-expected-time-ms"):
        if name not in fields:
            return "--enable-buffer-response", f"it needs --{name}"
    return None
