"""What a model directory says of the model in it."""

import json

import pytest

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import Category, WeightParts
from aimindserve.formats.hugging_face import FileAccess, read_facts
from unit.formats import safetensors_files as files


def facts(config=None, tensors=None, name="", drop=(), **more):
    """Of a small Llama, with files added (`__` in a name stands for `.`, `___` for `/`)."""
    made = files.directory(files.llama_config() if config is None else config, tensors)
    for key, value in more.items():
        file = value if isinstance(value, FileAccess) else files.text(value)
        made[key.replace("___", "/").replace("__", ".")] = file
    return read_facts({key: made[key] for key in made if key not in drop}, name)


def config(**more):
    return files.llama_config(**more)


# Bytes and parts


def test_a_llama():
    found = facts(name="tiny")
    assert (found.format, found.architecture, found.architecture_class) == (
        "safetensors",
        "llama",
        "LlamaForCausalLM",
    )
    assert not (found.unknown_architecture)
    assert not (found.custom_code)
    assert not (found.part_bytes_rough)
    per_layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
    assert found.parameter_count == 2 * 256 * 64 + 64 + 2 * per_layer
    assert found.size_bytes == 2 * found.parameter_count == found.part_bytes.total
    assert found.layer_bytes == (2 * per_layer,) * 2
    assert found.part_bytes == WeightParts(
        embedding=2 * 256 * 64,
        output=2 * 256 * 64,
        attention_q=2 * 2 * 64 * 64,
        attention_kv=2 * 2 * 2 * 64 * 32,
        attention_o=2 * 2 * 64 * 64,
        mlp=2 * 2 * 3 * 64 * 128,
        replicated=2 * (64 + 2 * 2 * 64),
    )
    assert (found.dtype, found.quantization, found.context_length) == ("BF16", "", 512)
    assert found.categories == (Category.LLM,)
    assert found.name == "tiny"


def test_sizes_alone_give_the_same_parts_marked_rough():
    exact, size = facts(), files.header(files.llama())[1]
    rough = facts(model__safetensors=FileAccess(size))
    assert rough.part_bytes_rough
    assert rough.size_bytes == size
    assert rough.parameter_count == exact.parameter_count
    for part in WeightParts.__slots__:
        wanted = getattr(exact.part_bytes, part)
        assert abs(getattr(rough.part_bytes, part) - wanted) <= 0.02 * wanted + 4096
    assert len(rough.layer_bytes) == 2


def test_pickled_weights_are_never_looked_into():
    def explode(_offset, _length):
        raise AssertionError("it was opened")

    found = facts(
        drop=("model.safetensors",),
        pytorch_model__bin=FileAccess(400_000, explode),
        training_args__bin=FileAccess(5_000, explode),
    )
    assert (found.format, found.size_bytes, found.part_bytes_rough) == ("pytorch", 400_000, True)


def sharded(tensors, count=2):
    names = list(tensors)
    cut = [names[index::count] for index in range(count)]
    shard = "model-{:05d}-of-{:05d}.safetensors"
    made = {}
    mapping = {}
    for index, part in enumerate(cut):
        file = shard.format(index + 1, count)
        made[file] = files.weights({name: tensors[name] for name in part})
        mapping |= dict.fromkeys(part, file)
    return made, {"metadata": {"total_size": 1}, "weight_map": mapping}


def test_shards_add_up():
    made, index = sharded(files.llama())
    base = {"config.json": files.text(config())}
    found = read_facts({**base, **made, "model.safetensors.index.json": files.text(index)})
    assert found.part_bytes == facts().part_bytes
    first = min(made)
    del made[first]
    with pytest.raises(FormatError, match=rf"1 of 2 files.*{first}"):
        read_facts({**base, **made, "model.safetensors.index.json": files.text(index)})


def test_an_index_that_promises_too_much_is_refused():
    made, index = sharded(files.llama())
    index["weight_map"]["model.layers.9.x.weight"] = min(made)
    made["model.safetensors.index.json"] = files.text(index)
    with pytest.raises(FormatError, match=r"model\.layers\.9"):
        read_facts({"config.json": files.text(config()), **made})


def test_a_second_copy_for_another_program_does_not_count():
    found = facts(consolidated__safetensors=files.weights(files.llama()))
    assert found.size_bytes == facts().size_bytes


