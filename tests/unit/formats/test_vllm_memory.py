"""vLLM's needs: against published figures, and by what each part must do when a setting changes."""

from dataclasses import replace

import pytest

from aimindserve.core.facts import ModelFacts, WeightParts
from aimindserve.formats.vllm_kv_cache import (
    Pool,
    has_pool,
    layers_of_stage,
    sequence_bytes,
    state_bytes,
    token_bytes,
)
from aimindserve.formats.vllm_memory import (
    GIB,
    MIB,
    PROCESSOR_LIBRARY_BYTES,
    Settings,
    activation_peak,
    device_needs,
    layer_peak,
    longest_context,
    processor_layer_peak,
    processor_need,
    rank_weights,
    stage_need,
)
from unit.formats.llama_facts import LLAMA_3_8B, LLAMA_31_8B, LLAMA_31_70B, llama

S = Settings(context=8192)
BERT = llama(12, 768, 3072, 12, 12, 30522, architecture="bert", context_length=512)
DEEPSEEK = llama(
    61, 7168, 18432, 128, 1, 129280, head=576, latent_length=512, rope_length=64, value_length=0
)


@pytest.mark.parametrize(
    ("facts", "ranks", "published_gib"),
    [(LLAMA_3_8B, 1, 14.96), (LLAMA_3_8B, 2, 7.48), (LLAMA_31_8B, 1, 14.99)],
)
def test_weights_are_those_of_published_logs(facts, ranks, published_gib):
    ours = rank_weights(facts, replace(S, tensor_parallel=ranks)) / GIB
    assert ours == pytest.approx(published_gib, abs=0.01)


def test_the_profiled_peak_is_not_below_the_published_one():
    # 1.26 GiB for 8,192 tokens and 256 sequences: vllm-project/vllm#10511
    ours = activation_peak(LLAMA_3_8B, replace(S, batched_tokens=8192)) / GIB
    assert 1.26 <= ours <= 1.26 * 1.05


def test_values_of_32_bit_take_twice_the_room():
    plain = Settings(8192, batched_tokens=8192, sequences=8)
    wide = replace(plain, weight_element_bytes=4)
    assert layer_peak(LLAMA_31_8B, wide) == 2 * layer_peak(LLAMA_31_8B, plain)


SMALL = llama(8, 1024, 4096, 16, 4, 32_000, context_length=8192)
WORDS = llama(8, 1024, 4096, 16, 4, 128_256, context_length=8192)
LARGE = llama(8, 2048, 8192, 32, 4, 32_000, context_length=8192)
FLAT = llama(8, 1536, 1536, 12, 12, 50_304, context_length=8192)
HUGE = llama(4, 4096, 14336, 32, 8, 32_000, context_length=8192)
MEASURED = [
    (SMALL, Settings(1024, sequences=32), 486, 80, 1399),
    (SMALL, Settings(8192, batched_tokens=8192, sequences=32), 496, 320, 1395),
    (SMALL, Settings(1024, sequences=32, weight_element_bytes=4), 971, 160, 1372),
    (WORDS, Settings(1024, sequences=128), 1264, 720, 1562),
    (LARGE, Settings(2048, batched_tokens=8192, sequences=32), 1443, 640, 1391),
    (FLAT, Settings(4096, batched_tokens=4096, sequences=16), 852, 132, 1394),
    (HUGE, Settings(2048, sequences=32), 2682, 288, 1390),
]
"""MiB of vLLM 0.32.0 on processors, tests/bench/memory_vllm.py: weights, work, runtime, each the
highest of its runs; 625 to 632 of libraries in all of them. No constant was chosen by the last."""


@pytest.mark.parametrize(("facts", "settings", "weights", "work", "runtime"), MEASURED)
def test_processors_are_claimed_what_they_were_measured_to_take(
    facts, settings, weights, work, runtime
):
    need = processor_need(facts, settings, GIB)
    assert need.weights / MIB == pytest.approx(weights, rel=0.05)
    assert need.compute / MIB == pytest.approx(work, rel=0.05)
    assert (need.runtime - PROCESSOR_LIBRARY_BYTES) / MIB == pytest.approx(runtime, rel=0.05)
    assert need.total / MIB >= weights + work + runtime + 632 + 1024


def test_a_gate_makes_two_more_rows_of_the_feed_forward_width_on_processors():
    wide = replace(SMALL, feed_forward_length=16384)
    gated = replace(wide, part_bytes=replace(wide.part_bytes, mlp=3 * 8 * 1024 * 16384 * 2))
    plain = replace(wide, part_bytes=replace(wide.part_bytes, mlp=2 * 8 * 1024 * 16384 * 2))
    more = processor_layer_peak(gated, S) - processor_layer_peak(plain, S)
    assert more == S.batched_tokens * 2 * 2 * 16384
    quantised = replace(plain, weight_bits=4)
    assert processor_layer_peak(quantised, S) == processor_layer_peak(gated, S), "the bound"


