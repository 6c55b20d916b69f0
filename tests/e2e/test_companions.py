"""Files beside a model, on the real engine: an adapter, and a model that drafts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.system import System, eventually, running
from unit.formats import gguf_files

LAYERS, WIDTH = 30, 576
RANK = 16
LORA_BYTES = LAYERS * 2 * WIDTH * RANK * 2


@pytest.fixture(scope="module")
def folder(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample model, the same once more to draft, and an adapter that changes nothing."""
    place = tmp_path_factory.mktemp("beside")
    for name in ("model.gguf", "draft.gguf"):
        (place / name).symlink_to(sample_model)
    metadata = {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 16.0,
    }
    halves = [
        (f"blk.{layer}.attn_q.weight.lora_{half}", shape, "F16")
        for layer in range(LAYERS)
        for half, shape in (("a", (WIDTH, RANK)), ("b", (RANK, WIDTH)))
    ]
    gguf_files.sparse(place / "adapter.gguf", metadata, halves)
    return place


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("companions") / "data") as found:
        yield found


def placed_ram(system: System, name: str) -> dict[str, int]:
    (instance,) = system.instances(name)
    (rank,) = instance["status"]["placement"]["ranks"]
    return rank["ram"]


def fit(system: System, spec: dict[str, Any]) -> dict[str, Any]:
    status, answer = system.request("POST", "/api/v1/fit", {"spec": spec})
    assert status == 200, answer
    return answer


def test_it_answers_with_an_adapter_and_a_draft_and_both_are_claimed(
    system: System, folder: Path
) -> None:
    words = ("--ctx-size=1024", "--parallel=1")
    path = folder / "model.gguf"
    system.deploy("plain", path, backend_parameters=words)
    system.wait_ready("plain")
    beside = ("--lora=adapter.gguf", "--model-draft=draft.gguf", "--draft-max=4", "--verbosity=4")
    system.deploy("helped", path, backend_parameters=[*words, *beside])
    system.wait_ready("helped")
    plain, helped = placed_ram(system, "plain"), placed_ram(system, "helped")
    assert helped["weights"] - plain["weights"] == LORA_BYTES
    assert helped["draft"] > plain["weights"] + plain["kv_cache"]
    question = "What is the capital of France?"
    status, answer = system.chat("helped", question, max_tokens=24)
    assert status == 200, answer
    # An adapter of zeros and proposals that are checked change no word.
    _, without = system.chat("plain", question, max_tokens=24)
    said = answer["choices"][0]["message"]["content"]
    assert said == without["choices"][0]["message"]["content"]
    assert answer["timings"]["draft_n"] > 0
    (instance,) = system.instances("helped")
    path_of_log = f"/api/v1/instances/{instance['metadata']['name']}/logs?tail=5000&q=lora"
    assert "loaded 60 tensors from lora file" in str(system.request("GET", path_of_log)[1])


def test_what_is_not_there_is_told_before_anything_starts(system: System, folder: Path) -> None:
    model = {"source": "local", "path": str(folder / "model.gguf")}
    answer = fit(system, {"model": model, "backend_parameters": ["--lora=gone.gguf"]})
    assert answer["verdict"] == "no"
    assert "there is adapter.gguf" in answer["reason"]["message"]
    system.deploy("lost", model["path"], backend_parameters=["--lora", "gone.gguf"])
    why = eventually(
        lambda: (told := system.cli("why", "lost").stdout) and "gone.gguf" in told and told,
        within_s=20,
        what="the reason",
    )
    assert "--lora gone.gguf" in why
