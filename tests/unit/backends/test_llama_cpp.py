"""What the llama.cpp backend asks for and how it launches."""

import json
from dataclasses import replace

import pytest

from aimindserve.backends._all import backends, choose, find
from aimindserve.backends.llama_cpp import PLUGIN
from aimindserve.core.device import MemoryParts
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.facts import Category, ModelFacts, ModelRef, Options, SourceName
from aimindserve.core.launch import Assignment, LaunchContext
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.reason import Reason

FACTS = ModelFacts(
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
    token_embedding_bytes=30_081_024,
    layer_bytes=(2_216_448,) * 30,
    categories=(Category.LLM,),
)
EMBEDDER = replace(FACTS, architecture="bert", pooling="mean", categories=(Category.EMBEDDING,))
RERANKER = replace(FACTS, architecture="bert", pooling="rank", categories=(Category.RERANKER,))


def launch(*parameters, facts=FACTS, shape=None, on_device=False, **more):
    options = Options(parameters=parameters, **more)
    shapes = PLUGIN.shapes(facts, options)
    chosen = shape or next(s for s in shapes if bool(s.requirement.device_types) == on_device)
    need = chosen.ranks[0]
    claims = (Claim("w:mps:0", need.device),) if on_device else ()
    assignment = Assignment(
        instance="chat-abcde",
        instance_id="0",
        deployment="chat",
        model=ModelRef(SourceName.LOCAL, path="/m.gguf"),
        backend="llama.cpp",
        options=options,
        placement=Placement("p", chosen.label, (Rank("w", claims, need.ram),), chosen.parameters),
    )
    context = LaunchContext(assignment, 0, "/m.gguf", facts, 40001, "the-key", "/run/x", 4)
    spec = PLUGIN.launch(context)
    return spec, json.loads(dict(spec.files)["engine.json"])


def test_both_names_find_it():
    assert find("llama.cpp") is PLUGIN
    assert find("llama-box") is PLUGIN
    assert choose(FACTS, None) is PLUGIN
    assert "llama-box" not in backends()


def test_an_unknown_backend_is_told_with_what_there_is():
    reason = choose(FACTS, "vllm")
    assert isinstance(reason, Reason)
    assert reason.code == "backend_unknown"
    assert "llama.cpp" in reason.message


def test_a_format_that_nothing_reads_is_refused():
    reason = choose(replace(FACTS, format="safetensors"), None)
    assert isinstance(reason, Reason)
    assert reason.code == "backend_unfit"
    assert "safetensors" in reason.message


def test_a_wanted_backend_s_reason_is_passed_on():
    reason = choose(FACTS, "llama-box", Options(parameters=("--nope",)))
    assert isinstance(reason, Reason)
    assert reason.code == "bad_param"


def test_slots_shrink_until_it_fits():
    shapes = PLUGIN.shapes(FACTS, Options())
    cpu = [shape for shape in shapes if not shape.requirement.device_types]
    assert [shape.label for shape in cpu] == [
        "cpu, 4 × 4096 tokens",
        "cpu, 2 × 4096 tokens",
        "cpu, 1 × 4096 tokens",
    ]
    totals = [shape.ranks[0].ram.total for shape in cpu]
    assert totals == sorted(totals, reverse=True)
    assert all(shape.ranks[0].device.total == 0 for shape in cpu)
    devices = [shape for shape in shapes if shape.requirement.device_types]
    assert len(devices) == 3
    assert shapes.index(devices[-1]) < shapes.index(cpu[0])


def test_a_small_model_s_context_is_not_exceeded():
    short = replace(FACTS, context_length=512)
    assert PLUGIN.shapes(short, Options())[0].parameters == ("--parallel=4", "--ctx-size=2048")


def test_what_the_user_says_is_what_there_is():
    (device, cpu) = PLUGIN.shapes(FACTS, Options(parameters=("--ctx-size=2048", "-np", "1")))
    assert device.parameters == cpu.parameters == ()
    assert cpu.ranks[0].ram.kv_cache == 45 * 1024**2


def test_no_layer_on_a_device_means_processors():
    shapes = PLUGIN.shapes(FACTS, Options(parameters=("-ngl", "0")))
    assert all(not shape.requirement.device_types for shape in shapes)
    (partial, *_) = PLUGIN.shapes(FACTS, Options(parameters=("-ngl", "10")))
    assert partial.label.startswith("1 device, 10 of 31 layers")
    assert partial.ranks[0].device.weights == 10 * 2_216_448


