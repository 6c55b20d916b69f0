"""llama.cpp over several workers: which shapes are offered, and what each rank is started with."""

from dataclasses import replace

import pytest

from aimindserve.backends._llama_cpp_native import DEVICE_NAMES
from aimindserve.backends.llama_cpp import PLUGIN
from aimindserve.core.device import DEVICE_TYPES, MemoryParts
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.facts import Companion, CompanionKind, ModelRef, Options, SourceName
from aimindserve.core.launch import (
    Assignment,
    Exposure,
    Installation,
    LaunchContext,
    ProbeKind,
)
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.reason import Reason
from unit.backends.test_llama_cpp import EMBEDDER, FACTS, RERANKER

SPREAD = Options(distributed=True)
THERE = (Installation("llama.cpp-rpc", "11434", "/opt/llama/ggml-rpc-server"),)
TUNNELS = (("w2", 40064), ("w3", 40065))


def spread(model=FACTS, options=SPREAD):
    return [
        each for each in PLUGIN.shapes(model, options) if each.layers and each.layers.remote_max
    ]


def placement(*ranks):
    """Ranks as (worker, {device: layers})."""
    made = tuple(
        Rank(worker, tuple(Claim(device, MemoryParts(), count) for device, count in held.items()))
        for worker, held in ranks
    )
    return Placement("p", "several workers", made, ("--parallel=2", "--ctx-size=4096"))


MIXED = placement(
    ("w1", {"w1:cuda:0": 9, "w1:cuda:1": 8}),
    ("w2", {"w2:cuda:0": 3}),
    ("w2", {"w2:cuda:1": 5}),
    ("w3", {"w3:rocm:0": 6}),
)


def launch(where=MIXED, rank=0, parameters=(), model=FACTS, **more):
    fields = {"installations": THERE, "tunnels": TUNNELS if rank == 0 else (), **more}
    assignment = Assignment(
        instance="big-abcde",
        instance_id="0",
        deployment="big",
        model=ModelRef(SourceName.LOCAL, path="/m.gguf"),
        backend="llama.cpp",
        options=Options(parameters=parameters, distributed=True),
        placement=where,
    )
    context = LaunchContext(
        assignment, rank, "/m.gguf", model, 40001, "the-key", "/run/x", 4, **fields
    )
    return PLUGIN.launch(context)


def value(spec, flag):
    return spec.argv[spec.argv.index(flag) + 1]


def test_several_workers_are_offered_only_where_they_are_allowed():
    assert spread(options=Options()) == []
    assert len(spread()) == 3, "one for each number of slots"


def test_they_come_after_devices_of_one_worker_and_before_its_processors():
    labels = [each.label.split(",")[0] for each in PLUGIN.shapes(FACTS, SPREAD)]
    assert list(dict.fromkeys(labels)) == [
        "1 device", "several devices", "several workers", "partly on devices", "cpu",
    ]  # fmt: skip


def test_they_need_a_build_that_is_installed_and_may_use_any_device_that_llama_cpp_knows():
    for shape in spread():
        assert shape.requirement.installation == "llama.cpp-rpc"
        assert shape.requirement.device_types == tuple(DEVICE_NAMES)
        assert (shape.layers.remote_max, shape.layers.devices_max) == (8, 16)
        assert shape.layers.least == len(shape.layers.device), "all of it is on devices"
    assert set(DEVICE_NAMES) <= set(DEVICE_TYPES)


def test_a_remote_device_takes_what_a_local_one_takes():
    several = next(
        each for each in PLUGIN.shapes(FACTS, SPREAD) if each.label.startswith("several devices")
    )
    remote = spread()[0]
    assert remote.layers.device == several.layers.device
    assert remote.layers.overhead == several.layers.overhead
    message = max(each.weights for each in remote.layers.device)
    grown = remote.ranks[0].ram.total - several.ranks[0].ram.total
    assert grown == 2 * message, "what is read and what is sent"
    assert remote.layers.remote_ram.total == several.layers.remote_ram.total + message


@pytest.mark.parametrize("kind", [CompanionKind.PROJECTOR, CompanionKind.DRAFT])
def test_what_llama_cpp_puts_where_it_likes_stays_on_one_worker(kind):
    beside = Companion(kind, "beside.gguf", size_bytes=1000, facts=FACTS)
    words = ("--model-draft=beside.gguf",) if kind is CompanionKind.DRAFT else ()
    model = replace(FACTS, companions=(beside,))
    assert spread(model, replace(SPREAD, parameters=words)) == []


@pytest.mark.parametrize(
    "words", [("--split-mode=none",), ("--n-gpu-layers=3",), ("--n-gpu-layers=0",)]
)
def test_parameters_that_keep_it_on_one_worker(words):
    assert spread(options=replace(SPREAD, parameters=words)) == []


def test_devices_are_named_in_the_order_of_the_cut_remote_ones_first():
    spec = launch()
    assert value(spec, "--rpc") == "127.0.0.1:40064,127.0.0.1:40065"
    assert value(spec, "--device") == "RPC0,RPC1,RPC2,CUDA0,CUDA1"
    assert value(spec, "--tensor-split") == "3,5,6,9,8"
    assert value(spec, "--n-gpu-layers") == "31"
    assert value(spec, "--fit") == "off"


