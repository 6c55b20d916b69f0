"""The memory formulas against llama.cpp's own answers, stored; and against the engine itself, for a
few models, so that a new version of it cannot drift away unseen."""

import pytest

from aimindserve.backends.llama_cpp import PLUGIN
from aimindserve.core.facts import Options
from aimindserve.formats.llama_cpp.cache import kv_cache
from aimindserve.formats.llama_cpp.compute import compute_buffer, output_buffer
from golden.llama_cpp.answers import CLASSES, MIX, facts, facts_in, grid, stored
from golden.llama_cpp.headers import header, slugs
from golden.llama_cpp.mixes import MIXES
from golden.llama_cpp.oracle import Oracle, fields
from golden.llama_cpp.shapes import FAMILIES, draw
from unit.formats.gguf_files import sparse

ENGINE, ANSWERS = stored()
PRINTED = 11_000
"""The engine prints hundredths of a MiB, the caches of some models in two lines."""
SEEDS = range(100, 104)
ASKED = ("all-minilm-l6-v2", "gemma-3-4b-it", "gpt-oss-20b", "llama-3.2-1b", "qwen3-30b-a3b")


def predicted(found, settings):
    return (
        kv_cache(found, settings),
        compute_buffer(found, settings),
        output_buffer(found, settings),
    )


def test_every_model_that_llama_cpp_runs_was_asked_about():
    assert sorted(ANSWERS) == slugs()
    assert len(ANSWERS) >= 40


def hold(found, settings, answer):
    """Each class agrees with what the engine printed, and the whole is not below it."""
    ours = predicted(found, settings)
    assert sum(ours) >= sum(answer) - len(CLASSES) * PRINTED, settings
    for name, mine, theirs in zip(CLASSES, ours, answer, strict=True):
        assert theirs - PRINTED <= mine <= theirs * 1.02 + 2 * PRINTED, (name, settings)


@pytest.mark.parametrize("slug", slugs())
def test_formulas_are_within_two_percent_of_the_engine_and_never_below(slug):
    found = facts(slug)
    for settings, answer in zip(grid(found), ANSWERS[slug], strict=True):
        if answer is not None:
            hold(found, settings, answer)


@pytest.mark.parametrize("slug", slugs())
def test_what_the_engine_refuses_is_known_beforehand(slug):
    """Cache types that do not divide a head, and graphs for which its table is too small."""
    found = facts(slug)
    for settings, answer in zip(grid(found), ANSWERS[slug], strict=True):
        words = (
            f"--ctx-size={settings.context}",
            f"--parallel={settings.parallel}",
            f"--cache-type-k={settings.type_k}",
            f"--cache-type-v={settings.type_v}",
            *(("--kv-unified",) if settings.kv_unified else ()),
            f"--flash-attn={'on' if settings.flash_attention else 'off'}",
        )
        reason = PLUGIN.serves(found, Options(parameters=words))
        assert (reason is None) == (answer is not None), (words, reason)


@pytest.mark.parametrize("slug", FAMILIES)
def test_sizes_that_nobody_has_thought_of_are_right_as_well(slug, tmp_path):
    """Every family with other sizes, drawn anew for each seed, against the engine itself."""
    pytest.importorskip("xllamacpp", reason="the embedded engine is not installed")
    oracle, asked = Oracle(), 0
    try:
        for seed in SEEDS:
            drawn = header(slug, MIX, draw(slug, seed))
            path = sparse(tmp_path / "model.gguf", *drawn)
            found = facts_in(*drawn)
            for settings in grid(found)[seed % 5 :: 5]:
                answer = oracle.ask(path, **fields(settings))
                if "why" in answer:
                    assert "does not divide" in answer["why"], answer
                    continue
                hold(found, settings, [answer[name] for name in CLASSES])
                asked += 1
    finally:
        oracle.close()
    assert asked > len(SEEDS)


@pytest.mark.parametrize("mix", MIXES)
def test_every_tensor_is_counted_in_every_mixture(mix):
    """The engine's own count of a header's tensors, to the MiB it prints."""
    found = facts("gpt-oss-20b", mix)
    assert found.size_bytes == found.part_bytes.total
    layers = sum(found.layer_bytes) + found.token_embedding_bytes + found.output_bytes
    assert found.size_bytes == layers + 4 * found.embedding_length


@pytest.mark.parametrize("slug", ASKED)
def test_the_engine_still_says_so(slug, tmp_path):
    pytest.importorskip("xllamacpp", reason="the embedded engine is not installed")
    path = sparse(tmp_path / "model.gguf", *header(slug, MIX))
    found = facts(slug)
    oracle = Oracle()
    try:
        for settings in grid(found)[::5]:
            answer = oracle.ask(path, **fields(settings))
            assert "why" not in answer, answer
            hold(found, settings, [answer[name] for name in CLASSES])
    finally:
        oracle.close()


def test_only_architectures_that_were_compared_count_as_known():
    assert not any(facts(slug).unknown_architecture for slug in slugs())
