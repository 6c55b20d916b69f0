"""The command line's front: commands are found by file name, and only the called one is loaded.

Each public file `cli/<name>.py` is the command `<name>` (underscores become hyphens). It exports
`COMMAND`, a `click.Command`; the first line of its docstring is the line that `--help` shows, read
without importing the file. Files that begin with an underscore are shared parts of commands. Heavy
imports (httpx, rich, anything of boot or client) belong inside the function that needs them.

Must not know what any command does.
"""

import ast
import importlib
import os
import re
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from typing_extensions import override

from aimindserve import __version__
from aimindserve.cli import _click_zh
from aimindserve.cli._failure import INTERRUPTED, USAGE, WrongUsageError, exit_code, report
from aimindserve.cli._help import Speaking, speaking
from aimindserve.cli._words import english, no_such_command
from aimindserve.core.errors import AimsError

FOLDER = Path(__file__).parent
NOT_COMMANDS = frozenset({"app"})
_DOCSTRING = re.compile(r'\A\s*("""(?:[^"\\]|\\.)*?(?:\n|"""))')
_JSON_WANTED = re.compile(r"(?:^|\s)(?:-o\s*=?\s*json|--output[\s=]json|--json)(?:\s|$)")
HELP_NAMES = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are told on standard error."""
    _click_zh.install()
    program = Path(sys.argv[0]).stem if sys.argv else "aimindserve"
    name = program if program in {"aimindserve", "gpustack"} else "aimindserve"
    as_json = _JSON_WANTED.search(" ".join(arguments)) is not None
    try:
        outcome = main.main(args=list(arguments), prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        if as_json:
            report(WrongUsageError(english(error.format_message())), as_json=True)
            return USAGE
        # In a context again: it knows the user's language.
        with (error.ctx or click.Context(main)).scope(cleanup=False):
            error.show()
        return USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except AimsError as error:
        report(error, as_json=as_json)
        return exit_code(error)
    except _ReaderGone:
        # `| head`: that is no failure, and Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return outcome if isinstance(outcome, int) else 0


class _ReaderGone(Exception):  # noqa: N818 - it is no error
    """Whoever read standard output reads no more."""


@contextmanager
def _noticing() -> Generator[None]:
    """Notice a closed pipe before the library does, which would end the program with 1."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise _ReaderGone from None


class CommandFolder(click.Group):
    """A click group whose commands are the files of this folder."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; prints the help, when it is asked for."""
        with _noticing():
            return super().parse_args(ctx, args)

    @override
    def invoke(self, ctx: click.Context) -> Any:
        """As click does."""
        with _noticing():
            return super().invoke(ctx)

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, by name, without importing any."""
        return command_names()

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one file that holds the command."""
        if cmd_name not in command_names():
            return None
        return load(cmd_name)

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name for a word that is no command."""
        if args and not args[0].startswith("-") and args[0] not in command_names():
            near = get_close_matches(args[0], command_names(), n=1)
            ctx.fail(no_such_command(args[0], near))
        return super().resolve_command(ctx, args)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command list of `--help`, from the files' first lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short_help(name)) for name in command_names()])


def command_names() -> list[str]:
    """The names of all commands."""
    files = (path.stem for path in FOLDER.glob("*.py"))
    return sorted(
        stem.replace("_", "-")
        for stem in files
        if not stem.startswith("_") and stem not in NOT_COMMANDS
    )


def short_help(name: str) -> str:
    """The first line of the docstring of a command's file."""
    with (FOLDER / f"{name.replace('-', '_')}.py").open(encoding="utf-8") as file:
        head = file.read(400)
    found = _DOCSTRING.match(head)
    if found is None:
        return ""
    line = found.group(1).rstrip('\n"')
    return str(ast.literal_eval(f'{line}"""')).strip()


def load(name: str) -> click.Command:
    """The command `name`; raises TypeError when its file does not export a click command."""
    module = importlib.import_module(f"aimindserve.cli.{name.replace('-', '_')}")
    command = getattr(module, "COMMAND", None)
    if not isinstance(command, click.Command):
        raise TypeError(f"{module.__name__} must export COMMAND, a click.Command")
    return speaking(command)


@click.command(cls=CommandFolder, context_settings=HELP_NAMES)
@click.version_option(__version__, "-V", "--version", message="aimindserve %(version)s")
def main() -> None:
    """aiMindServe: one place to run AI models on your own machines."""


main.context_class = Speaking
