"""What the llama.cpp backend asks for and how it launches."""

import json
from dataclasses import replace

import pytest

from aimindserve.backends._all import backends, choose, find
from aimindserve.backends.llama_cpp import PLUGIN
from aimindserve.core.device import MemoryParts
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.facts import (
    Category,
    Companion,
    CompanionKind,
    ModelFacts,
    ModelRef,
    Options,
    SourceName,
)
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


def launch(*parameters, facts=FACTS, shape=None, on_device=False, counts=(), **more):
    options = Options(parameters=parameters, **more)
    shapes = PLUGIN.shapes(facts, options)
    chosen = shape or next(s for s in shapes if bool(s.requirement.device_types) == on_device)
    need = chosen.ranks[0]
    cut = chosen.layers
    claims = tuple(
        Claim(f"w:mps:{at}", MemoryParts(), count)
        for at, count in enumerate(counts or ((len(cut.device),) if cut else ()))
    )
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
    reason = choose(FACTS, "sglang-of-tomorrow")
    assert isinstance(reason, Reason)
    assert reason.code == "backend_unknown"
    assert "llama.cpp" in reason.message


def test_a_format_that_nothing_reads_is_refused():
    reason = choose(replace(FACTS, format="diffusers"), None)
    assert isinstance(reason, Reason)
    assert reason.code == "backend_unfit"
    assert "diffusers" in reason.message


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
    assert all(not shape.ranks[0].devices for shape in cpu)
    devices = [shape for shape in shapes if shape.requirement.device_types]
    assert [shape.label.partition(",")[0] for shape in devices[::3]] == [
        "1 device",
        "several devices",
        "partly on devices",
    ]
    assert all(shape.layers for shape in devices)
    assert shapes.index(devices[-1]) < shapes.index(cpu[0])


def test_a_small_model_s_context_is_not_exceeded():
    short = replace(FACTS, context_length=512)
    assert PLUGIN.shapes(short, Options())[0].parameters == ("--parallel=4", "--ctx-size=2048")


def test_what_the_user_says_is_what_there_is():
    (device, *_, cpu) = PLUGIN.shapes(FACTS, Options(parameters=("--ctx-size=2048", "-np", "1")))
    assert device.parameters == cpu.parameters == ()
    assert cpu.ranks[0].ram.kv_cache == 45 * 1024**2


def test_no_layer_on_a_device_means_processors():
    shapes = PLUGIN.shapes(FACTS, Options(parameters=("-ngl", "0")))
    assert all(not shape.requirement.device_types for shape in shapes)
    (partial, *_) = PLUGIN.shapes(FACTS, Options(parameters=("-ngl", "10")))
    assert partial.label.startswith("10 of 31 layers on devices")
    assert partial.layers.least == len(partial.layers.device) == 10
    # The output is one of them; what stays is the host's in any case.
    assert sum(each.weights > 2_216_448 for each in partial.layers.device) == 1
    whole = next(s for s in PLUGIN.shapes(FACTS, Options()) if s.label.startswith("partly"))
    kept = sum(each.weights for each in whole.layers.host[:21])
    assert partial.ranks[0].ram.weights == whole.ranks[0].ram.weights + kept


def test_one_device_is_enough_when_models_may_not_be_split():
    shapes = PLUGIN.shapes(FACTS, Options(parameters=("--split-mode", "none")))
    assert all(shape.layers.devices_max == 1 for shape in shapes if shape.layers)


@pytest.mark.parametrize("word", ["--tensor-split=1,1", "--main-gpu=0", "--rpc=a:1"])
def test_where_layers_go_is_not_the_user_s_to_say(word):
    assert PLUGIN.serves(FACTS, Options(parameters=(word,))).code == "bad_param"


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
        (EMBEDDER, Options(parameters=("--pooling=none",)), "bad_param"),
        (FACTS, Options(categories=(Category.RERANKER,)), "backend_unfit"),
        (RERANKER, Options(categories=(Category.EMBEDDING,)), "backend_unfit"),
        (EMBEDDER, Options(categories=(Category.LLM,)), "backend_unfit"),
        (FACTS, Options(categories=(Category.IMAGE,)), "backend_unfit"),
        (
            FACTS,
            Options(parameters=("--pooling=none",), categories=(Category.EMBEDDING,)),
            "bad_param",
        ),
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
    assert config["fields"]["n_gpu_layers"] == 31


