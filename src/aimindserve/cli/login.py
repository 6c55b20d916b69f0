"""Sign in to a server and keep the session for the commands that follow."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from aimindserve.cli import _connection
from aimindserve.cli._ask import is_here
from aimindserve.cli._connection import Login
from aimindserve.cli._errors import as_text
from aimindserve.cli._failure import NOT_ALLOWED, CommandError, WrongUsageError
from aimindserve.cli._invocation import DATA, Invocation, client_command
from aimindserve.cli._output import print_document
from aimindserve.cli._words import words
from aimindserve.client.objects import Document
from aimindserve.core.errors import InvalidError, UnauthenticatedError

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

SECRET_MAX = 4096
TRIES = 3


@client_command("login", outputs=DATA)
@click.argument("url", required=False)
@click.option("-u", "--username", help="Who signs in; asked for on a terminal. [default: admin]")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option(
    "--new-password-stdin",
    is_flag=True,
    help="With --password-stdin: choose the next line as password, if the first must be changed.",
)
@click.option("--api-key-stdin", is_flag=True, help="Read an API key from standard input instead.")
def login(here: Invocation, url: str | None, username: str | None, **stdin: bool) -> None:
    """Sign in to a server and keep the session for the commands that follow.

    The password is never kept; the session is, readable by you alone. Secrets are not taken as
    arguments, where other users of this machine could see them. A password that the server made
    must be changed at the first sign-in: a terminal asks for the new one.

    \b
    aimindserve login http://gpu-01
    aimindserve login https://models.example.org --api-key-stdin < key.txt
    cat first.txt new.txt | aimindserve login --password-stdin --new-password-stdin
    """
    password_stdin, new_stdin = stdin["password_stdin"], stdin["new_password_stdin"]
    if password_stdin and stdin["api_key_stdin"]:
        raise WrongUsageError(words("--password-stdin and --api-key-stdin exclude each other."))
    if new_stdin and not password_stdin:
        raise WrongUsageError(words("--new-password-stdin needs --password-stdin."))
    server = _server(here, url)
    if not server.startswith("https://") and not is_here(server):
        here.note("plain_http", server=server)
    if stdin["api_key_stdin"]:
        signed = _by_key(server)
    else:
        given = _Given(*_passwords_from_stdin(new_stdin)) if password_stdin else _Given()
        signed = _by_password(here, server, username, given)
    _connection.write(_connection.read().with_login(server, signed))
    if here.output == "json":
        print_document(here, {"server": server, "user": signed.user})
    else:
        click.echo(here.text("signed_in", server=server, user=signed.user))


COMMAND = login


def _server(here: Invocation, url: str | None) -> str:
    from aimindserve.client.exchange import base_url

    named = url or here.server
    return base_url(named) if named else _connection.read().current or _connection.local_server()


def _by_key(server: str) -> Login:
    from aimindserve.client.sync import Client

    key = _secret_from_stdin()
    with Client(server, api_key=key) as client:
        return Login(user=user_name(client.me()), api_key=key)


@dataclass(frozen=True, slots=True)
class _Given:
    """Passwords that came on standard input."""

    password: str = ""
    new: str = ""


def _by_password(here: Invocation, server: str, username: str | None, given: _Given) -> Login:
    from aimindserve.client.sync import Client

    if not given.password and not here.asks:
        raise WrongUsageError(
            words("This is not a terminal, so the password cannot be asked for."),
            hint=words("Give it with --password-stdin, or a key with --api-key-stdin."),
        )
    user = username or "admin"
    if not username and not given.password:
        user = click.prompt(here.text("username"), default="admin", err=True)
    with Client(server) as client:
        if given.password:
            session, password = client.login(user, given.password).session, given.password
        else:
            session, password = _asked(here, client, user)
        return Login(user, session=_settled(here, client, session, _Given(password, given.new)))


def _asked(here: Invocation, client: "Client", user: str) -> tuple[str, str]:
    """(session, password), from a person who may mistype it; the last refusal is raised."""
    for left in range(TRIES - 1, -1, -1):
        password: str = click.prompt(here.text("password"), hide_input=True, err=True)
        try:
            return client.login(user, password).session, password
        except UnauthenticatedError as error:
            if not left:
                raise
            click.echo(as_text(error, here.language), err=True)
    raise AssertionError("The last try returns or raises.")


def _settled(here: Invocation, client: "Client", session: str, given: _Given) -> str:
    """The session to keep; a first password is changed before, where somebody says to which."""
    told = client.me()
    if not _must_change(told):
        return session
    if given.new:
        return client.change_password(given.password, given.new) or session
    if not here.asks:
        raise CommandError(
            here.text("must_change"),
            exit_code=NOT_ALLOWED,
            hint=words(
                "Sign in on a terminal, or give it with --new-password-stdin, as a second line."
                " Programs: POST /api/v1/auth/password."
            ),
        )
    click.echo(here.text("must_change"), err=True)
    for left in range(TRIES - 1, -1, -1):
        chosen = click.prompt(
            here.text("new_password"),
            hide_input=True,
            confirmation_prompt=here.text("new_password_again"),
            err=True,
        )
        try:
            return client.change_password(given.password, chosen) or session
        except InvalidError as error:
            if not left:
                raise
            click.echo(as_text(error, here.language), err=True)
    raise AssertionError("The last try returns or raises.")


def user_name(me: Document) -> str:
    """The name in the answer of `/api/v1/auth/me`."""
    return str(me.get("name") or me.get("user") or me.get("username") or "")


def _must_change(me: Document) -> bool:
    return bool(me.get("must_change_password"))


def _passwords_from_stdin(two: bool) -> tuple[str, ...]:
    if not two:
        return (_secret_from_stdin(),)
    first, _, second = _secret_from_stdin().partition("\n")
    if not second.strip():
        raise WrongUsageError(
            words("Standard input must have two lines: the password and the new one.")
        )
    return first.strip(), second.strip()


def _secret_from_stdin() -> str:
    text = sys.stdin.read(SECRET_MAX).strip()
    if not text:
        raise WrongUsageError(words("Standard input was empty."))
    return text
