"""Everything that commands say to people has both languages: found in the source, not listed."""

import ast
import importlib
import inspect
import re
import string
from pathlib import Path

import click
import pytest

from aimindserve.cli import _click_zh, _page, _progress
from aimindserve.cli import _fit as fit_words
from aimindserve.cli import app as cli
from aimindserve.cli._columns import COLUMNS
from aimindserve.cli._errors import as_text
from aimindserve.cli._terms import TERMS
from aimindserve.cli._text import TEXTS
from aimindserve.cli._titles_zh import TITLES
from aimindserve.cli._words import english, words
from aimindserve.cli._words_zh import CHINESE
from aimindserve.controllers import fit_answer
from aimindserve.core import shape
from aimindserve.core.errors import AimsError, StaleError
from aimindserve.core.report import FileState, RunState
from aimindserve.resources._all import kinds

FOLDER = Path(cli.FOLDER)
SOURCES = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.py")}
HAN = re.compile(r"[\u4e00-\u9fff]")
ERRORS = re.compile(r"(Error|UsageError|BadParameter|fail)$")
NOT_FOR_PEOPLE = {"AssertionError", "TypeError"}


def calls():
    """(file, call, name of what is called) of every call in the commands."""
    for name, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield name, node, ast.unparse(node.func).split(".")[-1]


def fields(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def constant(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def test_every_sentence_of_an_error_is_translated():
    templates = {constant(call.args[0]) for _, call, name in calls() if name == "words"}
    assert None not in templates, "a template is written out, so that it can be found"
    assert templates == set(CHINESE)
    for template, told in CHINESE.items():
        assert fields(template) == fields(told), template
        assert HAN.search(told), template


def test_no_error_is_raised_in_one_language_alone():
    """Message and hint of an error are `words`, a text of the catalogue, or made of them."""
    bare = [
        f"{file}:{call.lineno}"
        for file, call, name in calls()
        if ERRORS.search(name) and name not in NOT_FOR_PEOPLE
        for given in [*call.args[:1], *(one.value for one in call.keywords if one.arg == "hint")]
        if constant(given) or (isinstance(given, ast.JoinedStr) and _says_something(given))
    ]
    assert not bare


def _says_something(text):
    """Whether the fixed parts of an f-string hold a word."""
    return any(re.search(r"[A-Za-z]{3}", constant(part) or "") for part in text.values)


def test_every_text_that_is_used_exists_and_is_used():
    asked = {
        constant(call.args[0 if name in {"text", "note"} else 1])
        for _, call, name in calls()
        if name in {"text", "note", "say"} and len(call.args) > (name == "say")
    }
    asked.discard(None)
    assert not asked - set(TEXTS)
    everywhere = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    made_up = ("none_", "fit_", "near_", "kind_", "unreachable", "wait_timed_out")
    unused = [
        key
        for key in TEXTS
        if not key.startswith(made_up)
        and len(re.findall(rf"\b{key.removesuffix('_would')}\b", everywhere)) < 2
    ]
    assert not unused


def test_every_head_is_translated():
    heads = {column.header for columns in COLUMNS.values() for column in columns}
    assert not heads - set(TERMS)


def test_every_label_of_a_page_is_translated():
    tree = SOURCES["_page.py"]
    labels = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and (word := _word(node.elts[0])):
            labels.add(word)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Section":
            titles = [*node.args[:1], *(one.value for one in node.keywords if one.arg == "title")]
            labels |= {word for title in titles if (word := _word(title))}
    assert len(labels) > 30
    assert not labels - set(TERMS)


def _word(node):
    """A label: a text, or the fixed beginning of an f-string."""
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    text = (constant(node) or "").strip()
    return text if text[:1].isupper() else None


def test_every_phase_and_part_is_translated():
    phases = {state.value for state in (*RunState, *FileState)} | set(_progress.STAGES)
    for kind in kinds().values():
        source = inspect.getsource(importlib.import_module(f"aimindserve.resources.{_file(kind)}"))
        phases |= set(re.findall(r'return "([a-z]+)", Class\.', source))
        phases |= set(re.findall(r'"phase": "([a-z]+)"', source))
    assert {"degraded", "cordoned", "lost", "measured", "backoff"} <= phases
    parts = {*fit_words.PARTS, *(name.replace("_", " ") for name in _page._PARTS)}
    known = {shape.ROUGH, shape.ESTIMATED, shape.MEASURED, shape.DECLARED}
    assert not (phases | parts | known) - set(TERMS)


def _file(kind):
    return kind.name.replace("-", "_")


def test_every_verdict_of_a_preview_has_a_text_and_a_row_in_the_docs():
    tree = ast.parse(inspect.getsource(fit_answer._verdict))
    given = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return)]
    found = {constant(leaf) for value in given for leaf in ast.walk(value)} - {None}
    found = {word for word in found if word not in {"tight_headroom", "helps", "warned"}}
    assert {"fits", "tight", "overcommitted", "no", "unknown", "cpu_only"} <= found
    docs = FOLDER.parents[2] / "docs"
    for page in (docs / "placement.md", docs / "zh/placement.md"):
        text = page.read_text(encoding="utf-8")
        assert not [word for word in found if f"| `{word}` |" not in text], page
    assert not {word for word in found if f"fit_{word}" not in TEXTS}


