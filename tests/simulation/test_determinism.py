"""The same seed is the same run: in another process, with another hash seed, at any size."""

import os
import re
import subprocess
import sys

import pytest


def begin(seed, scenario, hash_seed):
    return subprocess.Popen(
        [sys.executable, "-m", "aimindserve.sim", str(seed), "--scenario", scenario],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        stdout=subprocess.PIPE,
        text=True,
    )


def end(process):
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    return re.search(r"trace ([0-9a-f]{64})", out).group(1), out


@pytest.mark.timeout(700)
@pytest.mark.parametrize(
    ("seed", "scenario"), [(104, "storm"), pytest.param(1, "large", marks=pytest.mark.slow)]
)
def test_two_processes_have_the_same_run(seed, scenario):
    runs = [begin(seed, scenario, hash_seed) for hash_seed in (1, 2)]
    (first, out), (second, _) = (end(each) for each in runs)
    assert first == second
    if scenario == "large":
        assert "200 workers, 500 instances" in out


def test_another_seed_is_another_run():
    runs = [begin(seed, "calm", 0) for seed in (1, 2)]
    (first, _), (second, _) = (end(each) for each in runs)
    assert first != second