def test_without_offloading_only_devices_are_left():
    shapes = PLUGIN.shapes(FACTS, Options(cpu_offloading=False))
    assert shapes
    assert all(shape.requirement.device_types for shape in shapes)


@pytest.mark.parametrize(
    ("facts", "options", "code"),
    [
        (replace(FACTS, format="safetensors"), Options(), "backend_unfit"),
        (replace(FACTS, layer_count=0), Options(), "backend_unfit"),
        (FACTS, Options(backend_version="1"), "backend_unfit"),
        (FACTS, Options(parameters=("--nope",)), "bad_param"),
        (FACTS, Options(env=(("LD_PRELOAD", "x"),)), "bad_param"),
        (FACTS, Options(parameters=("-fa", "off", "-ctv", "q4_0")), "bad_param"),
        (replace(FACTS, key_length=80), Options(parameters=("-ctk", "q8_0")), "bad_param"),
        (RERANKER, Options(parameters=("--embedding",)), "bad_param"),
        (EMBEDDER, Options(parameters=("--reranking",)), "bad_param"),
    ],
)
def test_what_cannot_work_is_refused_before_it_starts(facts, options, code):
    reason = PLUGIN.serves(facts, options)
    assert reason is not None
    assert reason.code == code


def test_the_launch_keeps_its_secret_out_of_the_arguments():
    spec, config = launch("--seed=1", env=(("GGML_X", "1"),))
    assert all("the-key" not in word for word in spec.argv)
    assert ("GGML_X", "1") in spec.env
    assert spec.argv[-1] == "/run/x/engine.json"
    assert spec.port == config["port"] == 40001
    assert config["host"] == "127.0.0.1"
    assert config["api_key"] == "the-key"
    assert config["alias"] == "chat"
    assert config["fields"]["sampling.seed"] == 1


def test_what_is_launched_is_what_was_claimed():
    _, config = launch()
    fields = config["fields"]
    assert (fields["n_parallel"], fields["n_ctx"]) == (4, 16384)
    assert fields["cache_ram_mib"] == 0
    assert fields["n_gpu_layers"] == 0
    assert fields["load_mode"] == {"enum": "llama_load_mode.LLAMA_LOAD_MODE_NONE"}


def test_the_shape_s_parameters_reach_the_engine():
    smaller = PLUGIN.shapes(FACTS, Options())[-1]
    _, config = launch(shape=smaller)
    assert (config["fields"]["n_parallel"], config["fields"]["n_ctx"]) == (1, 4096)


def test_a_claim_on_a_device_puts_all_layers_there():
    _, config = launch(on_device=True)
    assert config["fields"]["n_gpu_layers"] == -1


def test_embedding_models_start_in_their_mode_and_take_long_texts():
    shapes = PLUGIN.shapes(EMBEDDER, Options())
    assert "--ubatch-size=2048" in shapes[0].parameters
    _, config = launch(facts=EMBEDDER)
    fields = config["fields"]
    assert fields["embedding"] is True
    assert fields["n_parallel"] == 1
    assert fields["n_ctx"] == 8192
    assert fields["n_batch"] == fields["n_ubatch"] == 2048
    assert "pooling_type" not in fields


def test_rerankers_start_ranking():
    _, config = launch(facts=RERANKER)
    assert config["fields"]["embedding"] is True
    assert config["fields"]["pooling_type"]["enum"].endswith("RANK")
    assert "reranking" not in config["fields"]


def test_parameters_that_slipped_through_stop_the_launch():
    context_words = ("--nope",)
    shape = PLUGIN.shapes(FACTS, Options())[0]
    with pytest.raises(UnsupportedError):
        launch(*context_words, shape=shape)


def test_without_facts_it_still_starts_bounded():
    shape = PLUGIN.shapes(FACTS, Options())[0]
    options = Options()
    assignment = Assignment(
        instance="i",
        instance_id="0",
        deployment="chat",
        model=ModelRef(SourceName.LOCAL, path="/m.gguf"),
        backend="llama.cpp",
        options=options,
        placement=Placement("p", "cpu", (Rank("w", (), MemoryParts()),), shape.parameters),
    )
    context = LaunchContext(assignment, 0, "/m.gguf", None, 1, "k", "/run/x", 4)
    config = json.loads(dict(PLUGIN.launch(context).files)["engine.json"])
    assert config["fields"]["n_ctx"] == 16384