def test_a_norm_in_float32_is_the_widest_moment_of_flat_models():
    flat = llama(8, 1024, 512, 16, 4, 32_000)
    assert processor_layer_peak(flat, S) == S.batched_tokens * 1024 * (4 * 2 + 2 * 4 + 3 * 2)


def test_ranks_beyond_the_kv_heads_hold_copies():
    eight, sixteen = (
        rank_weights(LLAMA_31_70B, replace(S, tensor_parallel=ranks)) for ranks in (8, 16)
    )
    kv = LLAMA_31_70B.part_bytes.attention_kv
    cut = 2 * sixteen - eight
    whole = LLAMA_31_70B.part_bytes.replicated + 2 * 128 * 131072
    assert cut == pytest.approx(whole + kv / 8, rel=1e-3)
    pools = (Pool(8192, tensor_parallel=ranks) for ranks in (8, 16))
    assert len({token_bytes(LLAMA_31_70B, pool) for pool in pools}) == 1


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 7])
def test_stages_hold_every_layer_once(stages):
    held = [layer for stage in range(stages) for layer in layers_of_stage(80, stage, stages)]
    assert held == list(range(80))


def test_layers_left_over_avoid_the_last_stage():
    assert [len(layers_of_stage(61, stage, 4)) for stage in range(4)] == [15, 15, 16, 15]


def test_a_pipeline_has_the_vocabulary_at_its_ends():
    first, middle, last = (
        rank_weights(LLAMA_31_70B, replace(S, pipeline_parallel=3), stage) for stage in range(3)
    )
    assert first > middle - LLAMA_31_70B.size_bytes // 60
    assert last > 26 * LLAMA_31_70B.part_bytes.mlp // 80
    total = rank_weights(LLAMA_31_70B, S)
    rotary = 2 * 128 * 131072
    assert first + middle + last - 2 * rotary == pytest.approx(total, rel=1e-6)


def test_the_vocabulary_is_padded_to_64():
    odd = replace(LLAMA_3_8B, vocabulary_size=128_257)
    assert rank_weights(odd, S) > rank_weights(LLAMA_3_8B, S)


def test_tied_embeddings_are_held_at_both_ends_of_a_pipeline():
    tied = llama(16, 2048, 8192, 32, 8, 128256, tied=True)
    two = sum(rank_weights(tied, replace(S, pipeline_parallel=2), stage) for stage in range(2))
    assert two >= rank_weights(tied, S) + tied.part_bytes.embedding


def test_prediction_layers_are_not_loaded():
    parts = replace(LLAMA_3_8B.part_bytes, prediction=10 * GIB)
    facts = replace(LLAMA_3_8B, part_bytes=parts, size_bytes=parts.total)
    assert rank_weights(facts, S) == rank_weights(LLAMA_3_8B, S)


def test_float32_is_loaded_as_16_bit_unless_asked():
    stored = replace(LLAMA_3_8B, dtype="F32")
    half = rank_weights(stored, S)
    assert rank_weights(stored, replace(S, weight_element_bytes=4)) > 1.9 * half


def test_quantised_weights_weigh_what_the_file_says():
    packed = replace(LLAMA_3_8B, dtype="F32", weight_bits=4)
    assert rank_weights(packed, S) > LLAMA_3_8B.size_bytes * 0.99


def test_one_token_of_cache():
    assert token_bytes(LLAMA_31_8B, Pool(8192)) == 32 * 8 * 2 * 128 * 2
    assert token_bytes(LLAMA_31_8B, Pool(8192, element_bytes=1)) == 32 * 8 * 2 * 128
    # A latent vector and its rotary part; whole on every rank.
    for ranks in (1, 8):
        assert token_bytes(DEEPSEEK, Pool(8192, tensor_parallel=ranks)) == 61 * 576 * 2


def test_a_sequence_is_rounded_up_to_blocks():
    every = range(32)
    one = sequence_bytes(LLAMA_31_8B, Pool(1), every)
    assert one == sequence_bytes(LLAMA_31_8B, Pool(16), every) == 16 * 131072
    assert sequence_bytes(LLAMA_31_8B, Pool(17), every) == 2 * one


def test_windows_are_kept_only_as_far_as_they_reach():
    window = replace(
        LLAMA_31_8B, sliding_window=1024, sliding_layers=tuple(at % 4 != 3 for at in range(32))
    )
    full = sequence_bytes(LLAMA_31_8B, Pool(131072), range(32))
    sliding = sequence_bytes(window, Pool(131072), range(32))
    held = (1023 + 2 * 2048 + 15) // 16 + 1
    assert sliding == full // 4 + 24 * held * 16 * 4096
    # A short context is held whole, and a block more for a window that begins inside one.
    assert sequence_bytes(window, Pool(512), range(32)) == (8 * 32 + 24 * 33) * 16 * 4096


