"""List, make and remove users, and set their passwords."""

import json
import sys

import click

from aimindserve.cli._failure import WrongUsageError
from aimindserve.cli._find import find
from aimindserve.cli._invocation import (
    OBJECTS,
    TABLES,
    Invocation,
    ListByDefault,
    client_command,
)
from aimindserve.cli._output import listing_options, print_document, print_list
from aimindserve.cli._remove import remove
from aimindserve.cli._words import words

PASSWORD_MAX = 4096


@click.group("users", cls=ListByDefault)
def users() -> None:
    """List, make and remove users, and set their passwords. Without a subcommand: list."""


@client_command("ls", outputs=TABLES, group=users)
@listing_options
def ls(here: Invocation, filters: tuple[str, ...], sort: str | None, no_header: bool) -> None:
    """List users."""
    with here.client() as client:
        found = list(client.users.all())
    print_list(here, "user", found, filters=filters, sort=sort, no_header=no_header)


@client_command("create", outputs=OBJECTS, group=users)
@click.argument("name")
@click.option("--admin", is_flag=True, help="May manage everything.")
@click.option("--full-name", default="", help="Name to show.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def create(here: Invocation, name: str, admin: bool, full_name: str, password_stdin: bool) -> None:
    """Make a user. Without --password-stdin the server makes a password, printed this once.

    A password that the server made must be changed at the first sign-in.
    """
    chosen = _from_stdin() if password_stdin else None
    spec = {"role": "admin" if admin else "user", "full_name": full_name}
    with here.client() as client:
        made = client.create_user(name, chosen, spec=spec)
    if here.structured:
        extra = {} if made.password is None else {"password": made.password}
        print_document(here, {**made.object.document, **extra})
        return
    here.note("user_made", name=made.object.name)
    _tell_password(here, made.password)


@client_command("password", outputs=("text", "json"), group=users)
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def password(here: Invocation, name: str, password_stdin: bool) -> None:
    """Give a user another password, made by the server unless --password-stdin.

    Every session of the user ends, and the password must be changed at the next sign-in.
    """
    chosen = _from_stdin() if password_stdin else None
    with here.client() as client:
        find(here, client.users, name)
        made = client.reset_password(name, chosen)
    if here.output == "json":
        click.echo(json.dumps({"name": name, "password": made}))
        return
    here.note("password_set", user=name)
    _tell_password(here, made)


@client_command("rm", outputs=OBJECTS, group=users)
@click.argument("names", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(here: Invocation, names: tuple[str, ...], yes: bool) -> None:
    """Remove users, with their keys and sessions."""
    with here.client() as client:
        remove(here, client.users, names, yes=yes)


COMMAND = users


def _tell_password(here: Invocation, made: str | None) -> None:
    if made is not None:
        click.echo(made)
        here.note("password_once")


def _from_stdin() -> str:
    text = sys.stdin.read(PASSWORD_MAX).rstrip("\r\n")
    if not text:
        raise WrongUsageError(words("Standard input was empty."))
    return text
