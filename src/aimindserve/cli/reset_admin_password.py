"""Give an administrator who cannot sign in a new password."""

import json
import sys
from typing import Any

import click

from aimindserve.cli._failure import CommandError
from aimindserve.cli._words import words


@click.command("reset-admin-password")
@click.option("-s", "--server-url", metavar="URL", help="A server that can be asked to do it.")
@click.option("--api-key", envvar="GPUSTACK_API_KEY", help="API key of an administrator.")
@click.option("--user", default="admin", show_default=True, help="Whose password.")
@click.option("--data-dir", metavar="PATH", help="The server's data directory, on this machine.")
@click.option("--database-url", metavar="URL", help="The server's database, if not the default.")
@click.option("--config-file", metavar="PATH", help="The server's YAML file.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print.",
)
def reset_admin_password(
    server_url: str | None, api_key: str | None, user: str, output: str, **places: Any
) -> None:
    """Give an administrator who cannot sign in a new password, which must be changed then.

    On the server's machine its data directory is enough, found as `start` finds it: a running
    server is asked, and of one that does not run the database is opened. All sessions of the user
    end. Elsewhere give --server-url and --api-key.
    """
    if server_url is not None:
        password = _ask_server(server_url, api_key, user)
    else:
        password = _here(places, user)
    if output == "json":
        click.echo(json.dumps({"user": user, "password": password}))
        return
    click.echo(password)
    click.echo(words("Sign in as {user} with it; it must be changed then.", user=user), err=True)


COMMAND = reset_admin_password


def _here(places: dict[str, str | None], user: str) -> str:
    from aimindserve.boot.load import SERVER_URL, load
    from aimindserve.boot.recovery import new_admin_password
    from aimindserve.boot.resolve import DEFAULT
    from aimindserve.kit import log

    # What opening a database has to say is no data: standard output is for the password.
    log.configure(stream=sys.stderr)
    flags = {name: value for name, value in places.items() if value is not None}
    resolved = load(flags, strict=False, unread=(SERVER_URL,))
    given = resolved.origins["database_url"] != DEFAULT
    return new_admin_password(resolved.settings, user, database_given=given)


def _ask_server(url: str, api_key: str | None, user: str) -> str:
    from aimindserve.client.sync import Client

    with Client(url, api_key=api_key) as client:
        password = client.reset_password(user)
    if password is None:
        raise CommandError(words("{url} set a password but did not say which.", url=url))
    return password
