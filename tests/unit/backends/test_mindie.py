"""MindIE: which cuts it offers, what it refuses, and that the model is never written to."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace

import pytest

from aimindserve.backends import _mindie_engine as engine
from aimindserve.backends.mindie import PLUGIN
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.facts import Category, ModelRef, Options, SourceName
from aimindserve.core.launch import Assignment, Exposure, Installation, LaunchContext
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.shape import ROUGH
from aimindserve.formats.mindie_memory import (
    GIB,
    Settings,
    cache_bytes,
    compute_bytes,
    device_needs,
    host_need,
    token_elements,
)
from unit.formats.llama_facts import LLAMA_31_8B, LLAMA_31_70B, llama

DEEPSEEK = llama(
    61, 7168, 18432, 128, 1, 129280, head=576, latent_length=512, rope_length=64, value_length=0,
    expert_count=256, expert_used_count=8, expert_feed_forward_length=2048,
)  # fmt: skip


def refusal(facts=LLAMA_31_8B, *words, **options):
    return PLUGIN.serves(facts, Options(parameters=words, **options))


def worlds(facts, *words, **options):
    found = PLUGIN.shapes(facts, Options(parameters=words, **options))
    return [(len(s.ranks), sum(len(rank.devices) for rank in s.ranks)) for s in found]


def test_devices_are_powers_of_two_that_divide_the_heads():
    assert worlds(LLAMA_31_8B) == [(1, 1), (1, 2), (1, 4), (1, 8), (1, 16)]
    assert worlds(llama(28, 3584, 18944, 28, 4, 152064)) == [(1, 1), (1, 2), (1, 4)]


def test_experts_and_their_width_are_divided_too():
    assert worlds(DEEPSEEK, "--moe-expert-parallel-size=8", "--moe-tensor-parallel-size=2") == [
        (1, 16)
    ]
    narrow = replace(DEEPSEEK, expert_feed_forward_length=12)
    assert worlds(narrow) == [(1, 1), (1, 2), (1, 4)]


def test_a_given_size_decides_how_many_devices():
    assert worlds(LLAMA_31_8B, "-tp=4") == [(1, 4)]
    assert worlds(LLAMA_31_8B, "-tp=2", "-dp=2") == [(1, 4)]
    assert worlds(LLAMA_31_8B, "-tp=2", "--pipeline-parallel-size=4") == [(1, 8)]


def test_several_workers_need_addresses_and_the_same_number_of_devices():
    found = PLUGIN.shapes(LLAMA_31_70B, Options(distributed=True))
    across = [shape for shape in found if shape.across]
    assert across
    for shape in across:
        assert shape.requirement.device_addresses
        assert len({len(rank.devices) for rank in shape.ranks}) == 1
    assert not any(shape.across for shape in PLUGIN.shapes(LLAMA_31_70B, Options()))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--trust-remote-code",), "not run"),
        (("--enable-split", "--enable-lookahead"), "not together"),
        (("--enable-prefix-caching", '--rope-scaling={"type":"yarn"}'), "not together"),
        (("-dp=2", "--pipeline-parallel-size=2"), "not together"),
        (("--max-prefill-batch-size=300",), "above --max-batch-size"),
        (("--max-seq-len=100", "--max-input-token-len=200"), "above --max-seq-len"),
        (("--enable-buffer-response",), "--prefill-expected-time-ms"),
        (("--cache-block-size=100",), "power of two"),
        (("--tensor-parallel-size=3",), "power of two"),
        (("--npu-memory-fraction=0",), "leaves nothing"),
        (("--max-link-num=1001",), "between 1 and 1000"),
        (("-tp=64",), "divides it"),
        (("--max-seq-len=1000000",), "at most 131072"),
    ],
)
def test_what_cannot_stand_together_is_told(words, told):
    reason = refusal(LLAMA_31_8B, *words)
    assert reason is not None
    assert reason.code == "bad_param"
    assert told in reason.message


def test_only_language_models():
    assert refusal(replace(LLAMA_31_8B, categories=(Category.EMBEDDING,))).code == "backend_unfit"
    assert refusal(replace(LLAMA_31_8B, format="gguf")).code == "backend_unfit"


def test_the_cache_of_latent_attention_is_one_vector():
    # GPUStack took 2 * qk_nope + rope of one head; DeepSeek's papers: 512 + 64 values a token.
    assert token_elements(DEEPSEEK) == token_elements(DEEPSEEK, 8) == 576
    assert cache_bytes(DEEPSEEK, Settings(1000), 61) == 1000 * 61 * 576 * 2


def test_grouped_heads_are_cut_as_far_as_there_are_any():
    assert token_elements(LLAMA_31_8B) == 2 * 8 * 128
    assert token_elements(LLAMA_31_8B, 8) == token_elements(LLAMA_31_8B, 16) == 2 * 128


def test_the_parts_follow_the_formulas():
    settings = Settings(8192, tensor_parallel=4)
    (first, *_) = device_needs(LLAMA_31_8B, settings)
    assert first.kv_cache == 8192 * 32 * 2 * 2 * 128 * 2
    assert (
        first.compute == compute_bytes(LLAMA_31_8B, settings, 32) == 200 * 128 * 32 * 4096 * 2 // 4
    )
    assert first.runtime == 3 * GIB
    half = replace(LLAMA_31_8B, weight_bits=8)
    assert compute_bytes(half, settings, 32) == first.compute // 2


def test_swap_is_host_memory_and_of_use_only_with_preemption():
    def ram(*words):
        return PLUGIN.shapes(LLAMA_31_8B, Options(parameters=words))[0].ranks[0].ram

    plain = host_need(Settings(1), 1)
    assert ram("--cpu-mem-size=5") == plain
    swapping = ram("--cpu-mem-size=5", "--max-preempt-count=2")
    assert swapping.total == plain.total + 5 * GIB


def test_shapes_take_their_share_and_say_how_sure_they_are():
    for shape in PLUGIN.shapes(LLAMA_31_8B, Options(parameters=("--npu-memory-fraction=0.7",))):
        assert shape.device_fraction == 0.7
        assert shape.confidence == ROUGH
        assert shape.requirement.device_types == ("npu",)
        assert shape.requirement.installation == "ascend-mindie"


def test_what_the_system_reserves_may_be_said():
    options = Options(env=(("RESERVED_MEMORY_GB", "5"),))
    assert PLUGIN.serves(LLAMA_31_8B, options) is None
    assert PLUGIN.shapes(LLAMA_31_8B, options)[0].ranks[0].devices[0].runtime == 5 * GIB


def test_less_is_a_shorter_context():
    found = list(PLUGIN.lesser(LLAMA_31_8B, Options()))
    assert [each.params["to"] for each in found] == [4096, 2048, 1024]


def context(
    shape, words=(), exposure=None, workers=("w",), program="/opt/mindie", run_dir="/run/1"
):
    ranks = tuple(
        Rank(worker, tuple(Claim(f"w:npu:{at + 4}", parts) for at, parts in enumerate(n.devices)))
        for worker, n in zip(workers, shape.ranks, strict=True)
    )
    assignment = Assignment(
        "llama-1",
        "id",
        "llama",
        ModelRef(SourceName.LOCAL, path="/m"),
        "ascend-mindie",
        Options(parameters=words),
        Placement("p", shape.label, ranks, shape.parameters, backend="ascend-mindie"),
    )
    there = (Installation("ascend-mindie", "2.1", str(program)),)
    return LaunchContext(
        assignment, 0, "/models/llama", LLAMA_31_8B, 40000, "key", str(run_dir), 8,
        exposure or Exposure(), there,
    )  # fmt: skip


def launched(*words, exposure=None):
    shape = PLUGIN.shapes(LLAMA_31_8B, Options(parameters=words))[-1]
    spec = PLUGIN.launch(context(shape, words, exposure))
    return spec, {name: json.loads(text) for name, text in spec.files}


def test_devices_are_counted_as_the_process_sees_them():
    spec, files = launched("-tp=2")
    assert files["config.json"]["BackendConfig"]["npuDeviceIds"] == [[4, 5]]
    visible = Exposure((("ASCEND_RT_VISIBLE_DEVICES", "4,5"),))
    _, files = launched("-tp=2", exposure=visible)
    assert files["config.json"]["BackendConfig"]["npuDeviceIds"] == [[0, 1]]
    assert dict(spec.env)["MIES_CONFIG_JSON_PATH"] == "/run/1/config.json"


def test_it_listens_on_loopback_only():
    _, files = launched()
    server = files["config.json"]["ServerConfig"]
    assert server["ipAddress"] == server["managementIpAddress"] == "127.0.0.1"
    assert server["port"] == 40000
    assert not server["allowAllZeroIpListening"]


def test_the_environment_follows_the_parameters():
    spec, _ = launched("--npu-memory-fraction=0.8", "--enforce-eager", "--no-metrics")
    env = dict(spec.env)
    assert env["NPU_MEMORY_FRACTION"] == "0.8"
    assert env["MINDIE_ASYNC_SCHEDULING_ENABLE"] == "0"
    assert env["MIES_SERVICE_MONITOR_MODE"] == "0"


def test_several_workers_are_refused_until_they_can_be_started():
    found = PLUGIN.shapes(LLAMA_31_70B, Options(distributed=True))
    shape = next(s for s in found if len(s.ranks) == 2)
    with pytest.raises(UnsupportedError, match="several workers"):
        PLUGIN.launch(context(shape, workers=("w1", "w2")))


def test_changed_files_stand_beside_the_model_not_in_it(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    before = {"rope_scaling": {"type": "linear", "factor": 2.0}, "hidden_size": 4}
    (model / "config.json").write_text(json.dumps(before))
    (model / "model.safetensors").write_bytes(b"weights")
    folder = tmp_path / "run" / "model"
    change = {
        "config.json": {"rope_scaling": {"factor": 4.0}, "torch_dtype": "float16"},
        "generation_config.json": {"temperature": 0.5},
    }
    for _ in range(2):  # a second start finds the first one's links
        engine.overlay(str(model), str(folder), change)
    seen = json.loads((folder / "config.json").read_text())
    assert seen["rope_scaling"] == {"type": "linear", "factor": 4.0}
    assert seen["torch_dtype"] == "float16"
    assert seen["hidden_size"] == 4
    assert json.loads((folder / "generation_config.json").read_text()) == {"temperature": 0.5}
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert json.loads((model / "config.json").read_text()) == before
    assert not (model / "generation_config.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="MindIE runs on Linux")
def test_the_program_becomes_the_daemon(tmp_path):
    service = tmp_path / "service"
    daemon = service / "bin" / "mindieservice_daemon"
    daemon.parent.mkdir(parents=True)
    daemon.write_text("#!/bin/sh\necho daemon in $(pwd) with $MIES_CONFIG_JSON_PATH\n")
    daemon.chmod(daemon.stat().st_mode | stat.S_IXUSR)
    shape = PLUGIN.shapes(LLAMA_31_8B, Options())[0]
    run = tmp_path / "run"
    run.mkdir()
    spec = PLUGIN.launch(context(shape, program=service, run_dir=run))
    for name, text in spec.files:
        (run / name).write_text(text)
    done = subprocess.run(spec.argv, env=dict(spec.env), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"daemon in {daemon.parent} with {run / 'config.json'}"


def test_a_daemon_that_is_not_there_is_told(tmp_path):
    start = tmp_path / "start.json"
    start.write_text(json.dumps({"program": str(tmp_path), "changes": {}}))
    done = subprocess.run(
        [sys.executable, engine.__file__, str(start)], capture_output=True, text=True, check=False
    )
    assert done.returncode == engine.EXIT_CONFIG
    assert "engine failed: MindIE cannot be started" in done.stderr
