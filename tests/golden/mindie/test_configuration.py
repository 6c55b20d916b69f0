"""Parameters -> MindIE's whole configuration, as it stands in the files beside this one.

`AIMS_WRITE_GOLDEN=1` writes them anew; look at the difference before you commit it.
"""

import json
import os
from pathlib import Path

import pytest

from aimindserve.backends._mindie_config import Serving, changes, configuration, environment
from aimindserve.backends._mindie_parameters import VOCABULARY

HERE = Path(__file__).parent
CASES = {
    "plain": (),
    "large_batch_with_swap": (
        *("--max-batch-size=512", "--max-preempt-count=8", "--cpu-mem-size=5"),
        *("--cache-block-size=64", "--max-queue-delay-microseconds=500"),
    ),
    "split_fuse": ("--enable-split", "--split-chunk-tokens=1024", "--policy-type=4"),
    "lookahead": ("--enable-lookahead", "--lookahead-level=5"),
    "prediction_with_experts": (
        *("--enable-multi-token-prediction", "--multi-token-prediction-tokens=2"),
        *("--moe-expert-parallel-size=4", "--moe-tensor-parallel-size=1"),
    ),
    "stretched_context": (
        '--rope-scaling={"type":"yarn","factor":4.0}',
        "--rope-theta=1000000",
        "--dtype=half",
        '--override-generation-config={"temperature":0.5}',
        "--enforce-eager",
        "--no-metrics",
    ),
}


def told(words):
    fields = VOCABULARY.read(words)
    serving = Serving("qwen", "/models/qwen", 40001, (0, 1, 2, 3), 8192, {"tp": 4})
    return {
        "config.json": configuration(serving, fields),
        "environment": environment("/usr/local/Ascend/mindie/latest/mindie-service", "C", fields),
        "changes": changes(fields),
    }


@pytest.mark.parametrize("name", CASES)
def test_it_is_what_it_was(name):
    text = json.dumps(told(CASES[name]), indent=1, sort_keys=True) + "\n"
    file = HERE / f"{name}.json"
    if os.environ.get("AIMS_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text
