"""How fast simulated time passes: `python tests/bench/simulation.py`."""

import time

from aimindserve.sim.run import run

RUNS = (("calm", 1), ("storm", 1), ("blackout", 1), ("large", 1))


def main():
    print(f"{'scenario':10} {'workers':>8} {'virtual s':>10} {'CPU s':>8} {'virtual/CPU':>12}")
    for scenario, seed in RUNS:
        began = time.process_time()
        outcome = run(seed, scenario)
        cpu_s = time.process_time() - began
        numbers = f"{outcome.workers:8} {outcome.virtual_s:10.0f} {cpu_s:8.1f}"
        failed = f"  FAILED: {outcome.failure}" if outcome.failure else ""
        print(f"{scenario:10} {numbers} {outcome.virtual_s / cpu_s:11.0f}x{failed}")


if __name__ == "__main__":
    main()
