"""`python -m aimindserve.sim SEED [--scenario NAME]`: do one run again and say how it went."""

import argparse
import sys
import time

from aimindserve.sim.run import run
from aimindserve.sim.scenario import scenarios


def main() -> int:
    """0 when every invariant held."""
    parser = argparse.ArgumentParser(prog="python -m aimindserve.sim", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--scenario", default="storm", choices=list(scenarios()))
    wanted = parser.parse_args()
    began = time.perf_counter()
    outcome = run(wanted.seed, wanted.scenario)
    real_s = time.perf_counter() - began
    say = sys.stdout.write
    say(f"seed {outcome.seed}, scenario {outcome.scenario}: {outcome.workers} workers, ")
    say(f"{outcome.instances} instances, {outcome.virtual_s:.0f} virtual s in {real_s:.1f} s\n")
    say(f"trace {outcome.trace_hash} ({outcome.lines} lines)\n")
    if outcome.failure:
        say("\n".join(["...", *outcome.newest, "", f"FAILED: {outcome.failure}", ""]))
        say(f"replay: {outcome.replay}\n")
        return 1
    say(f"all invariants held; settled {outcome.settled_after_s:.0f} s after the last fault\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