def test_a_tied_output_that_is_stored_is_no_parameters():
    found = facts(config(tie_word_embeddings=True))
    assert found.part_bytes.output == 2 * 256 * 64
    assert found.parameter_count == facts().parameter_count - 256 * 64


def test_experts_router_and_shared_experts():
    tensors = {
        "model.embed_tokens.weight": ("BF16", (32, 8)),
        "model.layers.0.mlp.experts.3.up_proj.weight": ("BF16", (16, 8)),
        "model.layers.0.mlp.experts.gate_up_proj": ("BF16", (4, 16, 8)),
        "model.layers.0.mlp.shared_experts.up_proj.weight": ("BF16", (16, 8)),
        "model.layers.0.mlp.gate.weight": ("BF16", (4, 8)),
        "model.layers.0.mlp.gate.e_score_correction_bias": ("F32", (4,)),
        "model.layers.0.self_attn.kv_a_proj_with_mqa.weight": ("BF16", (6, 8)),
        "model.layers.0.self_attn.kv_b_proj.weight": ("BF16", (8, 4)),
        "model.layers.0.self_attn.q_b_proj.weight": ("BF16", (8, 4)),
        "model.layers.1.eh_proj.weight": ("BF16", (8, 16)),
    }
    found = facts(config(layers=1, model_type="deepseek_v3", kv_lora_rank=4), tensors)
    assert found.part_bytes == WeightParts(
        embedding=512,
        experts=2 * (128 + 512),
        mlp=256,
        router=64 + 16,
        replicated=96,
        attention_kv=64,
        attention_q=64,
        prediction=256,
    )
    assert found.parameter_count == (found.size_bytes - 256 - 8) // 2


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("visual.blocks.3.attn.qkv.weight", "vision"),
        ("model.vision_tower.encoder.layers.0.self_attn.q_proj.weight", "vision"),
        ("vision_model.embeddings.patch_embedding.weight", "vision"),
        ("mlp1.0.weight", "vision"),
        ("model.layers.0.self_attn.o_proj.bias", "replicated"),
        ("backbone.layers.0.mixer.conv1d.weight", "recurrent"),
        ("language_model.model.layers.0.self_attn.q_proj.weight", "attention_q"),
        ("model.language_model.layers.0.mlp.up_proj.weight", "mlp"),
        ("transformer.encoder.layers.0.self_attention.dense.weight", "attention_o"),
        ("transformer.output_layer.weight", "output"),
        ("transformer.embedding.word_embeddings.weight", "embedding"),
        ("transformer.wte.weight", "embedding"),
        ("transformer.h.0.attn.c_proj.weight", "attention_o"),
        ("transformer.h.0.ln_1.weight", "replicated"),
        ("model.layers.0.block_sparse_moe.gate.weight", "router"),
        ("model.layers.0.block_sparse_moe.experts.0.w1.weight", "experts"),
        ("model.layers.0.block_sparse_moe.input_linear.weight", "experts"),
        ("model.layers.0.shared_mlp.input_linear.weight", "mlp"),
        ("model.layers.0.linear_attn.in_proj_qkvz.weight", "recurrent"),
        ("model.layers.0.linear_attn.norm.weight", "recurrent"),
        ("backbone.layers.0.mixer.A_log", "recurrent"),
        ("backbone.layers.0.mixer.q_proj.weight", "attention_q"),
        ("backbone.layers.0.mixer.down_proj.weight", "mlp"),
        ("backbone.embeddings.weight", "embedding"),
        ("model.layers.0.mamba.dt_layernorm.weight", "recurrent"),
        ("model.layers.0.self_attn.q_norm.weight", "replicated"),
        ("model.layers.0.self_attn.sinks", "replicated"),
        ("model.layers.0.self_attn.o_proj.qweight", "attention_o"),
        ("model.layers.0.mlp.down_proj.weight_packed", "mlp"),
        ("mtp.layers.0.mlp.experts.0.up_proj.weight", "prediction"),
        ("bert.encoder.layer.0.attention.self.key.weight", "attention_kv"),
        ("bert.encoder.layer.0.attention.output.dense.weight", "attention_o"),
        ("bert.encoder.layer.0.output.dense.weight", "mlp"),
        ("roberta.embeddings.position_embeddings.weight", "replicated"),
        ("classifier.out_proj.weight", "replicated"),
        ("model.encoder.layers.3.fc1.weight", "mlp"),
        ("model.decoder.layers.0.encoder_attn.v_proj.weight", "attention_kv"),
        ("something.nobody.knows", "replicated"),
    ],
)
def test_names_tell_parts(name, part):
    found = facts(tensors={name: ("BF16", (4, 4))})
    assert getattr(found.part_bytes, part) == 32


