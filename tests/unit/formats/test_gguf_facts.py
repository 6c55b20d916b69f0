"""What a header says of a model."""

import pytest

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import Category
from aimindserve.formats.gguf import read_facts
from unit.formats import gguf_files as files


def facts(extra=None, drop=(), **shape):
    metadata, tensors = files.llama(extra=extra, **shape)
    metadata = {key: value for key, value in metadata.items() if key not in drop}
    data, size = files.header(metadata, tensors)
    return read_facts(files.reader(data), size)


def test_a_llama():
    found = facts(embd=64, ff=128, heads=4, kv=2, layers=3, vocab=256)
    assert found.architecture == "llama"
    assert found.layer_count == 3
    assert found.head_count == 4
    assert found.head_count_kv == (2,)
    assert found.key_length == found.value_length == 16
    assert found.vocabulary_size == 256
    assert found.quantization == "Q8_0"
    assert found.categories == (Category.LLM,)
    assert not found.chat_template
    assert found.token_embedding_bytes == 256 * 64 * 34 // 32
    assert found.output_bytes == 0
    assert len(found.layer_bytes) == 3
    assert len(set(found.layer_bytes)) == 1
    norm = 64 * 4
    assert found.size_bytes == found.token_embedding_bytes + norm + sum(found.layer_bytes)
    per_layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
    assert found.parameter_count == 256 * 64 + 64 + 3 * per_layer


def test_the_file_type_names_the_quantisation():
    assert facts({"general.file_type": 15}).quantization == "Q4_K_M"


def test_a_chat_template_is_noticed():
    assert facts({"tokenizer.chat_template": "{{ messages }}"}).chat_template


@pytest.mark.parametrize(
    ("pooling", "category"),
    [
        (1, Category.EMBEDDING),
        (2, Category.EMBEDDING),
        (3, Category.EMBEDDING),
        (4, Category.RERANKER),
        (0, Category.LLM),
    ],
)
def test_pooling_decides_what_a_model_is_for(pooling, category):
    assert facts({"llama.pooling_type": pooling}).categories == (category,)


def test_an_encoder_embeds_even_if_it_does_not_say_how():
    assert facts(arch="bert").categories == (Category.EMBEDDING,)


def test_heads_may_differ_from_layer_to_layer():
    found = facts({"llama.attention.head_count_kv": [2, 0, 1]}, layers=3)
    assert found.head_count_kv == (2, 0, 1)


def test_layers_that_share_a_cache_hold_none():
    found = facts({"llama.attention.shared_kv_layers": 2}, layers=4)
    assert found.head_count_kv == (2, 2, 0, 0)


def test_a_window_s_layers_follow_the_architecture():
    found = facts({"gemma3.attention.sliding_window": 512}, arch="gemma3", layers=7)
    assert found.sliding_window == 512
    assert found.sliding_layers == (True, True, True, True, True, False, True)


def test_a_stated_pattern_wins():
    extra = {
        "llama.attention.sliding_window": 64,
        "llama.attention.sliding_window_pattern": [True, False],
    }
    assert facts(extra).sliding_layers == (True, False)


def test_an_unknown_architecture_s_window_is_not_believed():
    assert facts({"llama.attention.sliding_window": 64}).sliding_layers == ()


def test_latent_attention_stores_no_values():
    extra = {
        "deepseek2.attention.key_length": 576,
        "deepseek2.attention.value_length": 512,
        "deepseek2.attention.key_length_mla": 192,
    }
    found = facts(extra, arch="deepseek2")
    assert (found.key_length, found.value_length) == (576, 0)


def test_recurrent_state_is_counted():
    extra = {
        "mamba.ssm.inner_size": 128,
        "mamba.ssm.state_size": 16,
        "mamba.ssm.conv_kernel": 4,
    }
    drop = ("mamba.attention.head_count", "mamba.attention.head_count_kv")
    found = facts(extra, drop, arch="mamba", layers=2)
    assert found.recurrent_bytes == 4 * 2 * (3 * 128 + 16 * 128)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"general.architecture": ""}, "architecture"),
        ({"general.architecture": "clip"}, "a projector of a vision model"),
        ({"general.type": "adapter"}, "'adapter', which cannot be served by itself"),
        ({"split.count": 3}, "one of 3 parts"),
        ({"llama.block_count": "many"}, "llama.block_count should be a whole number, not 'many'"),
        ({"llama.block_count": 4_000_000_000}, "llama.block_count is 4000000000"),
        ({"llama.block_count": 1}, "tensors of layer 1, but 1 layers"),
        ({"llama.attention.head_count": [1, 2, 3]}, "given for 3 layers, but there are 4"),
    ],
)
def test_contradictions_are_told(extra, says):
    layers = 4 if "attention.head_count" in str(extra) else 2
    with pytest.raises(FormatError) as caught:
        facts(extra, layers=layers)
    assert says in caught.value.message