def test_a_first_worker_without_layers_names_no_device_of_its_own():
    spec = launch(placement(("w1", {}), ("w2", {"w2:cuda:0": 31})), tunnels=TUNNELS[:1])
    assert value(spec, "--device") == "RPC0"
    assert value(spec, "--n-gpu-layers") == "31"
    assert "--tensor-split" not in spec.argv


def test_devices_of_one_worker_that_the_embedded_engine_cannot_use():
    spec = launch(placement(("w1", {"w1:cuda:2": 31})), tunnels=())
    assert spec.argv[0] == "/opt/llama/llama-server"
    assert value(spec, "--device") == "CUDA0", "it sees one, whichever that is"
    assert "--rpc" not in spec.argv
    assert launch(placement(("w1", {"w1:mps:0": 31})), tunnels=()).argv[0] != spec.argv[0]


def test_its_key_is_in_a_private_file_and_nowhere_else():
    spec = launch()
    assert dict(spec.files) == {"api-key": "the-key\n"}
    assert value(spec, "--api-key-file") == "/run/x/api-key"
    assert not any("the-key" in word for word in spec.argv)
    assert value(spec, "--host") == "127.0.0.1"
    assert value(spec, "--port") == "40001"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), ("--ctx-size", "4096")),
        ((), ("--parallel", "2")),
        ((), ("--load-mode", "none")),
        ((), ("--cache-ram", "0")),
        (("--mmap",), ("--load-mode", "mmap")),
        (("-fa", "on"), ("--flash-attn", "on")),
        (("--temperature=0.5", "--temp=0.7"), ("--temp", "0.7")),
        (("--cache_type_k q8_0",), ("--cache-type-k", "q8_0")),
        (("--ctx-size=2048",), ("--ctx-size", "2048")),
        (("--chat-template-kwargs", '{"a": 1}'), ("--chat-template-kwargs", '{"a": 1}')),
        (("--no-jinja",), ("--no-jinja",)),
    ],
)
def test_parameters_become_the_words_of_the_native_server(given, told):
    argv = launch(parameters=given).argv
    assert any(argv[at : at + len(told)] == told for at in range(len(argv))), argv
    assert argv.count(told[0]) == 1


def test_embedding_and_ranking():
    mean = launch(model=EMBEDDER).argv
    assert "--embedding" in mean
    ranks = launch(model=RERANKER)
    assert "--embedding" in ranks.argv
    assert value(ranks, "--pooling") == "rank"


def test_adapters_are_given_by_their_path_and_strength():
    adapter = Companion(CompanionKind.ADAPTER, "a.gguf", size_bytes=100, layer_bytes=(1,) * 30)
    spec = launch(
        parameters=("--lora-scaled=a.gguf:0.5",), model=replace(FACTS, companions=(adapter,))
    )
    assert value(spec, "--lora-scaled") == "/a.gguf:0.5"


@pytest.mark.parametrize(
    ("rank", "devices"), [(1, "CUDA0,CUDA1"), (2, "CUDA0,CUDA1"), (3, "ROCm0")]
)
def test_a_further_rank_offers_exactly_its_devices(rank, devices):
    spec = launch(rank=rank)
    assert spec.argv[0] == "/opt/llama/ggml-rpc-server"
    assert value(spec, "--device") == devices
    assert (value(spec, "--host"), value(spec, "--port")) == ("127.0.0.1", "40001")
    assert spec.files == ()


def test_pretended_devices_are_lent_by_processors_and_never_led():
    pretended = Exposure(pretended=True)
    assert value(launch(rank=1, exposure=pretended), "--device") == "CPU,CPU"
    with pytest.raises(UnsupportedError):
        launch(exposure=pretended)


def test_without_a_way_to_another_worker_it_does_not_start():
    with pytest.raises(UnsupportedError) as raised:
        launch(tunnels=TUNNELS[:1])
    assert raised.value.params["reason"] == "rank_waiting"
    assert raised.value.params["peer"] == "w3"


def test_without_the_programs_it_says_what_is_missing():
    with pytest.raises(UnsupportedError) as raised:
        launch(installations=())
    assert raised.value.params["reason"] == "backend_missing"


def test_who_answers_is_asked_and_who_lends_is_only_looked_at():
    model = ModelRef(SourceName.LOCAL, path="/m")
    assignment = Assignment("i", "0", "d", model, "llama.cpp", SPREAD, MIXED)
    kinds = [
        PLUGIN.probe(LaunchContext(assignment, rank, "/m", FACTS, 1, "k", "/r", 1)).kind
        for rank in (0, 1)
    ]
    assert kinds == [ProbeKind.HTTP, ProbeKind.LISTENS]


@pytest.mark.parametrize("name", ["LLAMA_ARG_RPC", "LLAMA_ARG_MODEL_URL", "LLAMA_API_KEY"])
def test_variables_that_would_be_parameters_are_refused(name):
    reason = PLUGIN.serves(FACTS, replace(SPREAD, env=((name, "x"),)))
    assert isinstance(reason, Reason)
    assert (reason.code, reason.params["param"]) == ("bad_param", name)
    assert PLUGIN.serves(FACTS, Options(env=((name, "x"),))) is None, "nobody reads it there"
