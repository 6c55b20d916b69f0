"""What a user does in the first hour, and what a bad day does to it: with real processes."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import psutil
import pytest

from e2e.system import System, command_line, eventually, running

MODEL = "smollm2"


@pytest.fixture(scope="module")
def system(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("life") / "data") as found:
        found.deploy(MODEL, sample_model, backend_parameters=["--ctx-size=2048", "--parallel=2"])
        found.wait_ready(MODEL)
        yield found


@pytest.fixture
def client(system: System) -> Iterator[openai.OpenAI]:
    status, key = system.request("POST", "/api/v1/api-keys", {"description": "e2e"})
    assert status == 201, key
    with openai.OpenAI(base_url=f"{system.url}/v1", api_key=key["key"], max_retries=0) as made:
        yield made


QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]


def test_the_openai_sdk_gets_an_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=24, temperature=0
    )
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def test_the_openai_sdk_gets_a_stream_with_usage(client: openai.OpenAI) -> None:
    pieces, usage = [], None
    stream = client.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        max_tokens=24,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        usage = chunk.usage or usage
        pieces.extend(choice.delta.content or "" for choice in chunk.choices)
    assert "Paris" in "".join(pieces)
    assert len(pieces) > 3
    assert usage is not None


def test_models_are_listed(client: openai.OpenAI) -> None:
    (model,) = client.models.list()
    assert model.id == MODEL
    assert model.model_dump()["max_model_len"] == 2048 // 2, "the context of one slot"


def test_embeddings_are_refused_with_a_sentence(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.embeddings.create(model=MODEL, input="hello")
    assert 400 <= refused.value.status_code < 500
    assert "embedding" in str(refused.value).lower()


def test_a_model_deployed_for_embedding_embeds(
    system: System, client: openai.OpenAI, sample_model: Path
) -> None:
    system.deploy("vectors", sample_model, categories=["embedding"])
    eventually(
        lambda: any(model.id == "vectors" and model.ready for model in client.models.list()),
        within_s=60,
        what="vectors ready",
    )
    texts = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose."]
    answer = client.embeddings.create(model="vectors", input=texts)
    cat, kitten, rates = (each.embedding for each in answer.data)
    assert len(cat) == 576

    def alike(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert alike(cat, kitten) > alike(cat, rates)
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.chat.completions.create(model="vectors", messages=QUESTION)
    assert "can make embeddings" in str(refused.value)

    system.deploy("ranks", sample_model, categories=["reranker"])
    (reason,) = eventually(
        lambda: [
            each["status"]["reason"]
            for each in system.instances("ranks")
            if (each["status"]["reason"] or {}).get("code") == "backend_unfit"
        ],
        within_s=30,
        what="a refusal",
    )
    assert "no head that ranks" in reason["message"]
    for name in ("vectors", "ranks"):
        assert system.request("DELETE", f"/api/v1/deployments/{name}")[0] == 200


def test_a_wrong_key_and_an_unknown_model_are_told_apart(
    system: System, client: openai.OpenAI
) -> None:
    with (
        openai.OpenAI(base_url=f"{system.url}/v1", api_key="sk-aims_00000000_x") as wrong,
        pytest.raises(openai.AuthenticationError),
    ):
        wrong.models.list()
    with pytest.raises(openai.NotFoundError, match="smollm2"):
        client.chat.completions.create(model="smollm", messages=QUESTION)


def test_the_engine_listens_on_loopback_with_a_key_of_its_own(system: System) -> None:
    (engine,) = system.engines()
    ports = {one.laddr for one in engine.net_connections() if one.status == psutil.CONN_LISTEN}
    assert {port.ip for port in ports} == {"127.0.0.1"}
    (port,) = {port.port for port in ports}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5)
    with refused.value as answer:
        assert answer.code in {401, 403}


def test_a_killed_engine_comes_back_and_says_what_happened(system: System) -> None:
    (engine,) = system.engines()
    engine.kill()

    def told() -> bool:
        (instance,) = system.instances(MODEL)
        seen = instance["status"]["observed"]
        return (
            bool(seen["restarts"] >= 1 and seen["reason"]) or instance["status"]["phase"] != "ready"
        )

    eventually(told, within_s=10, what="the engine's end noticed")
    system.wait_ready(MODEL)
    (again,) = system.engines()
    assert again.pid != engine.pid
    (instance,) = system.instances(MODEL)
    assert instance["status"]["observed"]["restarts"] >= 1
    why = system.cli("why", MODEL)
    assert "SIGKILL" in why.stdout + why.stderr or "killed" in why.stdout + why.stderr, why
    previous = system.cli("logs", MODEL, "--previous", "--tail", "5")
    assert previous.returncode == 0, previous.stderr
    assert previous.stdout


def test_a_killed_agent_is_replaced_and_the_engine_adopted(system: System) -> None:
    (engine,) = system.engines()
    agent = system.role("worker")
    agent.kill()
    assert system.chat(MODEL, "Say hi.", max_tokens=2)[0] == 200, "requests wait for the next agent"
    eventually(lambda: system.role("worker").pid != agent.pid, within_s=15, what="a new agent")
    eventually(
        lambda: system.instances(MODEL)[0]["status"]["observed"]["adopted"],
        within_s=15,
        what="the engine adopted",
    )
    assert [one.pid for one in system.engines()] == [engine.pid]
    assert system.chat(MODEL, "Say hi.", max_tokens=2)[0] == 200


def _stream(system: System, tokens: int, into: list[str]) -> None:
    body = {
        "model": MODEL,
        "stream": True,
        "max_tokens": tokens,
        "ignore_eos": True,
        "messages": [{"role": "user", "content": "Count from one to one hundred in words."}],
    }
    call = urllib.request.Request(
        f"{system.url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=120) as answer:
        into.extend(line.decode().strip() for line in answer if line.strip())


def test_a_killed_control_plane_is_not_noticed_by_inference(system: System) -> None:
    lines: list[str] = []
    streaming = threading.Thread(target=_stream, args=(system, 300, lines))
    streaming.start()
    eventually(lambda: len(lines) >= 0 and system.engines(), within_s=5, what="a stream")
    time.sleep(0.5)
    control = system.role("control")
    control.kill()
    served = [system.chat(MODEL, "Say hi.", max_tokens=1)[0] for _ in range(5)]
    assert served == [200] * 5
    status, _ = system.request("GET", "/api/v1/deployments")
    assert status in {200, 503}
    streaming.join(120)
    assert lines[-1] == "data: [DONE]"
    assert not any('"error"' in line for line in lines)
    eventually(
        lambda: system.request("GET", "/api/v1/deployments")[0] == 200,
        within_s=15,
        what="the management API back",
    )
    assert system.role("control").pid != control.pid
    assert len(system.engines()) == 1


def test_after_a_kill_of_everything_it_is_as_it_was(system: System) -> None:
    before = system.get("deployments", MODEL)
    system.kill_everything()
    system.start()
    system.wait_ready(MODEL)
    after = system.get("deployments", MODEL)
    assert after["metadata"]["id"] == before["metadata"]["id"]
    assert after["spec"] == before["spec"]
    assert len(system.engines()) == 1


def test_a_kill_of_the_supervisor_leaves_engines_for_the_next_start(system: System) -> None:
    (engine,) = system.engines()
    parts = system.processes()
    assert system.process is not None
    system.process.kill()
    system.process.wait(10)
    _, alive = psutil.wait_procs([one for one in parts if one.pid != engine.pid], timeout=20)
    assert not alive, "the parts notice that their supervisor is gone"
    assert engine.is_running()
    system.start()
    system.wait_ready(MODEL)
    assert [one.pid for one in system.engines()] == [engine.pid]


def test_kills_in_the_middle_of_a_start_are_all_got_over(
    system: System, sample_model: Path
) -> None:
    """The engine as soon as it is there, then its agent, then the control plane, then all at once:
    each time just as the next try begins."""
    name = "unlucky"

    def mine() -> list[psutil.Process]:
        return [one for one in system.engines() if f"/{name}-" in command_line(one)]

    system.deploy(name, sample_model, backend_parameters=["--ctx-size=512"])
    first = eventually(mine, within_s=30, what="an engine of it")[0]
    first.kill()
    eventually(lambda: [one for one in mine() if one != first], within_s=30, what="a second try")
    system.role("worker").kill()
    system.role("control").kill()
    for one in mine():
        one.kill()
    system.wait_ready(name, within_s=90)
    assert len(mine()) == 1
    (instance,) = system.instances(name)
    assert instance["status"]["observed"]["restarts"] >= 1
    told = system.request("GET", "/api/v1/events?kind=instance")[1]["items"]
    ends = [each for each in told if each["code"] == "exited" and each["name"].startswith(name)]
    assert any("SIGKILL" in each["message"] for each in ends), told
    assert system.request("DELETE", f"/api/v1/deployments/{name}")[0] < 300
    eventually(lambda: not mine(), within_s=30, what="its engine gone")


def test_an_orderly_stop_leaves_no_process_behind(system: System) -> None:
    everything = [*system.processes(), *system.engines()]
    assert len(everything) >= 4
    assert system.stop() == 0
    gone, alive = psutil.wait_procs(everything, timeout=5)
    assert not alive, alive
    assert gone
    system.start()
    system.wait_ready(MODEL)
