"""What llama.cpp itself says it would take: a dry run of the embedded engine on a header.

The engine is told not to allocate (`no_alloc`) and given a projector that does not exist: it reads
the header, plans every buffer, prints the sizes, and refuses to go on, in 20 to 60 ms, without a
weight being read. Run as a program, this file is the child in which that happens (`python
oracle.py`, one JSON question a line, one JSON answer a line): the engine writes its report to
standard error, and ends the process on a header it cannot make sense of.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1024**2
_CACHE = re.compile(r"(?:llama_kv_cache\w*|llama_memory_recurrent): size = +([\d.]+) MiB")
_COMPUTE = re.compile(r"sched_reserve: +(\S+) compute buffer size = +([\d.]+) MiB")
_OUTPUT = re.compile(r"(\S+) +output buffer size = +([\d.]+) MiB")
_LAST = "exiting due to"
_TABLE = re.compile(r"\| +- (\S+) +\|.*= +(\d+) \+ +(\d+) \+ +(\d+)")


def fields(settings):
    """The engine's parameters for what the formulas call Settings."""
    flash = "ENABLED" if settings.flash_attention else "DISABLED"
    return {
        "n_ctx": settings.context,
        "n_parallel": settings.parallel,
        "n_batch": settings.batch,
        "n_ubatch": settings.ubatch,
        "cache_type_k": f"ggml_type.GGML_TYPE_{settings.type_k.upper()}",
        "cache_type_v": f"ggml_type.GGML_TYPE_{settings.type_v.upper()}",
        "flash_attn_type": f"llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_{flash}",
        "kv_unified": settings.kv_unified,
        "swa_full": settings.swa_full,
        "embedding": settings.embedding,
    }


class Oracle:
    """A child process that answers; started again when a question kills it."""

    def __init__(self):
        self._child = None

    def ask(self, path, **fields):
        """Bytes by class: `cache`, `compute`, `output`, and `weights` with `fit_params=True`.
        None when the engine refuses the header or the settings; `why` says why."""
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "GGML_NO_BACKTRACE": "1"},
            )
        self._child.stdin.write(json.dumps({"path": str(path), "fields": fields}) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if line:
            return json.loads(line)
        self.close()
        return {"why": "the engine ended itself"}

    def close(self):
        """End the child."""
        if self._child is not None:
            self._child.communicate(timeout=10)
            self._child = None


def _serve():
    import xllamacpp

    answers = os.fdopen(os.dup(1), "w")  # a crash report of the engine goes to standard output
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        for line in sys.stdin:
            os.ftruncate(2, 0)
            os.lseek(2, 0, os.SEEK_SET)
            question = json.loads(line)
            _dry_run(xllamacpp, question["path"], question["fields"])
            print(json.dumps(_read(_report())), file=answers, flush=True)


def _dry_run(xllamacpp, path, fields):
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.no_alloc = True
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.fit_params = False
    params.warmup = False
    params.verbosity = 4
    params.mmproj.path = str(Path(path).with_name("there-is-no-projector"))
    for key, value in fields.items():
        named = value.partition(".") if isinstance(value, str) else None
        setattr(params, key, getattr(getattr(xllamacpp, named[0]), named[2]) if named else value)
    with contextlib.suppress(RuntimeError):
        xllamacpp.Server(params)


def _report():
    """The engine's log, whole: a thread of its own writes it."""
    for _ in range(1000):
        report = os.pread(2, os.fstat(2).st_size, 0).decode(errors="replace")
        if _LAST in report:
            return report
        time.sleep(0.005)
    return report


def _read(report):
    table = _TABLE.findall(report)
    if table:  # printed before the run proper, which reports all the rest a second time
        report = report[report.rindex("memory breakdown") :]
    compute = _COMPUTE.findall(report)
    if not compute:
        words = [line for line in report.splitlines() if " E " in line and "projector" not in line]
        return {"why": words[0][:300] if words else report[-300:]}
    answer = {
        "cache": sum(float(size) for size in _CACHE.findall(report)),
        "compute": sum(float(size) for _, size in compute),
        "output": sum(float(size) for _, size in _OUTPUT.findall(report)),
    }
    if table:
        answer["weights"] = sum(int(model) for _, model, _, _ in table)
    return {key: round(size * MIB) for key, size in answer.items()}


if __name__ == "__main__":
    _serve()
