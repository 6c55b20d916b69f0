"""Of what a solver can place on 200 small clusters, the scheduler places nearly all.

What the solver found is kept in `optimum.json`; `tests/bench/scheduler_quality.py --write` finds it
anew.
"""

import json

import pytest

from bench import scheduler_quality as quality

OPTIMUM = {int(seed): best for seed, best in json.loads(quality.OPTIMUM.read_text()).items()}


@pytest.fixture(scope="module")
def ours():
    """What the scheduler places on each cluster."""
    return {seed: quality.ours(*quality.cluster(seed)) for seed in OPTIMUM}


def test_nearly_as_many_instances_are_placed_as_possible(ours):
    assert len(OPTIMUM) == quality.CLUSTERS
    possible = sum(instances for instances, _ in OPTIMUM.values())
    assert sum(score.instances for score in ours.values()) / possible >= quality.LIMIT


def test_never_more_is_placed_than_possible(ours):
    """Or the solver was asked another question."""
    for seed, (instances, memory) in OPTIMUM.items():
        assert ours[seed].instances <= instances + 1e-6
        assert ours[seed].memory <= memory + 1e-6


@pytest.mark.parametrize("seed", sorted(OPTIMUM, key=lambda seed: OPTIMUM[seed])[:4])
def test_what_is_kept_is_what_the_solver_finds(seed):
    assert quality.solved(seed) == pytest.approx(OPTIMUM[seed])
