"""Commands stay light, alike and documented, whoever adds one."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from aimindserve.cli._help import chinese, wrapped
from aimindserve.cli._help_zh import CHINESE
from aimindserve.cli.app import FOLDER, command_names, load, main, run, short_help

SERVER_SIDE = ("boot", "server", "store", "worker", "gateway", "controllers", "resources", "sim")
HEAVY = (
    "fastapi", "starlette", "sqlalchemy", "uvicorn", "pydantic", "httpx", "rich", "yaml", "asyncio",
    "structlog",
    *(f"aimindserve.{part}" for part in SERVER_SIDE),
)  # fmt: skip
NOT_FOR_CLIENTS = (
    "fastapi", "starlette", "sqlalchemy", "uvicorn", "pydantic",
    *(f"aimindserve.{part}" for part in SERVER_SIDE if part != "boot"),
)  # fmt: skip
SOURCE = Path(FOLDER).parent.parent
CLIENTS = sorted(
    path.stem.replace("_", "-")
    for path in FOLDER.glob("[a-z]*.py")
    if "client_command" in path.read_text(encoding="utf-8")
)


def leaves(command: click.Command, path: str):
    """Every command that does something, with its full name."""
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from leaves(child, f"{path} {name}")
    else:
        yield path, command


def every():
    for name in command_names():
        yield from leaves(load(name), name)


def imported(statement: str) -> set[str]:
    """The modules a fresh interpreter holds after `statement`."""
    code = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


def test_there_are_client_commands():
    assert {"deploy", "ls", "ps", "describe", "why", "logs", "chat", "keys"} <= set(CLIENTS)


def test_importing_a_client_command_loads_nothing_heavy():
    modules = ", ".join(f"aimindserve.cli.{name.replace('-', '_')}" for name in CLIENTS)
    loaded = imported(f"import {modules}")
    assert not [name for name in HEAVY if name in loaded]


def test_talking_to_a_server_needs_nothing_of_the_server():
    loaded = imported(
        "from aimindserve.cli.app import run; run(['ls', '--server', 'http://127.0.0.1:9'])"
    )
    assert "httpx" in loaded
    assert not [name for name in NOT_FOR_CLIENTS if name in loaded]


@pytest.mark.parametrize("name", command_names())
def test_a_command_says_what_it_does(name):
    line = short_help(name)
    assert line.endswith(".")
    assert len(line) <= 100


@pytest.mark.parametrize(("path", "command"), list(every()))
def test_every_command_and_option_is_explained(path, command):
    assert command.help, path
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            told = parameter.help or isinstance(parameter.type, click.Choice) or parameter.default
            assert told, f"{path} {parameter.opts}"
            assert all(flag == flag.lower() or len(flag) == 2 for flag in parameter.opts), path


@pytest.mark.parametrize(("path", "command"), list(every()))
def test_client_commands_share_their_options(path, command):
    if path.split()[0] not in CLIENTS:
        return
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert {"--server", "--api-key", "--output", "-o", "--quiet", "--debug"} <= flags, path
    output = next(one for one in command.params if "--output" in one.opts)
    assert "json" in output.type.choices, path


def test_the_reference_pages_are_up_to_date():
    from aimindserve.cli._reference import stale

    assert not stale(SOURCE.parent / "docs"), "run: make docs"


def paragraphs(command: click.Command):
    """Every text of a command's help that is meant for people."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if not paragraph.startswith("\b"):
            yield paragraph
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{command.name} {parameter.opts}"
            yield parameter.help


def with_groups(command: click.Command, path: str):
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from with_groups(child, f"{path} {name}")


ALL = [("", main), *(each for name in command_names() for each in with_groups(load(name), name))]


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_command_and_option_is_explained_in_both_languages(path, command):
    missing = [text for text in paragraphs(command) if chinese(text) is None]
    line = short_help(path) if path in command_names() else ""
    assert not missing, f"{path}: add these to cli/_help_zh.py"
    assert not line or chinese(line), path


def test_no_translation_is_left_over():
    used = {"Show this message and exit."}
    for path, command in ALL:
        used |= {" ".join(text.split()) for text in paragraphs(command)}
        used |= {short_help(path)} if path in command_names() else set()
    assert not CHINESE.keys() - used
    for text in CHINESE.values():
        assert re.search(r"[\u4e00-\u9fff]", text), text


@pytest.mark.parametrize(("locale", "word"), [("zh_CN.UTF-8", "用法："), ("en_US.UTF-8", "Usage:")])
@pytest.mark.parametrize("words", [(), ("apply",), ("workers", "label"), ("start",)])
def test_help_is_in_the_language_of_the_user(locale, word, words, monkeypatch, capsys):
    monkeypatch.setenv("GPUSTACK_LANG", locale)
    assert run([*words, "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(word)
    chinese_letters = re.findall(r"[\u4e00-\u9fff]", told)
    assert bool(chinese_letters) is (word == "用法：")
    if word == "用法：":
        assert "Options" not in told
        assert "Show this" not in told


def test_lines_are_as_wide_as_they_look():
    lines = list(wrapped("使服务器上的对象与 YAML 文件一致：缺少的创建，其余的更新。" * 3, 20))
    assert max(sum(2 if letter > "\u2e80" else 1 for letter in line) for line in lines) <= 22
    assert not [line for line in lines if line[0] in "，。："]
    assert "".join(lines).count("YAML") == 3
