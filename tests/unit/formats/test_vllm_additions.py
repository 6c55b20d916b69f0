"""What proposes tokens, and room for adapters."""

from dataclasses import replace

import pytest

from aimindserve.core.facts import ModelFacts, WeightParts
from aimindserve.formats.vllm_additions import Adapters, Proposals, adapter_bytes
from aimindserve.formats.vllm_memory import Settings, device_needs, host_need, stage_need
from unit.formats.llama_facts import LLAMA_31_8B, LLAMA_31_70B, llama

WORDS = 2 * (128_256 + 4096)
"""Lengths of the embedding and of the output of Llama 3."""
EAGLE = llama(1, 4096, 14336, 32, 8, 128256, architecture_class="LlamaForCausalLMEagle3")
GIB = 1024**3


def test_an_adapter_of_all_products_has_as_many_parameters_as_published():
    """41,943,040 of Llama 3 8B with rank 16, as PEFT's `print_trainable_parameters` counts them."""
    found = adapter_bytes(LLAMA_31_8B, Adapters(count=1, rank=16), 1, 32)
    assert found == 2 * (41_943_040 + 16 * WORDS)


def test_one_half_of_each_adapter_is_cut_over_the_ranks_or_both():
    whole, half = (adapter_bytes(LLAMA_31_70B, Adapters(4, 64), ranks, 80) for ranks in (1, 2))
    sharded = adapter_bytes(LLAMA_31_70B, Adapters(4, 64, sharded=True), 2, 80)
    words = 4 * 64 * 2 * 2 * (128_256 + 8192)
    assert whole / 2 < half < whole
    assert sharded - words == (whole - words) // 2


def test_room_is_reserved_whatever_is_loaded():
    plain, room = Settings(8192), replace(Settings(8192), adapters=Adapters(8, 64, held=16))
    grown = stage_need(LLAMA_31_8B, room, 0).weights - stage_need(LLAMA_31_8B, plain, 0).weights
    assert grown == 8 * 64 * 2 * (41_943_040 // 16 + WORDS)
    held = host_need(LLAMA_31_8B, room, 1).weights
    assert held == 2 * grown
    assert host_need(LLAMA_31_8B, room, 2).weights == 2 * held


@pytest.mark.parametrize("experts", [0, 8])
def test_experts_have_adapters_each(experts):
    facts = replace(
        LLAMA_31_8B, expert_count=experts, expert_feed_forward_length=1024, feed_forward_length=0
    )
    per_layer = 2 * (4096 + 4096) + 2 * (4096 + 1024) + experts * 3 * (4096 + 1024)
    assert adapter_bytes(facts, Adapters(1, 8), 1, 1) == 2 * 8 * (per_layer + WORDS)


def test_a_draft_is_on_the_last_stage_with_a_cache_of_its_own():
    proposals = Proposals(tokens=3, draft=EAGLE)
    settings = Settings(8192, tensor_parallel=2, pipeline_parallel=2, proposals=proposals)
    needs = device_needs(LLAMA_31_8B, settings)
    plain = device_needs(LLAMA_31_8B, replace(settings, proposals=Proposals()))
    assert [need.draft for need in needs[:2]] == [0, 0]
    assert needs[2].draft == pytest.approx(EAGLE.size_bytes / 2, rel=0.03)
    token = 2 * 8 * 128 * 2 // 2
    assert needs[2].kv_cache - plain[2].kv_cache == 8192 * token
    assert needs[0].kv_cache == plain[0].kv_cache


def predicting(layers) -> ModelFacts:
    """DeepSeek's way: latent attention, experts, layers that predict."""
    parts = replace(LLAMA_31_8B.part_bytes, prediction=layers * 4 * GIB)
    return replace(
        LLAMA_31_8B,
        part_bytes=parts,
        prediction_layer_count=layers,
        latent_length=512,
        rope_length=64,
        key_length=576,
        value_length=0,
    )


def test_the_models_own_layers_are_loaded_only_to_predict():
    facts = predicting(1)
    plain, with_them = Settings(4096, tensor_parallel=4), Proposals(tokens=1, predicts=True)
    need = stage_need(facts, replace(plain, proposals=with_them), 0)
    assert stage_need(facts, plain, 0).draft == 0
    joins = 2 * 4096**2 * 2
    assert need.draft == joins + (4 * GIB - joins) // 4
    one_layer = 4096 * 576 * 2  # latent vectors are whole on each rank
    assert need.kv_cache - stage_need(facts, plain, 0).kv_cache == one_layer


def test_every_proposed_token_is_scored():
    facts = replace(LLAMA_31_8B, part_bytes=WeightParts(), size_bytes=GIB)
    one = Settings(8192, batched_tokens=8192, sequences=256)
    four = replace(one, proposals=Proposals(tokens=3, draft=EAGLE))
    scores = 40 * 128_256 * 256
    grown = stage_need(facts, four, 0).compute - stage_need(facts, one, 0).compute
    assert grown == 3 * scores
