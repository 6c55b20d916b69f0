"""End the session with a server and forget its credential."""

from typing import TYPE_CHECKING

import click

from aimindserve.cli import _connection
from aimindserve.cli._invocation import DATA, Invocation, client_command
from aimindserve.cli._output import print_document
from aimindserve.core.errors import AimsError

if TYPE_CHECKING:
    from aimindserve.client.sync import Client


@client_command("logout", outputs=DATA)
@click.argument("url", required=False)
def logout(here: Invocation, url: str | None) -> None:
    """End the session with a server and forget its credential.

    URL: the server; the one of the last login when not given.
    """
    from aimindserve.client.exchange import base_url
    from aimindserve.client.sync import Client

    logins = _connection.read()
    named = url or here.server
    server = base_url(named) if named else logins.current
    saved = logins.servers.get(server or "")
    if server is None or saved is None:
        here.note("not_signed_in" if server else "signed_in_nowhere", server=server)
    else:
        _connection.write(logins.without(server))
        if saved.session:
            _revoke(Client(server, session=saved.session))
        here.note("signed_out", server=server)
    if here.output == "json":
        print_document(here, {"server": server, "signed_out": saved is not None})


COMMAND = logout


def _revoke(client: "Client") -> None:
    """End the session at the server; the credential is forgotten here whatever it answers."""
    with client:
        try:
            client.logout()
        except AimsError as error:
            click.echo(f"! {error.message}", err=True)
