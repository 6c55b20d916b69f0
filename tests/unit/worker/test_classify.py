from pathlib import Path

import pytest

from aimindserve.core.errors import NotFoundError, UnavailableError, UnsupportedError
from aimindserve.core.reason import CATALOGUE
from aimindserve.kit.log import MASK
from aimindserve.runtimes.base import Exited
from aimindserve.worker.classify import Whom, ended, evidence, masked, refusal

WHOM = Whom("w1", "i1", ("w1:cuda:0",))
TAILS = sorted((Path(__file__).parent / "tails").glob("*.txt"))
"""`<engine>-<what happened>.<which memory>.txt`: how it exited, then the last lines of its log."""
CODES = {"device": "engine_oom_device", "host": "engine_oom", "host-killed": "engine_oom"}


@pytest.mark.parametrize(
    ("exit_", "lines", "oom_kills", "code"),
    [
        (Exited(code=1), ["bad things"], 0, "engine_exited"),
        (Exited(code=0), [], 0, "engine_exited"),
        (Exited(), [], 0, "engine_exited"),
        (Exited(signal="SIGSEGV"), [], 0, "engine_killed"),
        (Exited(signal="SIGKILL"), [], 0, "engine_killed"),
        (Exited(signal="SIGKILL"), [], 1, "engine_oom"),
        (Exited(signal="SIGTERM"), [], 1, "engine_killed"),
        (Exited(code=1), ["CUDA error: out of memory"], 0, "engine_oom_device"),
        (Exited(code=137), [], 1, "engine_oom"),
        (Exited(code=137), [], 0, "engine_exited"),
        (Exited(signal="SIGABRT"), ["terminate: std::bad_alloc", "x"], 0, "engine_oom"),
        (Exited(code=1), ["cudaMalloc failed: 2"], 0, "engine_oom_device"),
    ],
)
def test_why_an_engine_ended(exit_, lines, oom_kills, code):
    reason = ended(exit_, lines, WHOM, oom_kills=oom_kills)
    assert reason.code == code
    assert "?" not in reason.message + reason.fix
    assert reason.evidence == "\n".join(lines)


@pytest.mark.parametrize("tail", TAILS, ids=lambda path: path.stem)
def test_last_words_say_which_memory_was_short(tail):
    how, *lines = tail.read_text().splitlines()
    kind, _, value = how.partition("=")
    exit_ = Exited(code=int(value)) if kind == "code" else Exited(signal=value)
    want = tail.stem.rpartition(".")[2]
    reason = ended(exit_, lines, WHOM, oom_kills=int(want == "host-killed"))
    if want == "none":
        assert reason.code in {"engine_exited", "engine_killed"}
        return
    assert reason.code == CODES[want]
    assert "?" not in reason.message + reason.fix
    if want != "host-killed":
        assert "memory" in reason.evidence.lower() or "ALLOC" in reason.evidence


def test_every_engine_has_recorded_last_words():
    engines = {path.name.partition("-")[0] for path in TAILS}
    assert {"llama.cpp", "vllm", "mindie", "vox", "other"} <= engines


def test_what_a_device_was_not_claimed_for_is_the_hosts():
    lines = ["CUDA error: out of memory"]
    reason = ended(Exited(code=1), lines, Whom("w1", "i1"), oom_kills=0)
    assert reason.code == "engine_oom"


def test_the_status_is_named():
    assert "exit code 7" in ended(Exited(code=7), [], WHOM, oom_kills=0).message
    assert "SIGSEGV" in ended(Exited(signal="SIGSEGV"), [], WHOM, oom_kills=0).message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnavailableError("no such program."), "launch_failed"),
        (UnsupportedError("what is -x?", params={"param": "-x"}), "bad_param"),
        (UnsupportedError("it reads GGUF only."), "backend_unfit"),
        (
            NotFoundError("?", params={"reason": "backend_unknown", "known": "a, b"}),
            "backend_unknown",
        ),
        (NotFoundError("?", params={"reason": "no such code"}), "launch_failed"),
    ],
)
def test_why_an_engine_was_not_started(error, code):
    reason = refusal(error, "bee", WHOM)
    assert reason.code == code
    assert code in CATALOGUE
    assert "?" not in reason.fix


def test_evidence_is_short():
    lines = [f"line {number} " + "x" * 1000 for number in range(100)]
    assert len(evidence(lines)) <= 4000
    assert evidence(["a"] * 20).count("\n") == 14


def test_secrets_are_masked():
    line = "key=hunter2-long token Bearer abcdef sk-aims_0123_topsecret"
    clean = masked(line, ["hunter2-long", "", "ab"])
    assert "hunter2" not in clean
    assert "abcdef" not in clean
    assert "topsecret" not in clean
    assert clean.count(MASK) == 3
