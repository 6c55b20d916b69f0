"""Many small clusters with everything going wrong: every invariant holds, in each of them.

A failing seed says what broke and how to see it again; it belongs into `SEEDS_KEPT` for ever.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from aimindserve.sim.run import run

SEEDS = range(50)
SEEDS_KEPT: tuple[int, ...] = ()
BLACKOUTS = range(6)
WAYS = range(6)
RUNS = [
    *(("storm", seed) for seed in (*SEEDS, *SEEDS_KEPT)),
    *(("blackout", seed) for seed in BLACKOUTS),
    *(("ways", seed) for seed in WAYS),
    ("calm", 0),
]


def one(scenario, seed):
    return run(seed, scenario)


@pytest.fixture(scope="module")
def outcomes():
    """All runs, begun at once on as many processes as there are cores."""
    processes = min(os.cpu_count() or 1, 8)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        yield {each: pool.submit(one, *each) for each in RUNS}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("scenario", "seed"), RUNS, ids=str)
def test_every_invariant_holds(outcomes, scenario, seed):
    outcome = outcomes[scenario, seed].result()
    if outcome.failure:
        lines = "\n".join(outcome.newest)
        pytest.fail(f"{lines}\n\n{outcome.failure}\nreplay: {outcome.replay}", pytrace=False)
    assert outcome.lines > 100
    assert outcome.virtual_s > 100.0
