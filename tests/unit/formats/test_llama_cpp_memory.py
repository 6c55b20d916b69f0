"""The formulas against what llama.cpp itself reported at load; see tests/bench/memory_llama_cpp.py,
which measures again. MiB, from the engine's log."""

from dataclasses import replace

import pytest

from aimindserve.core.facts import Category, ModelFacts
from aimindserve.formats.llama_cpp import memory
from aimindserve.formats.llama_cpp.cache import kv_cache
from aimindserve.formats.llama_cpp.compute import compute_buffer, output_buffer
from aimindserve.formats.llama_cpp.memory import MIB
from aimindserve.formats.llama_cpp.settings import Settings, cells

SMOLLM2 = ModelFacts(
    format="gguf",
    architecture="llama",
    size_bytes=96_576_768,
    quantization="Q4_1",
    context_length=8192,
    layer_count=30,
    embedding_length=576,
    feed_forward_length=1536,
    vocabulary_size=49_152,
    head_count=9,
    head_count_kv=(3,),
    key_length=64,
    value_length=64,
    rope_length=64,
    token_embedding_bytes=30_081_024,
    layer_bytes=(2_216_448,) * 30,
    categories=(Category.LLM,),
)


def gemma(layers=12):
    """The shape of a Gemma 3 with every sixth layer seeing everything."""
    return replace(
        SMOLLM2,
        architecture="gemma3",
        layer_count=layers,
        embedding_length=1152,
        feed_forward_length=6912,
        vocabulary_size=32_000,
        head_count=4,
        head_count_kv=(1,),
        key_length=256,
        value_length=256,
        sliding_window=512,
        sliding_layers=tuple(index % 6 < 5 for index in range(layers)),
        layer_bytes=(),
    )


REPORTED = [
    # settings, KV cache, compute buffer, output buffer
    (Settings(512), 11.25, 15.14, 0.19),
    (Settings(2048), 45.0, 16.64, 0.19),
    (Settings(8192), 180.0, 22.64, 0.19),
    (Settings(8192, parallel=4), 180.0, 16.64, 0.75),
    (Settings(8192, parallel=8), 180.0, 15.64, 1.5),
    (Settings(32768, parallel=4), 720.0, 22.64, 0.75),
    (Settings(8192, flash_attention=False), 180.0, 167.51, 0.19),
    (Settings(8192, parallel=4, flash_attention=False), 180.0, 47.51, 0.75),
    (Settings(8192, type_k="q8_0", type_v="q8_0"), 95.62, 22.67, 0.19),
    (Settings(8192, ubatch=128), 180.0, 5.66, 0.19),
    (Settings(8192, ubatch=1024), 180.0, 45.29, 0.19),
    (Settings(8192, parallel=4, ubatch=2048), 180.0, 66.57, 0.75),
]


@pytest.mark.parametrize(("settings", "kv", "compute", "output"), REPORTED)
def test_smollm2_takes_what_llama_cpp_reported(settings, kv, compute, output):
    assert kv_cache(SMOLLM2, settings) / MIB == pytest.approx(kv, abs=0.01)
    assert output_buffer(SMOLLM2, settings) / MIB == pytest.approx(output, abs=0.01)
    predicted = compute_buffer(SMOLLM2, settings) / MIB
    assert compute - 0.005 <= predicted <= compute * 1.005


@pytest.mark.parametrize(
    ("settings", "kv", "compute"),
    [
        (Settings(512), 6.0, 52.78),
        (Settings(8192), 26.0, 60.78),
        (Settings(8192, parallel=2, flash_attention=False), 36.0, 63.77),
    ],
)
def test_windows_keep_only_the_window(settings, kv, compute):
    assert kv_cache(gemma(), settings) / MIB == pytest.approx(kv, abs=0.01)
    predicted = compute_buffer(gemma(), settings) / MIB
    assert compute - 0.005 <= predicted <= compute * 1.005


def test_a_window_may_be_kept_whole():
    whole = kv_cache(gemma(), Settings(8192, swa_full=True))
    assert whole == 12 * 8192 * 1024


def test_contexts_are_rounded_as_llama_cpp_does():
    assert cells(Settings(1000, parallel=3)) == (512, 3)
    assert cells(Settings(1000, parallel=3, kv_unified=True)) == (1024, 1)


def test_everything_is_in_the_ram_without_a_device():
    need = memory.need(SMOLLM2, Settings(8192, parallel=4))
    assert need.devices == ()
    assert need.ram.weights == SMOLLM2.size_bytes
    assert need.ram.kv_cache == 180 * MIB
    measured_rss = 347 * MIB  # under load
    assert measured_rss <= need.ram.total <= measured_rss * 1.10


