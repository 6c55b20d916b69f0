"""llama.cpp's own programs, for what the embedded engine cannot do: devices of several workers.

    rank 0      llama-server     reads the model, answers requests, sends layers and work to
    rank 1 …    ggml-rpc-server  on each further worker, which offers exactly its claimed devices

Both listen on loopback; the agents carry what they say to each other (`worker.tunnels`). Devices
are named in the order of the cut, remote ones first, so that no default of any build decides
(`llama_prepare_model_devices` in src/llama.cpp takes `--device` as it is; `RPC0`, `RPC1` count over
all `--rpc` addresses, `ggml_backend_rpc_add_server` in ggml-rpc.cpp; since llama.cpp's pull request
16276 of October 2025). Checked with build 11434.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from aimindserve.backends._installations import installation
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.launch import LaunchContext, LaunchSpec
from aimindserve.core.placement import Claim, Placement

INSTALLATION = "llama.cpp-rpc"
EMBEDDED_TYPES = ("mps",)
"""Devices on which the embedded engine computes, besides processors: what the xllamacpp wheels of
the package index are built for."""
DEVICE_NAMES: Mapping[str, str] = {
    "cuda": "CUDA",
    "rocm": "ROCm",
    "dcu": "ROCm",
    "musa": "MUSA",
    "npu": "CANN",
    "mps": "MTL",
}
"""What llama.cpp calls devices of each type, before their number (`GGML_CUDA_NAME` in ggml-cuda.h,
`GGML_CANN_NAME`, `GGML_METAL_NAME`)."""
PRETENDED = "CPU"
KEY_NAME = "api-key"
_ENV = (("GGML_RPC_NO_RDMA", "1"), ("GGML_NO_BACKTRACE", "1"))
"""Both ends of a tunnel are on loopback, there is nothing to negotiate. And a process that ends
itself must not call a debugger whose lines hide why (`ggml_print_backtrace` in ggml.c)."""
VERBOSITY = ("--verbosity", "4")
"""From here on llama.cpp says what it allocates; prompts are not told before 5."""
_FIXED = (
    *("--offline", "--no-ui", "--no-slots", "--metrics"),
    *("--fit", "off", "--log-colors", "off"),
)
"""As `_llama_cpp_engine.py` sets it for the embedded engine, and why."""
_NUMBERS: Mapping[str, str] = {
    "n_ctx": "--ctx-size",
    "n_parallel": "--parallel",
    "n_batch": "--batch-size",
    "n_ubatch": "--ubatch-size",
    "n_gpu_layers": "--n-gpu-layers",
    "cache_ram_mib": "--cache-ram",
    "n_ctx_checkpoints": "--ctx-checkpoints",
}
_PARAMETERS = ("LLAMA_ARG_", "LLAMA_API_KEY")
"""Variables from which the server's own parser takes parameters (`set_env` in common/arg.cpp)."""


def is_needed(placement: Placement) -> bool:
    """Whether the embedded engine could not run it."""
    claims = [claim for rank in placement.ranks for claim in rank.claims]
    return len(placement.workers) > 1 or any(_type(c) not in EMBEDDED_TYPES for c in claims)


def is_parameter(variable: str) -> bool:
    """Whether the native server would read a parameter from this variable."""
    return variable.startswith(_PARAMETERS)


def in_order(placement: Placement) -> tuple[Claim, ...]:
    """The claims in the order in which the model is cut: devices of other workers first."""
    first, *others = placement.ranks
    return tuple(claim for rank in (*others, first) for claim in rank.claims)


def lead(context: LaunchContext, parameters: Sequence[str], stop_grace_s: float) -> LaunchSpec:
    """Rank 0. `parameters`: all that is not about places, ports and keys."""
    assignment = context.assignment
    key = str(Path(context.run_dir) / KEY_NAME)
    argv = (
        *(_sibling(installation(context, INSTALLATION).program), "--model", context.model_path),
        *("--host", "127.0.0.1", "--port", str(context.port), "--api-key-file", key),
        *("--alias", assignment.deployment),
        *_FIXED,
        *(() if VERBOSITY[0] in parameters else VERBOSITY),
        *_devices(context),
        *parameters,
    )
    return LaunchSpec(
        argv=argv,
        env=(*assignment.options.env, *context.exposure.env, *_ENV),
        files=((KEY_NAME, context.secret + "\n"),),
        port=context.port,
        stop_grace_s=stop_grace_s,
    )


