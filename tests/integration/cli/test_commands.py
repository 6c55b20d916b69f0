"""Client commands against the real control plane: what they print, change, and end with."""

import json
import stat
import threading

import pytest
import yaml

from aimindserve.core.failure import Crashes
from aimindserve.core.reason import Reason
from aimindserve.core.report import RunState
from integration.cli.serving import PASSWORD, placement, refusal

GGUF = "/models/SmolLM2-135M-Instruct.Q4_1.gguf"


def deploy(served, *words):
    assert served.run("deploy", GGUF, "--no-wait", "-q", *words) == 0


def test_deploy_makes_what_was_asked_for_and_says_how_to_use_it(served, capsys):
    code = served.run(
        "deploy", GGUF, "--no-wait", "--replicas", "2", "--ctx", "4096", "-P", "threads=4",
        "-P", "--flash-attn", "--env", "A=b=c", "--category", "llm", "--selector", "zone=a",
        "--gpu", "gpu-01:cuda:0", "--no-cpu-offloading", "--label", "team=x",
    )  # fmt: skip
    assert code == 0
    made = served.store.get("deployment", "smollm2-135m-instruct")
    assert made.spec.model.path == GGUF
    assert made.spec.replicas == 2
    assert made.spec.backend_parameters == ("--threads=4", "--flash-attn", "--ctx-size=4096")
    assert made.spec.env == {"A": "b=c"}
    assert made.spec.worker_selector == {"zone": "a"}
    assert made.spec.gpu_selector.gpu_ids == ("gpu-01:cuda:0",)
    assert made.spec.cpu_offloading is False
    assert made.metadata.labels == {"team": "x"}
    told = capsys.readouterr()
    assert f"{served.url}/v1" in told.out
    assert "curl" in told.out
    assert "is deployed" in told.err


def test_a_chosen_device_that_cannot_be_one_is_refused_with_its_name(served, capsys):
    for word, said in (
        ("gpu-01", "'gpu-01' is no device: worker:type:index, such as gpu-01:cuda:0"),
        ("gpu-01:cuda:first", "'gpu-01:cuda:first' is no device"),
    ):
        assert served.run("deploy", GGUF, "--no-wait", "--gpu", word) == 2
        assert said in capsys.readouterr().err
    twice = ("--gpu", "gpu-01:cuda:0", "--gpu", "gpu-01:cuda:0")
    assert served.run("deploy", GGUF, "--no-wait", *twice) == 2
    assert "gpu-01:cuda:0 is named more than once" in capsys.readouterr().err
    assert served.store.list("deployment") == ()


def test_deploying_a_name_twice_is_a_conflict_with_advice(served, capsys):
    deploy(served)
    capsys.readouterr()
    assert served.run("deploy", GGUF, "--no-wait") == 5
    told = capsys.readouterr()
    assert told.out == ""
    assert "(exists)" in told.err
    assert "--name" in told.err


def test_ls_prints_a_table_without_boxes(served, capsys):
    assert served.run("ls") == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "Nothing is deployed" in told.err
    deploy(served, "--name", "b")
    deploy(served, "--name", "a", "--replicas", "3")
    capsys.readouterr()
    assert served.run("ls") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "MODEL", "READY", "REPLICAS", "PHASE", "AGE"]
    assert [line.split()[0] for line in lines[1:]] == ["a", "b"]
    assert "\x1b" not in "".join(lines)
    assert served.run("ls", "-o", "name", "--sort", "-replicas") == 0
    assert capsys.readouterr().out == "a\nb\n"
    assert served.run("ls", "--filter", "replicas=3", "--no-header") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert served.run("ls", "--filter", "phase=ready") == 0
    assert "Nothing matches" in capsys.readouterr().err


def test_json_is_the_api_s_objects_as_they_are(served, capsys):
    deploy(served)
    capsys.readouterr()
    assert served.run("ls", "-o", "json") == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document["kind"] == "deployment"
    assert document["status"]["phase"]
    assert served.run("get", "deployments", document["metadata"]["name"], "-o", "yaml") == 0
    assert yaml.safe_load(capsys.readouterr().out) == document


def test_lists_of_many_pages_are_whole(served, capsys):
    from aimindserve.resources.user import UserSpec
    from aimindserve.store.base import Draft

    async def fill():
        for number in range(1203):
            await served.store.create(Draft("user", f"u{number:04}", UserSpec()))

    served.do(fill())
    assert served.run("get", "users", "-o", "name") == 0
    names = capsys.readouterr().out.split()
    assert len(names) == len(set(names)) == 1204


