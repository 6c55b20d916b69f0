"""Say whether a model would fit, where, and what is in its way, without deploying it."""

from pathlib import Path
from typing import Any

import click

from aimindserve.cli import _failure
from aimindserve.cli._deployment import deployment_options, spec_of
from aimindserve.cli._fit import told
from aimindserve.cli._invocation import Invocation, client_command
from aimindserve.cli._model import meant
from aimindserve.cli._output import print_document
from aimindserve.cli._words import words
from aimindserve.core.verdict import FITTING


@client_command("fit", outputs=("text", "json", "yaml"))
@click.argument("model", required=False)
@click.option("--name", default="", help="Take the place of this deployment, if there is one.")
@deployment_options
@click.option(
    "--lose", multiple=True, metavar="WORKER", help="What if this worker were lost? Repeatable."
)
@click.option(
    "--add", multiple=True, metavar="WORKER[:COUNT]", help="What if there were more like it?"
)
@click.option(
    "--without", multiple=True, metavar="DEPLOYMENT", help="What if this deployment were gone?"
)
def fit(here: Invocation, model: str | None, **options: Any) -> None:
    """Say whether a model would fit, where, and what is in its way, without deploying it.

    MODEL is as for deploy. Without one, --lose, --add and --without say what would become of what
    runs. Ends with exit code 6 when it does not fit, also where devices chosen by hand have not
    enough free memory.

    \b
    aimindserve fit /models/qwen3-8b.gguf --ctx 32768
    aimindserve fit /models/qwen3-8b.gguf --replicas 4 --add gpu-01:2
    aimindserve fit --lose gpu-01
    """
    changed = options["lose"] or options["add"] or options["without"]
    if model is None and not changed:
        raise click.UsageError(words("Give a MODEL, or one of --lose, --add, --without."))
    question: dict[str, Any] = {
        "changes": {
            "workers_lost": list(options["lose"]),
            "workers_added": [_added(text) for text in options["add"]],
            "deployments_removed": list(options["without"]),
        }
    }
    if model is not None:
        question |= {"spec": spec_of(meant(model, Path.cwd()), options), "name": options["name"]}
    with here.client() as client:
        answer = client.fit(question)
    if here.structured:
        print_document(here, answer)
    else:
        click.echo("\n".join(told(here, answer)))
    if answer["verdict"] not in FITTING:
        raise click.exceptions.Exit(_failure.NO_FIT)


COMMAND = fit


def _added(text: str) -> dict[str, Any]:
    """`gpu-01:3` as three workers like gpu-01."""
    name, colon, count = text.rpartition(":")
    if not colon:
        return {"like": text}
    if not count.isdecimal() or int(count) < 1:
        raise click.BadParameter(
            words("{text!r}: after the colon stands how many.", text=text), param_hint="--add"
        )
    return {"like": name, "count": int(count)}
