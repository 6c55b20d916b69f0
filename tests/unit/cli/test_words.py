"""What people type and read: models, names, durations, labels, columns, texts."""

import re
import string
from pathlib import Path

import click
import pytest

from aimindserve.cli import _columns as columns
from aimindserve.cli._ask import curl
from aimindserve.cli._columns import COLUMNS, at
from aimindserve.cli._decision import fixes, refusals
from aimindserve.cli._durations import duration
from aimindserve.cli._errors import as_problem, as_text, exit_code
from aimindserve.cli._kinds import kind_of
from aimindserve.cli._model import meant, suggested
from aimindserve.cli._output import aligned
from aimindserve.cli._pairs import pairs
from aimindserve.cli._terminal import visible
from aimindserve.cli._text import TEXTS, reason_text
from aimindserve.cli.workers import label_changes
from aimindserve.client import errors as client_errors
from aimindserve.core import errors
from aimindserve.core.errors import InvalidError
from aimindserve.core.ids import is_name
from aimindserve.resources._all import kinds

HERE = Path("/home/ada")


@pytest.mark.parametrize(
    ("text", "ref", "name"),
    [
        ("/m/Qwen3-8B-Q4_K_M.gguf", {"source": "local", "path": "/m/Qwen3-8B-Q4_K_M.gguf"},
         "qwen3-8b"),
        ("m/x.gguf", {"source": "local", "path": "/home/ada/m/x.gguf"}, "x"),
        ("C:\\models\\Phi 3.gguf", {"source": "local", "path": "C:\\models\\Phi 3.gguf"}, "phi-3"),
        ("hf:Q/Qwen3-8B-GGUF/*q4_k_m*.gguf",
         {"source": "huggingface", "repo": "Q/Qwen3-8B-GGUF", "file": "*q4_k_m*.gguf"}, "qwen3-8b"),
        ("huggingface:a/b/c/d-F16.gguf",
         {"source": "huggingface", "repo": "a/b", "file": "c/d-F16.gguf"}, "d"),
        ("ms:Qwen/Qwen3-0.6B", {"source": "modelscope", "repo": "Qwen/Qwen3-0.6B"}, "qwen3-0.6b"),
        ("ollama:qwen2.5:0.5b", {"source": "ollama", "name": "qwen2.5:0.5b"}, "qwen2.5-0.5b"),
    ],
)  # fmt: skip
def test_a_model_is_meant_by_path_or_source(text, ref, name):
    found = meant(text, HERE)
    assert found.ref == ref
    assert found.name == name


@pytest.mark.parametrize("text", ["qwen3", "s3:bucket/x", "hf:qwen"])
def test_what_names_no_model_is_refused_with_advice(text):
    with pytest.raises(InvalidError) as caught:
        meant(text, HERE)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct"),
        ("DeepSeek-R1-UD-IQ1_S-00001-of-00003.gguf", "deepseek-r1"),
        ("gpt-oss-20b-mxfp4.gguf", "gpt-oss-20b"),
        ("bge-m3-FP16.gguf", "bge-m3"),
        ("模型.gguf", "model"),
        ("x" * 200 + ".gguf", "x" * 63),
    ],
)
def test_suggested_names_are_names(text, name):
    assert suggested(text) == name
    assert is_name(suggested(text))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("10m", 600), ("2h", 7200), ("90d", 7776000)]
)
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-5s", "5w"])
def test_what_is_no_duration(text):
    with pytest.raises(click.BadParameter):
        duration(text)


def test_pairs_and_labels():
    assert pairs("--env", ["A=b=c", "D="]) == {"A": "b=c", "D": ""}
    for wrong in ("A", "=b"):
        with pytest.raises(InvalidError):
            pairs("--env", [wrong])
    assert label_changes(("a=b", "c-")) == {"a": "b", "c": None}
    with pytest.raises(InvalidError):
        label_changes(("c",))


def test_kinds_by_many_words():
    assert kind_of("Deployments") == "deployment"
    assert kind_of("keys") == "api-key"
    assert kind_of("model_files") == "model-file"
    with pytest.raises(InvalidError) as caught:
        kind_of("deploymnts")
    assert "deployments" in caught.value.hint


@pytest.mark.parametrize("name", sorted(COLUMNS.keys() & kinds().keys()))
def test_columns_are_those_of_the_kind(name):
    mine = [(one.header, one.path) for one in COLUMNS[name] if not one.wide]
    assert mine == list(kinds()[name].columns)