def test_a_full_context_without_flash_attention_takes_what_was_measured():
    settings = Settings(4096, flash_attention=False)
    measured_rss = 357.3 * MIB  # with all of the slot in use: scores, and a 16-bit copy of them
    total = memory.need(SMOLLM2, settings).ram.total
    assert measured_rss <= total <= measured_rss * 1.10


NORM = 8 * 576
"""The norm before the output goes where the output goes."""


def test_layers_move_to_the_device_with_their_cache_the_output_first():
    settings = Settings(8192)
    host = memory.need(SMOLLM2, settings)
    half = memory.need(SMOLLM2, settings, 16)
    tied = SMOLLM2.token_embedding_bytes
    assert half.devices[0].weights == 15 * 2_216_448 + tied + NORM
    assert half.devices[0].kv_cache == half.ram.kv_cache == 90 * MIB
    assert half.devices[0].weights - tied - NORM + half.ram.weights == host.ram.weights
    assert memory.need(SMOLLM2, settings, 1).devices[0].weights == tied + NORM
    full = memory.need(SMOLLM2, settings, 31)
    assert full.devices[0].kv_cache == 180 * MIB
    assert full.ram.kv_cache == 0
    assert full.ram.compute < half.ram.compute
    # Tied embeddings are needed on both sides.
    assert full.devices[0].weights == 30 * 2_216_448 + tied + NORM
    assert full.ram.weights >= tied


def test_the_cache_may_stay_on_the_host():
    kept = memory.need(SMOLLM2, Settings(8192, kv_offload=False), 31)
    assert kept.devices[0].kv_cache == 0
    assert kept.ram.kv_cache == 180 * MIB


def test_several_devices_hold_copies_of_what_passes_between_them():
    _, alone = memory.on_devices(SMOLLM2, Settings(8192), partial=False)
    base, several = memory.on_devices(SMOLLM2, Settings(8192), partial=False, devices_max=4)
    assert several.overhead.compute > alone.overhead.compute
    assert several.device == alone.device
    assert len(several.device) == len(several.host) == several.least == 31
    assert base.kv_cache == 0


def test_layers_that_only_predict_take_nothing_but_count():
    predicting = replace(SMOLLM2, prediction_layer_count=1)
    _, layers = memory.on_devices(predicting, Settings(8192), partial=True)
    assert len(layers.device) == 32
    assert layers.device[30].total == 0
    assert layers.device[31].weights


def test_rearranged_weights_are_counted():
    q4 = replace(SMOLLM2, quantization="Q4_0")
    plain = memory.need(SMOLLM2, Settings(512)).ram.weights
    assert memory.need(q4, Settings(512)).ram.weights == plain + q4.token_embedding_bytes
    mapped = memory.need(q4, Settings(512, mmap=True)).ram.weights
    assert mapped == pytest.approx(2 * plain, rel=1e-4)
    assert memory.need(q4, Settings(512, repack=False)).ram.weights == plain


def test_an_encoder_has_no_cache_and_an_output_per_token_without_pooling():
    bert = replace(SMOLLM2, architecture="bert", categories=(Category.EMBEDDING,))
    settings = Settings(512, ubatch=512, batch=512, embedding=True)
    need = memory.need(bert, settings)
    assert need.ram.kv_cache == 0
    assert output_buffer(bert, settings) == 4 * 512 * (49_152 + 576)
    assert output_buffer(replace(bert, pooling="mean"), settings) == 4 * (49_152 + 576)


def test_latent_attention_keeps_keys_only():
    mla = replace(SMOLLM2, head_count_kv=(1,), key_length=576, value_length=0, layer_count=1)
    assert kv_cache(mla, Settings(256)) == 256 * 576 * 2


def test_recurrent_state_is_per_slot():
    hybrid = replace(SMOLLM2, head_count_kv=(0,) * 30, recurrent_bytes=1_000_000)
    assert kv_cache(hybrid, Settings(1024, parallel=3)) == 3_000_000


def test_the_prompt_cache_and_saved_states_are_claimed():
    base = memory.need(gemma(), Settings(8192, parallel=2)).ram.kv_cache
    more = memory.need(
        gemma(), Settings(8192, parallel=2, cache_ram_bytes=7 * MIB, checkpoints=3)
    ).ram.kv_cache
    assert more - base == 7 * MIB + 10 * 512 * 1024 * 3 * 2


def test_more_of_anything_never_takes_less():
    base = Settings(4096, parallel=2)
    total = memory.need(SMOLLM2, base).ram.total
    for change in (
        {"context": 8192},
        {"ubatch": 1024},
        {"type_k": "f32"},
        {"flash_attention": False},
        {"embedding": True},
        {"cache_ram_bytes": 1},
    ):
        assert memory.need(SMOLLM2, replace(base, **change)).ram.total > total, change
