"""How much memory our own processes take, without inference backends.

Limit: 250 MB resident for all of them together, ten seconds after the start. RSS counts pages that
processes share several times, PSS (Linux) once.
"""

import sys
import tempfile
import time
from pathlib import Path

import psutil
from _running import running, verdict

SETTLE_S = 10.0
LIMIT_MB = 250.0
SUPERVISOR_LIMIT_MB = 30.0
MB = 1_000_000


def main() -> int:
    """Measure and print; 1 when a limit does not hold."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as server:
        time.sleep(SETTLE_S)
        rows = [(part_of(one), *memory_mb(one)) for one in server.processes()]
    print(f"{'process':<14} {'RSS MB':>8} {'PSS MB':>8}")
    for name, rss, pss in rows:
        print(f"{name:<14} {rss:8.1f} {pss:8.1f}")
    held = verdict("all processes together, RSS", sum(row[1] for row in rows), LIMIT_MB, "MB")
    verdict("all processes together, PSS", sum(row[2] for row in rows), LIMIT_MB, "MB")
    held &= verdict("the supervisor, RSS", rows[0][1], SUPERVISOR_LIMIT_MB, "MB")
    return 0 if held else 1


def part_of(process: psutil.Process) -> str:
    """`supervisor`, or the module that the process runs."""
    words = process.cmdline()
    modules = [word for word in words if word.startswith("aimindserve.boot.")]
    return modules[0].removeprefix("aimindserve.boot.") if modules else "supervisor"


def memory_mb(process: psutil.Process) -> tuple[float, float]:
    """(resident, proportional); the second is 0 where the system does not tell."""
    full = process.memory_full_info()
    return full.rss / MB, getattr(full, "pss", 0) / MB


if __name__ == "__main__":
    sys.exit(main())