def test_values_are_written_for_people():
    now = 1_000_000.0
    assert columns.age("1970-01-12T13:46:38.000Z", now) == "2 s"
    assert columns.age(None, now) == "–"
    assert columns.expiry(None, now) == "never"
    assert columns.expiry(now - 1, now) == "expired"
    assert columns.size(3 * 1024**3, now) == "3.0 GiB"
    assert columns.text(0, now) == "0"
    assert columns.devices([{"name": "H200"}, {"name": "H200"}, {"name": "L4"}], 0) == (
        "2x H200, 1x L4"
    )
    assert at({"a": [{"b": 1}]}, "a.0.b") == 1
    assert at({"a": []}, "a.0.b") is None


def test_tables_line_up_by_width_on_screen():
    assert aligned([("NAME", "X"), ("模型", "y")]) == "NAME  X\n模型  y"


def test_every_text_has_both_languages_and_the_same_braces():
    for key, (english, chinese) in TEXTS.items():
        fields = [
            {field for _, field, _, _ in string.Formatter().parse(text) if field}
            for text in (english, chinese)
        ]
        assert fields[0] == fields[1], key
        words = re.sub(r"\{\w+\}", "", english)
        assert re.search(r"[\u4e00-\u9fff。]", chinese) or not words.strip(), key


def test_reasons_are_told_in_the_users_language():
    reason = {"code": "path_missing", "params": {"path": "/x", "worker": "w"}, "message": "M."}
    assert reason_text(reason, "en")[0] == "M."
    assert reason_text(reason, "zh")[0] == "w 上不存在 /x。"
    newer = {"code": "not_known_here", "message": "New.", "fix": "Fix."}
    assert reason_text(newer, "zh") == ("New.", "Fix.")
    bare = {"code": "path_missing", "params": {"path": "/x", "worker": "w"}}
    assert reason_text(bare, "en")[0] == "/x does not exist on w."


def test_logs_cannot_steer_the_terminal():
    assert visible("\x1b]0;title\x07a\x1b[2Jb\tc\r\x1b") == "ab\tc"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFoundError("x"), 3),
        (errors.UnauthenticatedError("x"), 4),
        (errors.PasswordChangeError("x"), 4),
        (errors.StaleError("x"), 5),
        (client_errors.CannotScheduleError("x"), 6),
        (client_errors.WaitTimeoutError("x"), 7),
        (client_errors.UnreachableError("x"), 8),
        (client_errors.TargetFailedError("x"), 9),
        (errors.UnavailableError("x"), 1),
        (errors.InternalError("x"), 1),
    ],
)
def test_exit_codes(error, code):
    assert exit_code(error) == code


def test_errors_for_people_and_for_programs():
    error = errors.InvalidError(
        "Two are wrong.",
        hint="Look.",
        params={
            "problems": [
                {"field": "spec.a", "message": "bad"},
                {"field": "spec.b", "message": "no"},
            ],
            "request_id": "r1",
        },
    )
    assert as_text(error, "en").splitlines() == [
        "✗ Two are wrong. (invalid)",
        "  Look.",
        "  spec.a: bad",
        "  spec.b: no",
        "  request r1",
    ]
    assert '"request_id": "r1"' in as_problem(error)


def test_a_request_to_paste_fits_the_model():
    assert "/v1/embeddings" in curl("http://127.0.0.1", "m", ("embedding",))
    assert "/v1/chat/completions" in curl("http://127.0.0.1", "m", ())
    assert "Authorization" not in curl("http://127.0.0.1", "m", ("llm",))
    assert "$GPUSTACK_API_KEY" in curl("http://gpu-01", "m", ("llm",))


def test_fixes_of_a_summary_are_those_of_the_reasons_in_it():
    decision = {
        "refused": [
            {"worker": "a", "code": "path_missing", "params": {}},
            {"worker": "b", "code": "no_fit_ram", "params": {}},
            {"worker": "c", "code": "no_fit_ram", "params": {}},
        ],
        "refused_total": 14,
        "counts": {"no_fit_ram": 2, "path_missing": 1},
    }
    found = fixes({"code": "no_fit", "params": {"name": "m"}}, decision, "en")
    assert [text.split()[0] for text in found] == ["Use", "Put"]
    assert fixes({"code": "path_missing", "params": {}}, {}, "en")[0].startswith("Put")
    assert refusals(decision, "en")[-1] == "… +2"