@pytest.mark.parametrize("name", ["qkv_proj", "Wqkv", "query_key_value"])
def test_fused_projections_are_cut_by_heads(name):
    found = facts(tensors={f"model.layers.0.self_attn.{name}.weight": ("BF16", (128, 64))})
    assert found.part_bytes.attention_q == 128 * 64 * 2 // 2
    assert found.part_bytes.attention_kv == 128 * 64 * 2 // 2


# Quantisation


def quantized(method, tensors, **more):
    return facts(config(quantization_config={"quant_method": method, **more}), tensors)


def at(name):
    return f"model.layers.0.mlp.up_proj.{name}"


def test_gptq():
    tensors = {
        at("qweight"): ("I32", (8, 128)),
        at("qzeros"): ("I32", (1, 16)),
        at("scales"): ("F16", (1, 128)),
        at("g_idx"): ("I32", (64,)),
    }
    found = quantized("gptq", tensors, bits=4, group_size=64, desc_act=True)
    assert (found.quantization, found.weight_bits, found.group_size) == ("gptq", 4, 64)
    assert found.parameter_count == 64 * 128
    assert found.part_bytes.mlp == found.size_bytes
    assert "lm_head" in found.unquantized_modules


def test_fp8_blocks():
    tensors = {
        at("weight"): ("F8_E4M3", (128, 64)),
        at("weight_scale_inv"): ("F32", (1, 1)),
    }
    found = quantized(
        "fp8", tensors, weight_block_size=[128, 128], modules_to_not_convert=["lm_head"]
    )
    assert (found.weight_bits, found.group_size) == (8, 128)
    assert found.parameter_count == 128 * 64
    assert found.unquantized_modules == ("lm_head",)


def test_bitsandbytes():
    tensors = {
        at("weight"): ("U8", (4096, 1)),
        at("weight.absmax"): ("F32", (128,)),
        at("weight.quant_map"): ("F32", (16,)),
        at("weight.quant_state.bitsandbytes__nf4"): ("U8", (90,)),
    }
    found = quantized("bitsandbytes", tensors, load_in_4bit=True, bnb_4bit_quant_type="nf4")
    assert (found.weight_bits, found.parameter_count) == (4, 8192)


def test_compressed_tensors():
    scheme = {"num_bits": 4, "group_size": 32, "type": "int", "strategy": "group"}
    tensors = {
        at("weight_packed"): ("I32", (128, 8)),
        at("weight_scale"): ("BF16", (128, 2)),
        at("weight_shape"): ("I64", (2,)),
    }
    found = quantized(
        "compressed-tensors",
        tensors,
        config_groups={"group_0": {"weights": scheme, "targets": ["Linear"]}},
        kv_cache_scheme={"num_bits": 8, "type": "float"},
        ignore=["lm_head"],
    )
    assert (found.weight_bits, found.group_size, found.parameter_count) == (4, 32, 8192)
    assert found.kv_cache_quantization == "fp8"


def test_mxfp4():
    tensors = {
        "model.layers.0.mlp.experts.gate_up_proj_blocks": ("U8", (2, 8, 4, 16)),
        "model.layers.0.mlp.experts.gate_up_proj_scales": ("U8", (2, 8, 4)),
    }
    found = quantized("mxfp4", tensors)
    assert found.parameter_count == 2 * 8 * 4 * 16 * 2
    assert found.part_bytes.experts == found.size_bytes


def test_modelopt_beside_the_configuration():
    told = {"producer": {}, "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}}
    tensors = {at("weight"): ("U8", (128, 32)), at("weight_scale"): ("F8_E4M3", (128, 4))}
    found = facts(tensors=tensors, hf_quant_config__json=told)
    assert (found.quantization, found.weight_bits) == ("modelopt", 4)
    assert (found.kv_cache_quantization, found.parameter_count) == ("fp8", 8192)


# Context


def context(**more):
    return facts(config(**more)).context_length


def test_rope_scaling():
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
    assert context(rope_scaling=yarn) == 2048
    assert facts(config(rope_scaling=yarn)).original_context_length == 512
    assert context(rope_scaling={**yarn, "factor": 4}, max_position_embeddings=2048) == 2048
    assert context(rope_scaling={"type": "linear", "factor": 2}) == 1024
    assert context(rope_scaling={"type": "dynamic", "factor": 2.5}) == 1280
    assert context(rope_scaling={"rope_type": "llama3", "factor": 8.0}) == 512
    assert context(rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24]}) == 512
    assert context(rope_parameters={"full_attention": {"rope_type": "default"}}) == 512
    assert context(rope_parameters=yarn) == 2048
    su = {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}
    found = facts(config(rope_scaling=su, original_max_position_embeddings=128))
    assert (found.context_length, found.original_context_length) == (512, 128)