def lend(context: LaunchContext, stop_grace_s: float) -> LaunchSpec:
    """A further rank: one process for all devices that the instance has on this worker. It serves
    one client at a time and keeps nothing when that has gone."""
    claims = _here(context)
    # Who pretends often does so for several workers on one machine.
    count = str(max(context.cpu_count // 2, 1))
    names = [PRETENDED] * len(claims) if context.exposure.pretended else list(_names(claims))
    return LaunchSpec(
        argv=(
            *(installation(context, INSTALLATION).program, "--host", "127.0.0.1"),
            *("--port", str(context.port), "--device", ",".join(names)),
            *(("--threads", count) if context.exposure.pretended else ()),
        ),
        env=(*context.assignment.options.env, *context.exposure.env, *_ENV),
        port=context.port,
        stop_grace_s=stop_grace_s,
    )


def words(fields: Mapping[str, Any], spelled: Mapping[str, tuple[str, ...]]) -> list[str]:
    """`fields`, which the embedded engine is given, as the native server's parameters; `spelled`
    are those that were given in words, by field."""
    found = (_words(key, value, spelled) for key, value in fields.items())
    return [word for each in found for word in each]


def _words(key: str, value: Any, spelled: Mapping[str, tuple[str, ...]]) -> Sequence[str]:
    if key in _NUMBERS:
        return _NUMBERS[key], str(value)
    if key == "tensor_split":
        return "--tensor-split", ",".join(map(str, value))
    if key == "load_mode":
        return "--load-mode", _member(value, "_MODE_")
    if key == "pooling_type":
        return "--pooling", _member(value, "_TYPE_")
    if key == "embedding":
        return ("--embedding",) if value else ()
    if key == "lora_adapters":
        scaled = (f"{each['path']}:{each['scale']}" for each in value)
        return "--lora-scaled", ",".join(scaled)
    return spelled[key]


def _member(value: Mapping[str, str], mark: str) -> str:
    """The last part of an enumeration's member, as words have it."""
    return value["enum"].rpartition(mark)[2].lower()


def _devices(context: LaunchContext) -> Iterable[str]:
    """Where layers go. A port for every further worker, in the order of their ranks."""
    placement = context.assignment.placement
    own = _here(context)
    if own and context.exposure.pretended:
        raise UnsupportedError(
            "A pretended device can only be lent: llama.cpp computes on it through another worker.",
            hint="Use real devices on the first worker, or none.",
        )
    remote = sum(len(rank.claims) for rank in placement.ranks[1:])
    names = [f"RPC{number}" for number in range(remote)] + list(_names(own))
    ports = dict(context.tunnels)
    missing = [worker for worker in placement.workers[1:] if worker not in ports]
    if missing:
        raise UnsupportedError(
            f"There is no way to {missing[0]} yet.",
            params={
                "reason": "rank_waiting",
                "peer": missing[0],
                "name": context.assignment.instance,
                "detail": "no port leads there",
            },
        )
    if remote:
        ends = (f"127.0.0.1:{ports[worker]}" for worker in placement.workers[1:])
        yield from ("--rpc", ",".join(ends))
    yield from ("--device", ",".join(names))


def _here(context: LaunchContext) -> tuple[Claim, ...]:
    ranks = context.assignment.placement.ranks
    worker = ranks[context.rank].worker
    return tuple(claim for rank in ranks if rank.worker == worker for claim in rank.claims)


def _names(claims: Iterable[Claim]) -> Iterable[str]:
    """A process sees only what is exposed to it, and counts each vendor's devices from zero."""
    counts: dict[str, itertools.count[int]] = {}
    for claim in claims:
        name = DEVICE_NAMES[_type(claim)]
        yield f"{name}{next(counts.setdefault(name, itertools.count()))}"


def _type(claim: Claim) -> str:
    """`gpu-01:cuda:0` -> `cuda`."""
    return claim.device.split(":")[-2] if ":" in claim.device else ""


def _sibling(program: str) -> str:
    """The server beside an RPC server."""
    place = PurePath(program)
    return str(place.with_name("llama-server" + place.suffix))
