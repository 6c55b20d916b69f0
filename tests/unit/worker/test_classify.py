import pytest

from aimindserve.core.errors import NotFoundError, UnavailableError, UnsupportedError
from aimindserve.core.reason import CATALOGUE
from aimindserve.kit.log import MASK
from aimindserve.runtimes.base import Exited
from aimindserve.worker.classify import Whom, ended, evidence, masked, refusal

WHOM = Whom("w1", "i1")


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
        (Exited(code=1), ["CUDA error: out of memory"], 0, "engine_oom"),
        (Exited(signal="SIGABRT"), ["terminate: std::bad_alloc", "x"], 0, "engine_oom"),
        (Exited(code=1), ["cudaMalloc failed: 2"], 0, "engine_oom"),
    ],
)
def test_why_an_engine_ended(exit_, lines, oom_kills, code):
    reason = ended(exit_, lines, WHOM, oom_kills=oom_kills)
    assert reason.code == code
    assert "?" not in reason.message + reason.fix
    assert reason.evidence == "\n".join(lines)


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
