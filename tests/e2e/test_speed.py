"""How fast a model answers, learned from the real engine's own counters and told by a preview."""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from e2e.system import System, eventually, running

MODEL = "smollm2"
WORDS = ("--ctx-size=1024", "--parallel=2")
LENGTHS = (1, 40, 30, 20)


@pytest.fixture(scope="module")
def system(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("speed") / "data") as found:
        found.deploy(MODEL, sample_model, backend_parameters=list(WORDS))
        yield found


def timings(system: System, length: int) -> dict[str, Any]:
    """What llama.cpp itself says of the time that one answer took."""
    status, answer = system.chat(MODEL, "Tell me a story about a fox.", max_tokens=length)
    assert status == 200, answer
    return answer["timings"]


def expected(system: System, path: Path) -> dict[str, Any]:
    spec = {
        "model": {"source": "local", "path": str(path)},
        "backend_parameters": list(WORDS),
    }
    status, answer = system.request("POST", "/api/v1/fit", {"spec": spec, "name": MODEL})
    assert status == 200, answer
    return answer["placements"][0]["expect"]


@pytest.fixture(scope="module")
def told(system: System, sample_model: Path) -> list[dict[str, Any]]:
    """What the engine said of each request there has been."""
    first = eventually(lambda: timings(system, 1), within_s=90, what="the first answer")
    assert expected(system, sample_model)["tokens_s"] is None
    return [first, *(timings(system, length) for length in LENGTHS)]


def test_a_preview_tells_the_speed_that_the_engine_told_each_request(
    system: System, sample_model: Path, told: list[dict[str, Any]]
) -> None:
    # An answer's first token comes out of reading the prompt: llama.cpp's own rate is without it.
    tokens = list(accumulate(each["predicted_n"] - 1 for each in told))
    seconds = list(accumulate(each["predicted_ms"] / 1000 for each in told))
    assert tokens[-1] >= 64

    def known() -> dict[str, Any] | None:
        found = expected(system, sample_model)
        return found if found["tokens_s"] else None

    found = eventually(known, within_s=120, what="a speed")
    assert (found["tokens_source"], found["starts"]) == ("same", 1)
    at = tokens.index(found["tokens"])  # it may have been written down before the last answer
    assert found["tokens_s"] == pytest.approx(tokens[at] / seconds[at], rel=0.02, abs=0.06)


def test_people_see_it(system: System, sample_model: Path, told: list[dict[str, Any]]) -> None:
    words = ("-P", "ctx-size=1024", "-P", "parallel=2")
    fit = system.cli("fit", str(sample_model), "--name", MODEL, *words)
    assert fit.returncode == 0, fit.stderr
    assert "tokens/s for one request" in fit.stdout
    assert '"tokens_s": ' in system.cli("estimates", "-o", "json").stdout
    (instance,) = system.instances(MODEL)
    name = instance["metadata"]["name"]
    tokens = sum(each["predicted_n"] - 1 for each in told)

    def complete() -> bool:
        seen = system.get("instances", name)["status"]["observed"]
        return seen["generated_tokens"] == tokens

    eventually(complete, within_s=60, what="all that was generated")
    assert f"({tokens} tokens of this run)" in system.cli("describe", name).stdout
