"""Serve a model: a file or a directory that the workers have."""

from pathlib import Path
from typing import Any

import click

from aimindserve.cli import _ask
from aimindserve.cli._deployment import deployment_options, spec_of
from aimindserve.cli._durations import duration
from aimindserve.cli._find import quietly
from aimindserve.cli._invocation import Invocation, client_command
from aimindserve.cli._model import Meant, meant
from aimindserve.cli._output import print_document
from aimindserve.cli._pairs import pairs
from aimindserve.cli._wait import TIMEOUT, wait_ready
from aimindserve.core.errors import ExistsError


@client_command("deploy")
@click.argument("model")
@click.option("--name", help="Name of the deployment, and the model id on /v1.")
@deployment_options
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Label to put on it.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it answers.")
@click.option(
    "--timeout",
    type=duration,
    metavar="TIME",
    default=TIMEOUT,
    show_default=True,
    help="Wait so long.",
)
def deploy(here: Invocation, model: str, wait: bool, timeout: float, **options: Any) -> None:
    """Serve a model: a file or a directory that the workers have.

    MODEL is the path of a GGUF file, or of a directory with config.json and safetensors. Models are
    not fetched from hubs yet.

    \b
    aimindserve deploy ./SmolLM2-135M-Instruct.Q4_1.gguf
    aimindserve deploy /models/qwen3-8b.gguf --name qwen3 --replicas 2 --ctx 8192
    aimindserve deploy /models/bge-m3.gguf --category embedding --selector zone=a
    """
    wanted = meant(model, Path.cwd())
    name = options["name"] or wanted.name
    with here.client() as client:
        _warn_of_elsewhere(here, wanted, client.server_url)
        try:
            made = client.deployments.create(
                name, spec_of(wanted, options), pairs("--label", options["labels"])
            )
        except ExistsError as error:
            error.hint = here.text("taken", name=name)
            raise
        if wait:
            generation = int(made.metadata.get("generation") or 0)
            made = wait_ready(here, client, name, timeout_s=timeout, generation=generation)
        route = quietly(client.routes, name) if wait else None
    if here.structured:
        print_document(here, made.document)
        return
    here.note("ready" if wait else "deployed", name=name)
    categories = route.status.categories if route else made.spec.categories
    click.echo(_ask.card(here, client.server_url, name, tuple(categories)))
    if not wait:
        here.note("follow", command=f"aimindserve wait {name}")


COMMAND = deploy


def _warn_of_elsewhere(here: Invocation, wanted: Meant, server_url: str) -> None:
    """Say that a file of this machine means nothing to the workers of another one."""
    path = wanted.ref.get("path")
    if path and Path(path).exists() and not _ask.is_here(server_url):
        here.note("elsewhere", path=path, server=server_url)