def test_the_cut_that_was_claimed_is_the_one_that_is_launched():
    _, config = launch(on_device=True, counts=(11, 20))
    assert config["fields"]["n_gpu_layers"] == 31
    assert config["fields"]["tensor_split"] == [11, 20]


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


def test_a_model_that_writes_text_is_priced_and_started_to_embed_when_that_is_wanted():
    embeds = Options(categories=(Category.EMBEDDING,))
    assert PLUGIN.serves(FACTS, embeds) is None
    shapes = PLUGIN.shapes(FACTS, embeds)
    assert "tokens" not in shapes[0].label, "one slot, whose context is that of a text"
    assert PLUGIN.context(FACTS, Options(shapes[0].parameters, categories=(Category.EMBEDDING,)))
    _, config = launch(categories=(Category.EMBEDDING,))
    assert config["fields"]["embedding"] is True
    assert config["fields"]["pooling_type"]["enum"].endswith("LAST")
    assert config["fields"]["n_parallel"] == 1
    _, config = launch("--pooling=mean", categories=(Category.EMBEDDING,))
    assert config["fields"]["pooling_type"]["enum"].endswith("MEAN")


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


PROJECTOR = Companion(CompanionKind.PROJECTOR, "mmproj.gguf", 900, compute_bytes=100)
ADAPTER = Companion(CompanionKind.ADAPTER, "a.gguf", 3_100, layer_bytes=(100,) * 30)
SMALL = replace(FACTS, size_bytes=40_000_000, layer_count=4, layer_bytes=(2_216_448,) * 4)
DRAFT = Companion(CompanionKind.DRAFT, "d.gguf", 40_000_000, facts=SMALL)
ACCOMPANIED = replace(FACTS, companions=(ADAPTER, DRAFT, PROJECTOR))


def claimed(*parameters, facts=ACCOMPANIED):
    """(on the host alone, with all layers on one device) for one slot."""
    words = ("--ctx-size=4096", "--parallel=1", *parameters)
    shapes = PLUGIN.shapes(facts, Options(parameters=words))
    device = shapes[0]
    on_it = sum(device.layers.device, device.layers.overhead)
    return shapes[-1].ranks[0].ram, on_it, device.ranks[0].ram


def test_the_only_projector_beside_the_model_is_claimed_and_launched():
    host, device, base = claimed()
    assert (host.projector, device.projector, base.projector) == (1000, 1000, 0)
    _, config = launch(facts=ACCOMPANIED)
    assert config["fields"]["mmproj.path"] == "/mmproj.gguf"
    assert config["fields"]["mmproj_use_gpu"] is False
    _, config = launch("--no-mmproj", facts=ACCOMPANIED)
    assert "mmproj.path" not in config["fields"]
    assert claimed("--no-mmproj")[0].projector == 0


def test_among_several_projectors_the_user_chooses():
    other = replace(PROJECTOR, file="mmproj-large.gguf", size_bytes=9_900)
    both = replace(FACTS, companions=(PROJECTOR, other))
    assert claimed(facts=both)[0].projector == 0
    assert claimed("--mmproj=mmproj-large.gguf", facts=both)[0].projector == 10_000
    _, config = launch("--mmproj", "mmproj-large.gguf", facts=both)
    assert config["fields"]["mmproj.path"] == "/mmproj-large.gguf"
    assert "mmproj" not in config["fields"]


def test_adapters_are_claimed_with_the_layers_they_change():
    plain, changed = claimed("--no-mmproj"), claimed("--no-mmproj", "--lora=a.gguf")
    assert [after.total - before.total for before, after in zip(plain, changed, strict=True)] == [
        3_100, 3_100, 0
    ]  # fmt: skip
    _, config = launch("--lora-scaled=a.gguf:0.5", facts=ACCOMPANIED)
    assert config["fields"]["lora_adapters"] == [{"path": "/a.gguf", "scale": 0.5}]
    assert "lora_scaled" not in config["fields"]