def test_scale_and_rm(served, capsys):
    deploy(served, "--name", "m")
    assert served.run("scale", "m", "3") == 0
    assert served.store.get("deployment", "m").spec.replicas == 3
    assert "1 → 3" in capsys.readouterr().out
    assert served.run("rm", "m") == 2
    assert "--yes" in capsys.readouterr().err
    assert served.store.find("deployment", "m") is not None
    deploy(served, "--name", "n")
    assert served.run("rm", "m", "nix", "n", "-y") == 3
    told = capsys.readouterr()
    assert "There is no deployment called 'nix'" in told.err
    assert not served.store.list("deployment")


@pytest.mark.parametrize(
    "words",
    [("deploy", ""), ("fit", " "), ("logs", ""), ("rm", "m", "", "-y"), ("describe", ""),
     ("chat", "m", ""), ("keys", "create", ""), ("workers", "label", "", "a=b"),
     ("get", "users", "")],
    ids=repr,
)  # fmt: skip
def test_an_argument_of_nothing_is_wrong_usage(served, capsys, words):
    """A variable that was never set must neither be guessed at nor asked for."""
    assert served.run(*words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "It is empty." in told.err
    assert "Usage:" in told.err


def test_what_no_server_said_has_no_http_status(served, capsys, monkeypatch):
    deploy(served, "--name", "m")
    capsys.readouterr()
    assert served.run("rm", "m", "-o", "json") == 2
    problem = json.loads(capsys.readouterr().err)
    assert "status" not in problem
    assert problem["code"] == "usage"
    assert "--yes" in problem["detail"]
    assert served.run("rm", "m", "--nope", "-o", "json") == 2
    problem = json.loads(capsys.readouterr().err)
    assert (problem["code"], "status" in problem) == ("usage", False)
    assert "--nope" in problem["detail"]
    assert served.run("describe", "nix", "-o", "json") == 3
    assert json.loads(capsys.readouterr().err)["status"] == 404
    assert served.run("ls", "-o", "json", "--server", "http://127.0.0.1:9") == 8
    assert "status" not in json.loads(capsys.readouterr().err)


def test_a_wrong_name_names_the_nearest(served, capsys):
    deploy(served, "--name", "qwen3-8b")
    capsys.readouterr()
    for words in (("scale", "qwen3-8", "2"), ("why", "qwen3-8"), ("describe", "qwen3-8")):
        assert served.run(*words) == 3
        told = capsys.readouterr()
        assert told.out == ""
        assert "Did you mean qwen3-8b?" in told.err


def test_workers_are_listed_and_tended(served, capsys):
    served.add_worker()
    assert served.run("workers") == 0
    assert "32.0 GiB" in capsys.readouterr().out
    assert served.run("workers", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)[0]["kind"] == "worker"
    assert served.run("workers", "cordon", "gpu-01") == 0
    assert served.store.get("worker", "gpu-01").spec.cordoned is True
    assert served.run("workers", "uncordon", "gpu-01") == 0
    assert served.store.get("worker", "gpu-01").spec.cordoned is False
    assert served.run("workers", "label", "gpu-01", "zone=a", "rack=7") == 0
    assert served.run("workers", "label", "gpu-01", "rack-") == 0
    assert served.store.get("worker", "gpu-01").metadata.labels == {"zone": "a"}
    assert served.run("workers", "rm", "gpu-01", "-y") == 5
    assert served.run("workers", "rm", "gpu-01", "-y", "--force") == 0
    assert not served.store.list("worker")
    assert served.run("workers", "cordn", "x") == 2
    assert "Did you mean 'cordon'?" in capsys.readouterr().err


def test_describe_shows_placement_memory_and_reasons_with_fixes(served, capsys):
    deploy(served, "--name", "m", "--replicas", "2")
    served.add_worker()
    served.add_instance("m", "m-aaaaa", placement=placement())
    counted = {"generated_tokens": 1230, "generated_s": 20.0}
    served.observe("m-aaaaa", RunState.READY, run=1, pid=4242, port=40001, **counted)
    served.add_instance(
        "m", "m-bbbbb",
        refusal=refusal(worker="gpu-01", need="9 GiB", free="1 GiB", total="32 GiB"),
    )  # fmt: skip
    capsys.readouterr()
    assert served.run("describe", "m") == 0
    page = capsys.readouterr().out
    for part in ("m-aaaaa", "weights 1.0 GiB", "4242", "m-bbbbb", "needs 9 GiB", "no_fit_ram"):
        assert part in page, part
    assert "Use a smaller quantisation" in page
    assert served.run("describe", "m-aaaaa") == 0
    page = capsys.readouterr().out
    assert "gpu-01" in page
    assert "61.5 tokens/s for one request (1230 tokens of this run)" in page
    assert served.run("describe", "gpu-01") == 0
    assert "30.0 GiB free of 32.0 GiB" in capsys.readouterr().out


def test_why_gives_reason_numbers_of_each_worker_and_a_fix(served, capsys, monkeypatch):
    deploy(served, "--name", "m")
    params = {"worker": "gpu-01", "need": "9 GiB", "free": "1 GiB", "total": "32 GiB"}
    served.add_instance("m", "m-bbbbb", refusal=refusal(**params))
    served.decisions.put(
        "m-bbbbb",
        {
            "refused": [
                {"worker": "gpu-01", "code": "no_fit_ram", "params": params},
                {
                    "worker": "gpu-02",
                    "code": "worker_cordoned",
                    "params": {"worker": "gpu-02"},
                    "message": "gpu-02 takes no new work.",
                },
            ],
            "refused_total": 2,
            "counts": {"no_fit_ram": 1, "worker_cordoned": 1},
        },
    )
    capsys.readouterr()
    assert served.run("why", "m") == 0
    told = capsys.readouterr().out
    assert "needs 9 GiB, 1 GiB is free of 32 GiB" in told
    assert "Why not elsewhere" in told
    assert "Try: Use a smaller quantisation" in told
    assert served.run("why", "m", "-o", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["reason"]["code"] == "no_fit_ram"
    assert document["decision"]["refused"][0]["worker"] == "gpu-01"
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert served.run("why", "m") == 0
    assert "空闲内存不足" in capsys.readouterr().out


def test_what_ended_by_itself_is_told_also_when_the_instance_is_gone(served, capsys, monkeypatch):
    deploy(served, "--name", "m")
    oom = Reason("engine_oom_device", {"device": "gpu-01:cuda:0"})
    crashes = (
        Crashes("gpu-02", (), Reason("engine_exited", {"status": "exit code 3"}), 1, 0.0, 1.0),
        Crashes("gpu-01", ("gpu-01:cuda:0",), oom, 3, 0.0, 2.0),
    )

    def remember(current):
        return current.with_status(current.status.model_copy(update={"crashes": crashes}))

    served.do(served.store.update("deployment", "m", remember))
    served.add_instance("m", "m-aaaaa")
    capsys.readouterr()
    for words in (("describe", "m"), ("why", "m"), ("why", "m-aaaaa")):
        assert served.run(*words) == 0
        told = capsys.readouterr().out
        newest, older = told.index("engine_oom_device"), told.index("engine_exited")
        assert newest < older, words
        assert "gpu-01:cuda:0" in told
        assert "×3" in told
        assert "gpu-02" in told
    assert served.run("why", "m", "-o", "json") == 0
    assert [each["times"] for each in json.loads(capsys.readouterr().out)["crashes"]] == [1, 3]
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert served.run("describe", "m") == 0
    assert "异常退出" in capsys.readouterr().out


def test_waiting_ends_when_it_is_ready_and_tells_each_stage(served, capsys):
    deploy(served, "--name", "m")
    served.add_worker()
    capsys.readouterr()

    def cluster():
        served.add_instance("m", "m-aaaaa", placement=placement())
        served.observe("m-aaaaa", RunState.LOADING)
        served.observe("m-aaaaa", RunState.READY)
        served.settle("m", ready=1)

    timer = threading.Timer(0.3, cluster)
    timer.start()
    assert served.run("wait", "m", "--timeout", "20", "-o", "json") == 0
    timer.join()
    told = capsys.readouterr()
    assert json.loads(told.out)["status"]["phase"] == "ready"
    assert "m-aaaaa  ready on gpu-01" in told.err.splitlines()


def test_waiting_ends_with_the_reason_when_nothing_fits(served, capsys):
    deploy(served, "--name", "m")
    params = {"worker": "gpu-01", "need": "9 GiB", "free": "1 GiB", "total": "32 GiB"}
    served.add_instance("m", "m-bbbbb", refusal=refusal(**params))
    served.decisions.put(
        "m-bbbbb",
        {
            "refused": [
                {"worker": "gpu-01", "code": "no_fit_ram", "params": params},
                {
                    "worker": "gpu-02",
                    "code": "worker_cordoned",
                    "params": {"worker": "gpu-02"},
                    "message": "gpu-02 takes no new work.",
                },
            ],
            "refused_total": 2,
            "counts": {"no_fit_ram": 1, "worker_cordoned": 1},
        },
    )
    capsys.readouterr()
    assert served.run("wait", "m", "--timeout", "20") == 6
    told = capsys.readouterr()
    assert told.out == ""
    assert "gpu-01 has not enough free RAM: needs 9 GiB" in told.err
    assert "(no_fit_ram)" in told.err
    assert "gpu-02: gpu-02 takes no new work" in told.err


def test_waiting_ends_when_it_failed_and_when_time_runs_out(served, capsys):
    deploy(served, "--name", "m")
    served.add_worker()
    assert served.run("wait", "m", "--timeout", "0.2", "-q") == 7
    assert "The work goes on" in capsys.readouterr().err
    served.add_instance("m", "m-aaaaa", placement=placement())
    served.observe("m-aaaaa", RunState.FAILED, reason=refusal("engine_exited", status="exit 1"))
    assert served.run("wait", "m", "--timeout", "20") == 9
    assert "exit 1" in capsys.readouterr().err
    assert served.run("wait", "nix") == 3


def test_waiting_for_gone(served):
    deploy(served, "--name", "m")
    served.add_instance("m", "m-aaaaa")
    served.do(served.store.delete("deployment", "m"))
    timer = threading.Timer(0.3, lambda: served.do(served.store.delete("instance", "m-aaaaa")))
    timer.start()
    assert served.run("wait", "m", "--for", "gone", "--timeout", "20") == 0
    timer.join()
    assert not served.store.list("instance")


def test_keys_are_printed_once_and_alone(served, capsys, monkeypatch):
    monkeypatch.setenv("GPUSTACK_SERVER_URL", served.url)
    assert served.run("keys") == 0
    assert "no API keys" in capsys.readouterr().err
    assert served.run("keys", "create", "laptop", "--expires", "90d", "--model", "m") == 0
    told = capsys.readouterr()
    key = told.out.strip()
    assert key.startswith("sk-aims_")
    assert "this once" in told.err
    assert served.store.get("api-key", "laptop").spec.allowed_models == ("m",)
    assert served.run("keys", "ls") == 0
    shown = capsys.readouterr().out
    assert "laptop" in shown
    assert key not in shown
    assert "in 90 d" in shown
    assert served.run("keys", "rm", "laptop", "-y") == 0
    assert not served.store.list("api-key")
    capsys.readouterr()
    assert served.run("keys", "create", "second", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["key"].startswith("sk-aims_")


def test_users(served, capsys, monkeypatch):
    assert served.run("users", "create", "ada", "--full-name", "Ada L.") == 0
    made = capsys.readouterr().out.strip()
    assert len(made) > 10
    assert served.store.get("user", "ada").spec.must_change_password
    monkeypatch.setattr("sys.stdin", _Piped("another good password\n"))
    assert served.run("users", "password", "ada", "--password-stdin") == 0
    assert capsys.readouterr().out == ""
    assert served.run("users") == 0
    assert "Ada L." in capsys.readouterr().out
    assert served.run("users", "rm", "ada", "-y") == 0
    assert served.run("users", "rm", "admin", "-y") == 5


class _Piped:
    def __init__(self, text):
        self._text = text

    def read(self, limit=-1):
        return self._text[:limit]

    def isatty(self):
        return False


def test_who_does_not_sign_in_is_told_how_to(remote, capsys):
    assert remote.run("ls") == 4
    told = capsys.readouterr()
    assert told.out == ""
    assert "aimindserve login" in told.err
    assert remote.run("ls", "-o", "json") == 4
    problem = json.loads(capsys.readouterr().err)
    assert problem["code"] == "unauthenticated"
    assert problem["request_id"]


def test_login_keeps_the_session_for_you_alone_and_logout_ends_it(
    remote, capsys, monkeypatch, own_home
):
    monkeypatch.delenv("GPUSTACK_SERVER_URL")
    monkeypatch.setattr("sys.stdin", _Piped("wrong password\n"))
    assert remote.run("login", remote.url, "--password-stdin") == 4
    monkeypatch.setattr("sys.stdin", _Piped(PASSWORD + "\n"))
    assert remote.run("login", remote.url, "-u", "admin", "--password-stdin") == 0
    kept = own_home / "config" / "aimindserve" / "credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert PASSWORD not in kept.read_text()
    assert remote.run("ls") == 0
    assert remote.run("deploy", GGUF, "--no-wait") == 0
    capsys.readouterr()
    assert remote.run("logout") == 0
    assert not remote.store.list("session")
    assert json.loads(kept.read_text())["servers"] == {}


def test_login_with_a_key(remote, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", _Piped(PASSWORD))
    assert remote.run("login", "--password-stdin", "-u", "admin") == 0
    capsys.readouterr()
    assert remote.run("keys", "create", "k") == 0
    key = capsys.readouterr().out.strip()
    assert remote.run("logout", remote.url) == 0
    assert remote.run("ls") == 4
    monkeypatch.setattr("sys.stdin", _Piped(key + "\n"))
    assert remote.run("login", "--api-key-stdin", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["user"] == "admin"
    assert remote.run("ls") == 0
    assert remote.run("ls", "--api-key", "sk-aims_00000000_nope") == 4


def test_a_saved_credential_goes_to_no_other_server(remote, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", _Piped(PASSWORD))
    assert remote.run("login", "--password-stdin", "-u", "admin") == 0
    other = remote.url.replace("127.0.0.1", "localhost")
    assert remote.run("ls", "--server", other) == 4


def test_chat_prints_the_answer_as_it_comes(served, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", _Piped(""))
    assert served.run("chat", "m", "Hi?", "--temperature", "0", "--system", "Be brief.") == 0
    told = capsys.readouterr()
    assert told.out == "Hello there.\n"
    (asked,) = served.front.asked
    assert asked["stream"] is True
    assert asked["temperature"] == 0
    assert [one["role"] for one in asked["messages"]] == ["system", "user"]
    assert served.run("chat", "m", "Hi?", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["choices"][0]["message"]["content"]


def test_chat_reads_a_pipe_and_strips_control_sequences(served, capsys, monkeypatch):
    served.front.pieces = ["\x1b[31mred\x1b[0m", "\x07!"]
    monkeypatch.setattr("sys.stdin", _Piped("from the pipe\n"))
    assert served.run("chat", "m") == 0
    assert capsys.readouterr().out == "red!\n"
    assert served.front.asked[0]["messages"][-1]["content"] == "from the pipe"


def test_an_error_within_a_streamed_answer_is_an_error(served, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", _Piped(""))
    served.front.pieces = ["Hel", {"error": {"message": "It broke.", "code": "upstream"}}]
    assert served.run("chat", "m", "Hi?") == 1
    assert "It broke. (upstream)" in capsys.readouterr().err


def test_apply_creates_changes_and_leaves_alone(served, capsys, tmp_path):
    deploy(served, "--name", "a")
    capsys.readouterr()
    assert served.run("get", "deployments", "-o", "yaml") == 0
    documents = yaml.safe_load(capsys.readouterr().out)
    b = {
        "kind": "deployment",
        "metadata": {"name": "b"},
        "spec": {"model": documents[0]["spec"]["model"]},
    }
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump([*documents, b]))
    assert served.run("apply", "-f", str(file), "--dry-run") == 10
    assert served.store.find("deployment", "b") is None
    assert "b would be created" in capsys.readouterr().out
    assert served.run("apply", "-f", str(file)) == 0
    assert "deployment a unchanged" in capsys.readouterr().out
    assert served.store.get("deployment", "b").spec.replicas == 1
    b["spec"]["replicas"] = 4
    file.write_text(yaml.safe_dump_all([b]))
    assert served.run("apply", "-f", str(file), "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)[0]["result"] == "changed"
    assert served.store.get("deployment", "b").spec.replicas == 4
    assert served.run("apply", "-f", str(file), "--dry-run") == 0


def _team_file(tmp_path, *names, team="chat"):
    documents = [
        {
            "kind": "deployment",
            "metadata": {"name": name, "labels": {"team": team}},
            "spec": {"model": {"source": "local", "path": f"/m/{name}.gguf"}, "replicas": 2},
        }
        for name in names
    ]
    file = tmp_path / "team.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return str(file)


def test_apply_shows_differences_and_writes_nothing(served, capsys, tmp_path):
    deploy(served, "--name", "a", "--label", "team=chat")
    capsys.readouterr()
    file = _team_file(tmp_path, "a", "b")
    assert served.run("apply", "-f", file, "--diff") == 10
    told = capsys.readouterr().out
    assert "deployment a would be changed." in told
    assert "-  replicas: 1\n+  replicas: 2\n" in told
    assert "+    path: /m/a.gguf" in told
    assert "placement_strategy" not in told, "what the server filled in is no difference"
    assert "deployment b would be created." in told
    assert served.store.find("deployment", "b") is None
    assert served.store.get("deployment", "a").spec.replicas == 1
    assert served.run("apply", "-f", file) == 0
    assert served.run("apply", "-f", file, "--diff") == 0


def test_apply_neither_shows_nor_loses_secrets(served, capsys, tmp_path):
    file = tmp_path / "all.yaml"

    def applied(env, *words):
        spec = {"model": {"source": "local", "path": "/m.gguf"}, "env": env}
        file.write_text(
            yaml.safe_dump({"kind": "deployment", "metadata": {"name": "a"}, "spec": spec})
        )
        code = served.run("apply", "-f", str(file), *words)
        return code, capsys.readouterr().out

    def stored():
        return served.store.get("deployment", "a").spec.env

    code, told = applied({"HF_TOKEN": "canary", "A": "1"}, "--diff")
    assert code == 10
    assert "canary" not in told
    assert "HF_TOKEN" in told
    assert applied({"HF_TOKEN": "canary", "A": "1"})[0] == 0
    assert stored() == {"HF_TOKEN": "canary", "A": "1"}

    code, told = applied({"HF_TOKEN": "canary", "A": "1"})
    assert (code, "unchanged" in told) == (0, True), told
    assert applied({"HF_TOKEN": "another", "A": "1"}, "--dry-run")[0] == 0
    assert applied({"HF_TOKEN": "another", "A": "1"})[0] == 0
    assert stored()["HF_TOKEN"] == "another"

    assert served.run("get", "deployment", "a", "-o", "yaml") == 0
    read = capsys.readouterr().out
    assert "another" not in read
    file.write_text(read.replace("A: '1'", "A: '2'"))
    assert served.run("apply", "-f", str(file)) == 0
    assert stored() == {"HF_TOKEN": "another", "A": "2"}
    capsys.readouterr()

    assert served.run("describe", "a") == 0
    assert "HF_TOKEN=********" in capsys.readouterr().out
    assert applied({"NEW_TOKEN": "********"})[0] == 2
    assert "another" in str(stored())


def test_apply_prunes_only_what_has_the_labels(served, capsys, tmp_path):
    for name, team in (("old", "chat"), ("other", "vision")):
        deploy(served, "--name", name, "--label", f"team={team}")
    file = _team_file(tmp_path, "a")
    capsys.readouterr()
    assert served.run("apply", "-f", file, "--prune") == 2
    assert "--selector" in capsys.readouterr().err
    prune = ("apply", "-f", file, "--prune", "--selector", "team=chat")
    assert served.run(*prune) == 2, "nobody is there to be asked"
    assert served.store.find("deployment", "a") is None, "so nothing at all is done"
    assert served.run(*prune, "--dry-run") == 10
    assert "deployment old would be removed." in capsys.readouterr().out
    assert served.run(*prune, "--yes", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"kind": "deployment", "name": "a", "result": "created"},
        {"kind": "deployment", "name": "old", "result": "pruned"},
    ]
    left = {each.name for each in served.store.list("deployment")}
    assert left == {"a", "other"}
    assert served.run(*prune, "--yes", "-o", "name") == 0
    assert capsys.readouterr().out == "deployment/a\n"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[1", "no YAML"),
        ("kind: deployment", "metadata.name"),
        ("", "0 objects"),
        ("3", "no object"),
    ],
)
def test_apply_refuses_a_bad_file_before_it_writes(served, capsys, tmp_path, text, word):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    assert served.run("apply", "-f", str(file)) == 2
    assert word in capsys.readouterr().err


def test_what_the_server_finds_wrong_is_told_by_field(served, capsys):
    assert served.run("deploy", GGUF, "--name", "Bad Name!", "--no-wait") == 2
    assert "cannot be a name" in capsys.readouterr().err


def test_logs_say_when_there_is_nothing_to_read(served, capsys):
    deploy(served, "--name", "m")
    capsys.readouterr()
    assert served.run("logs", "m") == 3
    assert "aimindserve why m" in capsys.readouterr().err
    served.add_instance("m", "m-aaaaa")
    assert served.run("logs", "m") != 0
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("✗")