def asks_gettext():
    """The sentences of the command-line library."""
    for name in _click_zh.MODULES:
        tree = ast.parse(inspect.getsource(importlib.import_module(f"click.{name}")))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"_", "ngettext"}:
                yield from filter(None, map(constant, node.args))


OF_THE_HELP = {"Options", "Commands", "Positional arguments", "Usage:", "env var: {var}",
               "default: {default}", "(dynamic)", "deprecated"}  # fmt: skip
FOR_PROGRAMMERS = re.compile(
    r"Deprecation|declar|decls|defined|iterable|Choice\(|stream|colour|unknown error|any key|"
    r"same flag"
)
NOT_USED_HERE = re.compile(  # types of values that no command has; a new one will miss its words
    r"file|directory|path|format|UUID|\{name\} \{filename"
)


def test_every_sentence_of_the_command_line_library_is_translated():
    asked = set(asks_gettext())
    assert len(asked) > 40
    missing = {
        text for text in asked - set(_click_zh.CHINESE) - OF_THE_HELP
        if not FOR_PROGRAMMERS.search(text) and not NOT_USED_HERE.search(text)
    }  # fmt: skip
    assert not missing
    assert not {t for t in _click_zh.CHINESE if t not in asked}, "the library has other words now"
    for text, told in _click_zh.CHINESE.items():
        assert fields(told) <= fields(text), text


def test_no_command_takes_values_whose_errors_are_not_translated():
    def every(command):
        yield command
        for child in getattr(command, "commands", {}).values():
            yield from every(child)

    used = {
        type(parameter.type).__name__
        for name in cli.command_names()
        for command in every(cli.load(name))
        for parameter in command.params
    }
    assert used <= {
        "StringParamType", "BoolParamType", "IntParamType", "IntRange", "FloatRange", "Choice",
        "FuncParamType",
    }  # fmt: skip


WRONG = [
    ("deploy",), ("deploy", "--nope"), ("scale", "a", "b"), ("scale", "a", "5000"), ("nix",),
    ("deplo",), ("workers", "nix"), ("workers", "cordn", "x"), ("logs", "a", "b"),
    ("wait", "x", "--for", "nix"), ("wait", "x", "--timeout", "soon"), ("start", "--port"),
    ("apply",), ("fit",), ("fit", "/m.gguf", "--add", "a:b"), ("keys", "create"), ("completion",),
    ("ls", "-q=1"), ("deploy", "m"), ("get", "foo"), ("events", "/x"), ("logs", "m", "--run", "x"),
    ("config", "show", "--port", "0", "-o", "table", "x"),
]  # fmt: skip
NAMES = re.compile(
    r"aimindserve[a-z -]*|--?[a-z][a-z-]*|\[OPTIONS\]|\b[A-Z][A-Z/:=_|.\[\]-]+\b|"
    r"[‘“'\"][^’”'\"]*[’”'\"]|\(invalid\)|COMMAND \[ARGS\]\.\.\.|0<=x<=1000|90s|10m|2h|GGUF|"
    r"可用的有：.*|bash|zsh|fish|\(b\)|\(x\)"
)


@pytest.mark.parametrize("line", WRONG, ids=" ".join)
def test_what_is_wrong_with_a_command_line_is_said_in_chinese(line, monkeypatch, capsys):
    monkeypatch.setenv("GPUSTACK_LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("GPUSTACK_SERVER_URL", "http://127.0.0.1:9")
    assert cli.run(line) != 0
    told = capsys.readouterr().err
    assert HAN.search(told)
    left = NAMES.sub("", told)
    assert not re.search(r"[A-Za-z]{2,}", left), told


def test_programs_get_the_english_sentence(monkeypatch, capsys):
    monkeypatch.setenv("GPUSTACK_LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("GPUSTACK_SERVER_URL", "http://127.0.0.1:9")
    assert cli.run(["get", "foo", "-o", "json"]) == 2
    told = capsys.readouterr().err
    assert "There is no kind called 'foo'." in told
    assert not HAN.search(told)


def test_a_sentence_keeps_its_english(monkeypatch):
    monkeypatch.setenv("GPUSTACK_LANG", "zh")
    with click.Context(click.Command("x")):
        told = words("{text!r} is no label.", text="a")
    assert told == "'a' 不是标签。"
    assert english(told) == "'a' is no label."
    assert english("plain") == "plain"


def test_what_a_server_says_in_english_has_its_kind_in_chinese():
    def tree(kind):
        yield kind
        for child in kind.__subclasses__():
            yield from tree(child)

    codes = {kind.code for kind in tree(AimsError) if kind.__module__ == "aimindserve.core.errors"}
    assert codes == set(TITLES)
    error = StaleError("The deployment m has changed since it was read.", hint="Read it again.")
    assert as_text(error, "zh").startswith(
        "✗ 读取后已被修改：The deployment m has changed since it was read. (stale)"
    )
    assert as_text(error, "en").startswith("✗ The deployment m has changed since")
    assert as_text(StaleError("部署已改变。"), "zh") == "✗ 部署已改变。 (stale)"