def test_a_model_that_drafts_is_claimed_with_a_context_of_its_own():
    plain, drafting = claimed("--no-mmproj"), claimed("--no-mmproj", "--model-draft=d.gguf")
    cache = 4096 * 4 * 3 * 64 * 2 * 2
    for before, after in zip(plain, drafting, strict=True):
        assert replace(after, draft=0) == before
    host, device, base = drafting
    # Its vocabulary lies on the host; its layers and output, its cache and its work do not.
    assert device.draft > 4 * 2_216_448 + cache
    assert base.draft > SMALL.token_embedding_bytes
    assert host.draft > SMALL.size_bytes + cache
    # Scores of all tokens that are checked at once.
    one, more = claimed("-md", "d.gguf", "--draft-max=1"), claimed("-md", "d.gguf", "--draft-max=9")
    assert more[0].draft - one[0].draft == 8 * 4 * FACTS.vocabulary_size
    small = claimed("-md", "d.gguf", "-ctkd", "q8_0", "-ctvd", "q8_0")
    assert host.draft - small[0].draft == pytest.approx(cache * (1 - 34 / 64), rel=0.01)
    _, config = launch("-md", "d.gguf", "--draft-max=5", facts=ACCOMPANIED, on_device=True)
    fields = config["fields"]
    assert fields["speculative.draft.mparams.path"] == "/d.gguf"
    assert fields["speculative.draft.n_gpu_layers"] == -1
    assert fields["speculative.draft.n_max"] == 5
    assert fields["speculative.types"] == [
        {"enum": "common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE"}
    ]
    _, config = launch("-md", "d.gguf", facts=ACCOMPANIED)
    assert config["fields"]["speculative.draft.n_gpu_layers"] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--lora", "b.gguf"), "there is a.gguf"),
        (("--lora", "../a.gguf"), "without a directory"),
        (("--lora", "/etc/a.gguf"), "without a directory"),
        (("--lora-scaled", "a.gguf"), "NAME:SCALE"),
        (("--lora-scaled", "a.gguf:many"), "not a number"),
        (("--mmproj", "d.gguf"), "there is mmproj.gguf"),
        (("--model-draft", "a.gguf"), "there is d.gguf"),
        (("--draft-max", "5"), "--model-draft"),
        (("--cache-type-k-draft", "q8_0"), "--model-draft"),
        (("--embedding", "--model-draft", "d.gguf"), "embeds or ranks"),
    ],
)
def test_what_is_not_beside_the_model_is_refused(words, told):
    reason = PLUGIN.serves(ACCOMPANIED, Options(parameters=words))
    assert reason.code == "bad_param"
    assert told in reason.message


def test_a_worker_must_have_what_is_loaded_and_nothing_else():
    assert PLUGIN.loads(ACCOMPANIED, Options()).companions == (PROJECTOR,)
    options = Options(parameters=("--lora=a.gguf", "--no-mmproj"))
    assert PLUGIN.loads(ACCOMPANIED, options).companions == (ADAPTER,)
    embedder = replace(EMBEDDER, companions=(PROJECTOR,))
    assert PLUGIN.loads(embedder, Options()) == EMBEDDER
    with pytest.raises(UnsupportedError, match=r"a\.gguf"):
        launch("--lora=a.gguf", shape=PLUGIN.shapes(FACTS, Options())[-1])


def test_what_was_never_compared_with_the_engine_is_called_rough():
    assert {shape.confidence for shape in PLUGIN.shapes(FACTS, Options())} == {"high"}
    strange = replace(FACTS, unknown_architecture=True)
    assert {shape.confidence for shape in PLUGIN.shapes(strange, Options())} == {"rough"}
    assert {shape.confidence for shape in PLUGIN.shapes(ACCOMPANIED, Options())} == {"rough"}
    drafts = replace(ACCOMPANIED, companions=(replace(DRAFT, facts=strange),))
    guessed = PLUGIN.shapes(drafts, Options(parameters=("-md", "d.gguf")))
    assert {shape.confidence for shape in guessed} == {"rough"}


PHI = replace(
    FACTS,
    architecture="phi3",
    layer_count=40,
    embedding_length=5120,
    feed_forward_length=17920,
    vocabulary_size=100_352,
    head_count=40,
    head_count_kv=(10,),
    key_length=128,
    value_length=128,
    layer_bytes=(2_216_448,) * 40,
    tensor_count=243,
)
BOTH_SMALL = ("--cache-type-k=q8_0", "--cache-type-v=q8_0")


def test_slots_for_which_the_engine_has_no_room_are_refused_or_not_offered():
    asked = (*BOTH_SMALL, "--parallel=2")
    reason = PLUGIN.serves(PHI, Options(parameters=asked))
    assert reason is not None
    assert "--kv-unified" in reason.message
    for words in ((*asked, "--kv-unified"), (*BOTH_SMALL[:1], "--parallel=2"), BOTH_SMALL):
        assert PLUGIN.serves(PHI, Options(parameters=words)) is None, words
    offered = PLUGIN.shapes(PHI, Options(parameters=BOTH_SMALL))
    assert {words for shape in offered for words in shape.parameters if "parallel" in words} == {
        "--parallel=1"
    }
