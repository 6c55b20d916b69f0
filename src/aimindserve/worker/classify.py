"""From the way a process ended and its last words to the reason people are shown. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aimindserve.core.errors import AimsError
from aimindserve.core.reason import CATALOGUE, Reason
from aimindserve.kit.log import MASK, mask_text
from aimindserve.runtimes.base import Exited

EVIDENCE_LINES = 15
EVIDENCE_CHARS = 4000
_OUT_OF_MEMORY = re.compile(
    r"out of memory|outofmemory|cannot allocate memory|bad_alloc|failed to allocate|"
    r"unable to allocate|cudamalloc failed|memoryerror|alloc.{0,20}buffer.{0,20}failed",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Whom:
    """Whose engine it was."""

    worker: str
    instance: str


def ended(exit_: Exited, lines: Sequence[str], whom: Whom, *, oom_kills: int) -> Reason:
    """Why a process that nobody stopped has ended. `oom_kills`: how many processes the system
    killed for memory while it lived."""
    proof = evidence(lines)
    names = {"worker": whom.worker, "name": whom.instance}
    if exit_.signal == "SIGKILL" and oom_kills > 0:
        return Reason("engine_oom", {**names, "signal": exit_.signal}, proof)
    if any(_OUT_OF_MEMORY.search(line) for line in lines):
        return Reason("engine_oom", {**names, "status": status(exit_)}, proof)
    if exit_.signal is not None:
        return Reason("engine_killed", {**names, "signal": exit_.signal}, proof)
    return Reason("engine_exited", {**names, "status": status(exit_)}, proof)


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


def evidence(lines: Sequence[str]) -> str:
    """The last lines of a log, short enough for a report."""
    return "\n".join(lines[-EVIDENCE_LINES:])[-EVIDENCE_CHARS:]


def masked(text: str, secrets: Iterable[str]) -> str:
    """`text` without these secrets, nor anything that looks like one."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, MASK)
    return mask_text(text)
