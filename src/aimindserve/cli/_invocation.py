"""What every client command is given: where to, how to print, in which language; and its options.

    @client_command("ls", outputs=TABLES)
    @click.option("--filter", …)
    def ls(here: Invocation, filter: …) -> None: …

The decorator adds the shared options, makes the Invocation, and turns exceptions into words.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import click
from typing_extensions import override

from aimindserve.cli import _connection
from aimindserve.cli._errors import told
from aimindserve.cli._terms import term
from aimindserve.cli._text import language, say, variable
from aimindserve.cli._words import no_such_command, words

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

TABLES = ("table", "wide", "json", "jsonl", "yaml", "csv", "name")
OBJECTS = ("text", "json", "yaml", "name")
DATA = ("text", "json")
PROGRAMS = frozenset({"json", "jsonl"})
"""Outputs whose readers want errors as JSON, too."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of a client command."""

    server: str | None
    api_key: str | None
    output: str
    quiet: bool
    language: str

    def client(self) -> "Client":
        """A client of the server that is meant; close it, or use `with`."""
        return _connection.connect(self.server, self.api_key)

    @property
    def structured(self) -> bool:
        """Whether programs read the output."""
        return self.output in {"json", "jsonl", "yaml", "csv", "name"}

    @property
    def colour(self) -> bool:
        """Whether standard output may have colour: a terminal that nobody asked to be plain."""
        plain = variable("NO_COLOR") or variable("TERM") == "dumb"
        return sys.stdout.isatty() and not plain and not self.structured

    @property
    def asks(self) -> bool:
        """Whether a person is there to answer a question."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def text(self, key: str, **params: object) -> str:
        """A text of the catalogue in the user's language."""
        return say(self.language, key, **params)

    def term(self, word: str) -> str:
        """A word of a table or page in the user's language."""
        return term(word, self.language)

    def note(self, key: str, **params: object) -> None:
        """Say something on standard error, unless asked to be quiet."""
        if not self.quiet:
            click.echo(self.text(key, **params), err=True)


def client_command(
    name: str, *, outputs: Sequence[str] = OBJECTS, group: click.Group | None = None
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command of a function whose first argument is the Invocation."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def callback(**options: Any) -> None:
            debug = bool(options.pop("debug"))
            here = Invocation(
                server=options.pop("server"),
                api_key=options.pop("api_key"),
                output=options.pop("output"),
                quiet=options.pop("quiet"),
                language=language(),
            )
            with told(as_json=here.output in PROGRAMS, language=here.language, debug=debug):
                function(here, **options)

        maker = click.command if group is None else group.command
        command: click.Command = maker(name)(callback)
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                parameter.callback = _not_empty
        command.params += _shared(outputs)
        return command

    return decorate


def _not_empty(_context: click.Context, _parameter: click.Parameter, value: object) -> object:
    """Refuse an argument of nothing, as a variable in a script makes one that was never set."""
    given = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    if any(isinstance(each, str) and not each.strip() for each in given):
        raise click.BadParameter(words("It is empty."))
    return cast("object", value)


class ListByDefault(click.Group):
    """A group that lists when no subcommand is named: `workers -o json` is `workers ls -o json`."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `ls` in front of bare options."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["ls", *args]
        return super().parse_args(ctx, args)

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name for a word that is no command."""
        if args and args[0] not in self.commands:
            near = get_close_matches(args[0], self.commands, n=1)
            ctx.fail(no_such_command(args[0], near))
        return super().resolve_command(ctx, args)


def _shared(outputs: Sequence[str]) -> list[click.Parameter]:
    """The options of every client command; they stand behind its own in the help."""
    return [
        click.Option(
            ["-o", "--output"],
            type=click.Choice(outputs),
            default=outputs[0],
            show_default=True,
            help="How to print.",
        ),
        click.Option(
            ["--server"],
            envvar="GPUSTACK_SERVER_URL",
            metavar="URL",
            help="Server to talk to [env: GPUSTACK_SERVER_URL; default: the last login, "
            "else the server on this machine].",
        ),
        click.Option(
            ["--api-key"],
            envvar="GPUSTACK_API_KEY",
            metavar="KEY",
            help="API key; better given as GPUSTACK_API_KEY or by: aimindserve login.",
        ),
        click.Option(["-q", "--quiet"], is_flag=True, help="Print only data and errors."),
        click.Option(
            ["--debug"], is_flag=True, help="Show where in the program an error came from."
        ),
    ]
