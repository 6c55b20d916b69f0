"""Give an administrator who cannot sign in a new password."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aimindserve.cli._failure import CommandError
from aimindserve.core.errors import AimsError, StoreUnavailableError

if TYPE_CHECKING:
    from aimindserve.boot.settings import Settings


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

    On the server's machine nothing else is needed: a running server trusts it, and one that is not
    running has its database opened directly. Elsewhere give --server-url and --api-key.
    """
    if server_url is not None:
        password = _ask_server(server_url, api_key, user)
    else:
        password = _here(places, api_key, user)
    if output == "json":
        click.echo(json.dumps({"user": user, "password": password}))
        return
    click.echo(password)
    click.echo(f"Sign in as {user} with it; it must be changed then.", err=True)


COMMAND = reset_admin_password


def _here(places: dict[str, str | None], api_key: str | None, user: str) -> str:
    from aimindserve.boot.load import load
    from aimindserve.boot.places import places_of

    flags = {name: value for name, value in places.items() if value is not None}
    settings = load(flags).settings
    files, refused = places_of(settings), None
    running = _address(files.address)
    if running is not None:
        try:
            password = _ask_server(running, api_key, user)
        except AimsError as error:
            refused = error
        else:
            if user == "admin":
                files.admin_password.unlink(missing_ok=True)
            return password
    return _offline(settings, user, refused)


def _address(file: Path) -> str | None:
    """The address of the server that runs on this data directory."""
    try:
        return str(json.loads(file.read_text("utf-8"))["url"])
    except (OSError, ValueError, KeyError):
        return None


def _ask_server(url: str, api_key: str | None, user: str) -> str:
    from aimindserve.client.sync import Client

    with Client(url, api_key=api_key) as client:
        password = client.reset_password(user)
    if password is None:
        raise CommandError(f"{url} set a password but did not say which.")
    return password


def _offline(settings: "Settings", user: str, refused: AimsError | None) -> str:
    import asyncio

    from aimindserve.boot.recovery import new_admin_password

    if not settings.general.data_dir.is_dir():
        raise CommandError(
            f"There is no server's data in {settings.general.data_dir}.",
            hint="Name the directory with --data-dir, or a server with --server-url.",
        )
    try:
        return asyncio.run(new_admin_password(settings, user))
    except StoreUnavailableError as error:
        if refused is None:
            raise
        raise CommandError(
            f"The running server refused ({refused.message}) and holds its database.",
            hint="Stop the server and try again, or give --api-key of an administrator.",
        ) from error