def test_unequal_kinds_of_layers_are_padded_to_groups():
    ten_full = tuple(at % 6 != 5 for at in range(62))
    gemma = replace(LLAMA_31_8B, layer_count=62, sliding_window=1024, sliding_layers=ten_full)
    exact = 10 * 512 + 52 * 321
    ours = sequence_bytes(gemma, Pool(8192), range(62)) / (16 * 4096)
    assert ours == 10 * 512 + 60 * 321 > exact


def test_recurrent_state_is_cut_over_ranks_and_counts_once_a_sequence():
    mamba = ModelFacts(
        "safetensors",
        "mamba2",
        GIB,
        layer_count=64,
        recurrent_layer_count=64,
        recurrent_conv_elements=64 * 1000,
        recurrent_state_elements=64 * 10_000,
    )
    assert has_pool(mamba)
    state = state_bytes(mamba, Pool(8192))
    assert state == 1000 * 2 + 10_000 * 4
    assert state_bytes(mamba, Pool(8192, tensor_parallel=2)) == state // 2
    short, long = (sequence_bytes(mamba, Pool(size), range(64)) for size in (1024, 131072))
    assert short == long == 2 * 64 * state
    few, many = (stage_need(mamba, replace(S, sequences=n), 0).kv_cache for n in (1, 512))
    assert many > few


def test_encoders_keep_no_cache():
    assert not has_pool(BERT)
    need = stage_need(BERT, replace(S, context=512), 0)
    assert need.kv_cache == 0
    assert 0 < need.compute < GIB


def test_more_of_anything_never_needs_less():
    least = stage_need(LLAMA_31_8B, S, 0).total
    for change in ({"context": 16384}, {"room": 2}, {"batched_tokens": 8192}, {"sequences": 512}):
        assert stage_need(LLAMA_31_8B, replace(S, **change), 0).total > least, change
    for change in ({"cache_element_bytes": 1}, {"eager": True}, {"context": 4096}):
        assert stage_need(LLAMA_31_8B, replace(S, **change), 0).total < least, change


def test_devices_come_stage_by_stage():
    needs = device_needs(LLAMA_31_70B, replace(S, tensor_parallel=2, pipeline_parallel=3))
    assert len(needs) == 6
    assert needs[0] == needs[1]
    assert needs[2] == needs[3] != needs[0]


def test_the_longest_context_is_the_longest():
    share = int(24 * GIB * 0.9)
    wide = replace(S, context=131072, sequences=32)
    found = longest_context(LLAMA_31_8B, wide, share)
    assert 8192 < found < 131072

    def fits(context):
        return stage_need(LLAMA_31_8B, replace(wide, context=context), 0).total <= share

    assert fits(found)
    assert not fits(found + 1)
    assert longest_context(LLAMA_31_8B, wide, 8 * GIB) == 0
    assert longest_context(LLAMA_31_8B, wide, 80 * GIB) == 131072


def test_pictures_are_priced_and_can_be_switched_off():
    parts = replace(LLAMA_3_8B.part_bytes, vision=GIB)
    seeing = replace(
        LLAMA_3_8B,
        part_bytes=parts,
        size_bytes=parts.total,
        vision=True,
        vision_embedding_length=1280,
    )
    blind = stage_need(seeing, replace(S, text_only=True), 0)
    need = stage_need(seeing, S, 0)
    assert need.projector == GIB
    assert need.compute > blind.compute
    assert blind.projector == 0
    assert need.weights == stage_need(LLAMA_3_8B, S, 0).weights == blind.weights


def test_experts_count_with_what_each_gives_back():
    dense = activation_peak(LLAMA_3_8B, replace(S, batched_tokens=8192, sequences=1))
    experts = replace(
        LLAMA_3_8B, expert_count=64, expert_used_count=8, expert_feed_forward_length=4096
    )
    assert activation_peak(experts, replace(S, batched_tokens=8192, sequences=1)) > dense


def test_processors_hold_exactly_the_cache_they_are_given():
    need = processor_need(LLAMA_3_8B, S, 3 * GIB)
    assert need.kv_cache == 3 * GIB
    assert processor_need(BERT, S, 3 * GIB).kv_cache == 0


def test_a_model_of_which_only_the_size_is_known_is_cut_evenly():
    facts = ModelFacts("safetensors", "whatever", 10 * GIB, part_bytes=WeightParts())
    assert rank_weights(facts, replace(S, tensor_parallel=4)) == 10 * GIB // 4
