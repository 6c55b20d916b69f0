"""Commands stay light, alike and documented, whoever adds one."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from aimindserve.cli.app import FOLDER, command_names, load, short_help

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