def test_a_decoder_does_not_believe_its_tokenizer():
    huge = {"model_max_length": 1000000000000000019884624838656}
    assert facts(tokenizer_config__json=huge).context_length == 512
    assert facts(tokenizer_config__json={"model_max_length": 1e30}).context_length == 512
    assert facts(tokenizer_config__json={"model_max_length": 100}).context_length == 512


def bert(**more):
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 32,
        **more,
    }


def test_an_encoder_is_limited_by_all_who_speak_of_it():
    assert facts(bert()).context_length == 512
    assert facts(bert(), tokenizer_config__json={"model_max_length": 300}).context_length == 300
    cut = facts(bert(), sentence_bert_config__json={"max_seq_length": 256})
    assert cut.context_length == 256
    roberta = bert(model_type="xlm-roberta", max_position_embeddings=514)
    assert facts(roberta).context_length == 512


def test_output_tokens_that_the_publisher_limits():
    assert facts(generation_config__json={"max_new_tokens": 2048}).output_tokens_max == 2048


# What it is for


@pytest.mark.parametrize(
    ("change", "name", "wanted"),
    [
        ({}, "", Category.LLM),
        ({}, "Qwen3-Reranker-0.6B", Category.RERANKER),
        ({}, "Qwen3-Embedding-8B", Category.EMBEDDING),
        ({"architectures": ["Qwen2Model"], "model_type": "qwen2"}, "", Category.EMBEDDING),
        ({"architectures": ["ChatGLMModel"], "model_type": "chatglm"}, "", Category.LLM),
        ({"architectures": ["InternVLChatModel"], "model_type": "internvl"}, "", Category.LLM),
        (
            {"architectures": ["Qwen3ForSequenceClassification"], "num_labels": 1},
            "",
            Category.RERANKER,
        ),
        ({"classifier_from_token": ["no", "yes"]}, "", Category.RERANKER),
        ({"model_type": "whisper"}, "", Category.SPEECH_TO_TEXT),
        ({"model_type": "vits"}, "", Category.TEXT_TO_SPEECH),
    ],
)
def test_categories(change, name, wanted):
    assert facts(config(**change), name=name).categories == (wanted,)


def test_a_classifier_is_for_none_of_it():
    labels = {"id2label": {"0": "good", "1": "bad"}}
    change = {"architectures": ["BertForSequenceClassification"], **labels}
    assert facts(bert(**change)).categories == ()


def test_sentence_transformers():
    modules = [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    pooling = {"pooling_mode_cls_token": False, "pooling_mode_lasttoken": True}
    found = facts(modules__json=modules, **{"1_Pooling___config__json": pooling})
    assert (found.categories, found.pooling) == ((Category.EMBEDDING,), "last")
    found = facts(modules__json=modules, **{"1_Pooling___config__json": {"pooling_mode": "mean"}})
    assert found.pooling == "mean"


@pytest.mark.parametrize(
    ("more", "there", "tools"),
    [
        ({}, False, False),
        ({"tokenizer_config__json": {"chat_template": "{{ messages }}"}}, True, False),
        ({"tokenizer_config__json": {"chat_template": "{% if tools %}"}}, True, True),
        ({"chat_template__jinja": b"{%- for tool in tools %}"}, True, True),
        ({"chat_template__json": {"chat_template": "{{ messages }}"}}, True, False),
        (
            {"tokenizer_config__json": {"chat_template": [{"name": "default", "template": "x"},
                                                          {"name": "tool_use", "template": "y"}]}},
            True,
            True,
        ),
        ({"chat_template__jinja": b""}, False, False),
    ],
)  # fmt: skip
def test_templates(more, there, tools):
    found = facts(**more)
    assert (found.chat_template, found.tools) == (there, tools)


def test_custom_code_is_noted():
    assert facts(config(auto_map={"AutoModel": "modeling_x.X"})).custom_code


# Wrappers and strangers


def wrapped(**more):
    text = {key: value for key, value in config().items() if key != "architectures"}
    vision = {"model_type": "siglip_vision_model", "hidden_size": 32, "num_hidden_layers": 3}
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {**text, "model_type": "gemma3_text"},
        "vision_config": vision,
        **more,
    }


