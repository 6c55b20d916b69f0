"""Every scenario gives the plan that is written beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from golden.scheduler import scenario


@pytest.mark.parametrize("name", scenario.names())
def test_the_plan_is_the_one_written_down(name):
    expected = (scenario.HERE / f"{name}.plan.txt").read_text(encoding="utf-8")
    assert scenario.render(name) == expected, (
        "the plan differs; scenario.py says how to write it anew if that is wanted"
    )


def test_another_process_with_another_hash_seed_plans_the_same():
    root = Path(__file__).resolve().parents[3]
    code = (
        "from golden.scheduler import scenario\n"
        "print(''.join(scenario.render(name) for name in scenario.names()), end='')"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={
                **os.environ,
                "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root / 'tests'}",
                "PYTHONHASHSEED": seed,
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "4711")
    }
    assert outputs == {"".join(scenario.render(name) for name in scenario.names())}
