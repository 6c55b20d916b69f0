"""From the way a process ended and its last words to the reason people are shown. Pure.

Which memory was short decides what happens next: an engine that ran out of a device's memory is
not put on that device again unchanged, one that ran out of the host's not on that machine. The
corpus of recorded last words in `tests/unit/worker/tails` holds the patterns to what engines say.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aimindserve.core.errors import AimsError
from aimindserve.core.reason import CATALOGUE, Reason
from aimindserve.kit.log import MASK, mask_text
from aimindserve.runtimes.base import Exited

EVIDENCE_LINES = 15
EVIDENCE_CHARS = 4000
CAUSE_CHARS = 1000
LINES_READ = 400
"""How far back a cause is looked for: engines of many processes end with long traces of those that
only noticed."""
_ADVICE = re.compile(
    r"to avoid|if you (?:encounter|run|see)|may (?:cause|lead)|consider ", re.IGNORECASE
)
"""A line that speaks of running out of memory without having done so."""
_DEVICE = re.compile(
    # PyTorch on any vendor's devices: "CUDA out of memory. Tried to allocate", "NPU out of memory"
    r"\b(?:CUDA|HIP|NPU|MUSA|MLU|XPU|MPS backend|GPU|device)\b.{0,40}out of memory"
    r"|out of (?:device|GPU) memory|ErrorOutOfDeviceMemory"
    r"|OutOfMemoryError: (?!Worker|Task)"
    # llama.cpp, ggml-cuda.cu, ggml-cann.cpp, ggml-metal: allocations by the driver
    r"|(?:cuda|hip|musa|aclrt|rt)Malloc\w* (?:failed|fail\b)"
    r"|failed to allocate (?:CUDA|ROCm|MUSA|CANN|Vulkan|SYCL|Metal|MTL)\d*\b"
    r"|unable to allocate (?:CUDA|ROCm|MUSA|CANN|Vulkan|SYCL|Metal|MTL)\d*\b"
    r"|Insufficient Memory.*kIOGPU|OutOfMemory.*kIOGPU"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|CUDA_ERROR_OUT_OF_MEMORY"
    # vLLM before it begins, and when nothing is left for the cache
    r"|No available memory for the cache blocks"
    r"|Free memory on device .* is less than desired GPU memory utilization"
    r"|KV cache is needed, which is larger than the available KV cache memory"
    r"|larger than the maximum number of tokens that can be stored in KV cache"
    # Ascend: CANN's error codes, MindIE's warm-up
    r"|\(?EL0004\)?:? *Failed to allocate memory|ACL_ERROR_RT_MEMORY_ALLOCATION|\b207001\b"
    r"|Warmup failed.*out of memory|npu\w* *memory.{0,30}(?:insufficient|not enough)",
    re.IGNORECASE,
)
_HOST = re.compile(
    r"cannot allocate memory|std::bad_alloc|bad_alloc\b|\bMemoryError\b|CUDA_Host buffer"
    r"|insufficient memory|DefaultCPUAllocator: (?:can't allocate|not enough) memory"
    r"|failed to allocate (?:buffer of size|CPU|host|compute|\d)"
    r"|unable to allocate (?:CPU|\d|array)"
    r"|alloc.{0,20}buffer.{0,20}failed|failed to (?:allocate|map) memory"
    r"|(?:node|container|process)\b.{0,40}(?:running low on|out of) memory"
    r"|out of memory: killed process|memory cgroup out of memory|OOMKilled"
    r"|(?:error|fatal|failed|exception)\b.{0,60}out of memory|^\W*out of memory\W*$",
    re.IGNORECASE,
)
_CHILD_KILLED = re.compile(r"exit ?code:? -9\b|SIGKILL|signal(?: \S+)? 9\b", re.IGNORECASE)
KILLED_CODE = 137
"""What shells and containers make of a child that was killed: 128 + 9."""


@dataclass(frozen=True, slots=True)
class Whom:
    """Whose engine it was."""

    worker: str
    instance: str
    devices: tuple[str, ...] = ()
    """Those that its placement claims here."""


def ended(exit_: Exited, lines: Sequence[str], whom: Whom, *, oom_kills: int) -> Reason:
    """Why a process that nobody stopped has ended. `oom_kills`: how many processes the system
    killed for memory while it lived."""
    names = {"worker": whom.worker, "name": whom.instance}
    if oom_kills > 0 and _was_killed(exit_, lines):
        return Reason("engine_oom", {**names, "signal": "SIGKILL"}, evidence(lines))
    found = _out_of_memory(lines)
    if found is not None:
        code, line = found
        if code == "engine_oom_device" and not whom.devices:
            code = "engine_oom"
        told = {"device": ", ".join(whom.devices)} if code == "engine_oom_device" else {}
        params = {**names, "status": status(exit_), **told}
        return Reason(code, params, evidence(lines, line))
    proof = evidence(lines)
    if exit_.signal is not None:
        return Reason("engine_killed", {**names, "signal": exit_.signal}, proof)
    return Reason("engine_exited", {**names, "status": status(exit_)}, proof)


def _was_killed(exit_: Exited, lines: Sequence[str]) -> bool:
    """Whether the process, or one of its children that it could not do without, got SIGKILL."""
    if exit_.signal is not None:
        return exit_.signal == "SIGKILL"
    if exit_.code == KILLED_CODE:
        return True
    return exit_.code != 0 and any(_CHILD_KILLED.search(line) for line in lines)


def _out_of_memory(lines: Sequence[str]) -> tuple[str, str] | None:
    """(reason code, the line that says it): the first, since others follow from it. A line about a
    device's memory wins: the host's allocator often complains next."""
    said = [line for line in lines if not _ADVICE.search(line)]
    device = next((line for line in said if _DEVICE.search(line)), None)
    if device is not None:
        return "engine_oom_device", device
    host = next((line for line in said if _HOST.search(line)), None)
    return None if host is None else ("engine_oom", host)


def status(exit_: Exited) -> str:
    """`exit code 1`, `SIGKILL`, or that nobody saw it."""
    if exit_.signal is not None:
        return exit_.signal
    if exit_.code is not None:
        return f"exit code {exit_.code}"
    return "an unknown exit status"


def refusal(error: AimsError, backend: str, whom: Whom) -> Reason:
    """Why an engine could not even be started. A part that knows better says so itself, with
    `params["reason"]` naming a code of the catalogue."""
    names = {**error.params, "backend": backend, "worker": whom.worker, "name": whom.instance}
    detail = error.message.rstrip(".")
    code = str(error.params.get("reason", ""))
    if code in CATALOGUE:
        return Reason(code, {"detail": detail, **names})
    if error.code == "unsupported" and "param" in error.params:
        return Reason("bad_param", {"detail": detail, **names})
    if error.code == "unsupported":
        return Reason("backend_unfit", {"detail": detail, **names})
    return Reason("launch_failed", {"detail": detail, **names})


def evidence(lines: Sequence[str], cause: str = "") -> str:
    """The last lines of a log, short enough for a report, with the `cause` even if it is older."""
    last = lines[-EVIDENCE_LINES:]
    if cause and cause not in last:
        last = [cause[:CAUSE_CHARS], "…", *last[2:]]
        return "\n".join(last)[:EVIDENCE_CHARS]
    return "\n".join(last)[-EVIDENCE_CHARS:]


def masked(text: str, secrets: Iterable[str]) -> str:
    """`text` without these secrets, nor anything that looks like one."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, MASK)
    return mask_text(text)