def test_a_wrapper_is_its_text_model_with_eyes():
    found = facts(wrapped())
    assert (found.architecture, found.layer_count, found.embedding_length) == ("gemma3", 2, 64)
    assert found.vision
    assert (found.vision_layer_count, found.vision_embedding_length) == (3, 32)
    assert found.tied_embeddings


@pytest.mark.parametrize("part", ["llm_config", "language_config", "thinker_config"])
def test_the_text_model_has_many_homes(part):
    inner = {**wrapped(), "text_config": wrapped()["text_config"]}
    root = {"model_type": "mystery", "architectures": ["X"], part: inner}
    if part != "thinker_config":
        root = {"model_type": "mystery", part: inner["text_config"], "audio_config": {}}
    found = facts(root)
    assert (found.layer_count, found.architecture) == (2, "mystery")
    assert not found.unknown_architecture
    assert found.vision == (part == "thinker_config")
    assert found.audio == (part != "thinker_config")


def test_an_unknown_architecture_says_what_is_there():
    found = facts(config(model_type="never_heard_of", architectures=["NeverForCausalLM"]))
    assert found.unknown_architecture
    assert (found.layer_count, found.head_count_kv) == (2, (2,))
    assert found.size_bytes == found.part_bytes.total > 0
    assert found.categories == (Category.LLM,)


def test_other_kinds_of_directories():
    image = {"model_index.json": files.text({"_class_name": "FluxPipeline"}),
             "unet/model.safetensors": FileAccess(70)}  # fmt: skip
    found = read_facts(image)
    assert (found.format, found.architecture, found.size_bytes) == ("diffusers", "FluxPipeline", 70)
    assert found.categories == (Category.IMAGE,)
    whisper = {"config.json": files.text({"lang_ids": [1]}), "model.bin": FileAccess(75)}
    found = read_facts(whisper)
    assert (found.format, found.size_bytes) == ("ctranslate2", 75)
    assert found.categories == (Category.SPEECH_TO_TEXT,)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({}, "no config.json"),
        ({"adapter_config.json": files.text({})}, "adapter"),
        ({"config.json": FileAccess(10)}, "no config.json"),
        ({"config.json": files.text(config())}, "no weights"),
        ({"config.json": files.text(b"{")}, "not JSON"),
        ({"config.json": files.text(b"\xff{}")}, "UTF-8"),
        ({"config.json": files.text([])}, "object"),
        ({"config.json": FileAccess(99, lambda o, n: b"{}")}, "cut short"),
        ({"config.json": FileAccess(2**40, lambda o, n: b"")}, "most allowed"),
        ({"model_index.json": files.text({"_class_name": "X"})}, "no safetensors"),
    ],
)
def test_what_cannot_be_read_is_said(made, words):
    with pytest.raises(FormatError, match=words):
        read_facts(made)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": "64"},
        {"hidden_size": 64.5},
        {"hidden_size": -5},
        {"hidden_size": 1e300},
        {"hidden_size": 10**40},
        {"hidden_size": float("nan")},
        {"hidden_size": True},
        {"num_hidden_layers": 10**6},
        {"num_hidden_layers": [2]},
        {"architectures": "LlamaForCausalLM"},
        {"architectures": [3]},
        {"model_type": 7},
        {"tie_word_embeddings": "yes"},
        {"layer_types": ["full_attention"]},
        {"text_config": 3},
        {"vision_config": [1]},
        {"quantization_config": "gptq"},
        {"quantization_config": {"quant_method": "gptq", "bits": 1000}},
        {"rope_scaling": {"type": "linear", "factor": float("inf")}},
        {"rope_scaling": {"type": "linear", "factor": 1e12}},
        {"vision_config": {"mlp_ratio": 1e9, "hidden_size": 8}},
    ],
)
def test_wrong_types_and_numbers_are_refused(change):
    with pytest.raises(FormatError):
        facts({**config(), **change})


def test_infinity_that_nobody_reads_is_let_be():
    text = json.dumps({**config(), "time_step_limit": [0.0, float("inf")]})
    assert "Infinity" in text
    assert facts(drop=(), config__json=text.encode()).layer_count == 2
