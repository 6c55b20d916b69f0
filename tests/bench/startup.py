"""How long people wait: `aimindserve --version`, and a cold start until `/readyz` answers.

Limits: 150 ms and 2 s on an idle machine with two cores. Each start is a first one, on an empty
directory: database, secrets and administrator are made in it.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _running import running, verdict

VERSIONS = 15
STARTS = 5
VERSION_LIMIT_MS = 150.0
READY_LIMIT_MS = 2000.0


def main() -> int:
    """Measure and print; 1 when a limit does not hold."""
    times = [version_ms() for _ in range(VERSIONS)]
    held = verdict(
        "aimindserve --version, median", statistics.median(times), VERSION_LIMIT_MS, "ms"
    )
    first, again = [], []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as folder:
            with running(Path(folder)) as server:
                first.append(server.ready_s * 1000)
            with running(Path(folder)) as server:
                again.append(server.ready_s * 1000)
    held &= verdict(
        "first start until /readyz, median", statistics.median(first), READY_LIMIT_MS, "ms"
    )
    held &= verdict(
        "later start until /readyz, median", statistics.median(again), READY_LIMIT_MS, "ms"
    )
    print(f"slowest: first {max(first):.0f} ms, later {max(again):.0f} ms, of {STARTS} each")
    return 0 if held else 1


def version_ms() -> float:
    """One run of `--version`."""
    began = time.perf_counter()
    command = [Path(sys.executable).with_name("aimindserve"), "--version"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    sys.exit(main())
