"""Talk to a model in the terminal; its answer is printed as it comes."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from aimindserve.cli._ask import pieces
from aimindserve.cli._durations import duration
from aimindserve.cli._find import quietly
from aimindserve.cli._invocation import DATA, Invocation, client_command
from aimindserve.cli._terminal import visible
from aimindserve.cli._wait import TIMEOUT, wait_ready
from aimindserve.cli._words import words
from aimindserve.client import calls
from aimindserve.client.objects import Document
from aimindserve.core.errors import AimsError, InvalidError

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

PROMPT_MAX = 1024 * 1024
_HELP = frozenset({"\\h", "\\?", "\\help"})
_QUIT = frozenset({"\\q", "\\quit"})
_CLEAR = frozenset({"\\c", "\\clear"})


@client_command("chat", outputs=DATA)
@click.argument("model")
@click.argument("prompt", required=False)
@click.option("--system", help="What the model is told before the conversation.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="Lower is more predictable.")
@click.option("--max-tokens", type=click.IntRange(1), help="Longest answer.")
@click.option(
    "--timeout",
    type=duration,
    metavar="TIME",
    default=TIMEOUT,
    show_default=True,
    help="Wait so long.",
)
def chat(
    here: Invocation,
    model: str,
    prompt: str | None,
    system: str | None,
    timeout: float,
    **options: Any,
) -> None:
    """Talk to a model in the terminal; its answer is printed as it comes.

    With PROMPT (or text on standard input) one answer, else a conversation: \\q ends, \\c forgets
    it, \\h helps. Ctrl-C stops an answer. A model that still starts is waited for.

    \b
    aimindserve chat qwen3-8b
    aimindserve chat qwen3-8b "Name three lighthouses."
    git diff | aimindserve chat qwen3-8b
    """
    sent = {name: value for name, value in options.items() if value is not None}
    talk = Conversation(system)
    question = prompt or _piped()
    with here.client() as client:
        _until_ready(here, client, model, timeout)
        if question is None:
            _converse(here, client, model, talk, sent)
        elif here.output == "json":
            answer = client.send(calls.chat(model, talk.asking(question), sent))
            click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        else:
            _answer(client, model, talk.asking(question), sent)


COMMAND = chat


class Conversation:
    """What has been said, as the messages of the API."""

    def __init__(self, system: str | None = None) -> None:
        self._first: list[Document] = [{"role": "system", "content": system}] if system else []
        self._said: list[Document] = []

    def asking(self, question: str) -> list[Document]:
        """All messages with `question` at the end, which is not kept yet."""
        return [*self._first, *self._said, {"role": "user", "content": question}]

    def keep(self, question: str, answer: str) -> None:
        """Keep a question and its answer; an empty one would confuse the model."""
        if answer:
            self._said.append({"role": "user", "content": question})
            self._said.append({"role": "assistant", "content": answer})

    def clear(self) -> None:
        """Forget everything but what the model was told first."""
        self._said.clear()


def _answer(client: "Client", model: str, messages: list[Document], options: Any) -> str:
    """Print an answer as it comes; its whole text."""
    said: list[str] = []
    for piece in pieces(client.chat(model, messages, stream=True, **options)):
        said.append(piece)
        click.echo(visible(piece), nl=False)
        sys.stdout.flush()
    click.echo()
    return "".join(said)


def _converse(
    here: Invocation, client: "Client", model: str, talk: Conversation, options: Any
) -> None:
    if here.output == "json":
        raise InvalidError(words("-o json needs a PROMPT."))
    here.note("chat_hello", model=model)
    while True:
        try:
            question = click.prompt(">>>", prompt_suffix=" ", err=True).strip()
        except click.Abort:
            click.echo(err=True)
            return
        if question in _QUIT:
            return
        if question in _HELP:
            click.echo(here.text("chat_help"), err=True)
        elif question in _CLEAR:
            talk.clear()
            here.note("chat_cleared")
        else:
            _turn(here, client, model, talk, question, options)


def _turn(
    here: Invocation,
    client: "Client",
    model: str,
    talk: Conversation,
    question: str,
    options: Any,
) -> None:
    """One question and its answer; neither Ctrl-C nor an error ends the conversation."""
    from aimindserve.cli._errors import as_text

    try:
        talk.keep(question, _answer(client, model, talk.asking(question), options))
    except KeyboardInterrupt:
        click.echo(f" {here.text('chat_cut')}", err=True)
    except AimsError as error:
        click.echo(as_text(error, here.language), err=True)


def _until_ready(here: Invocation, client: "Client", model: str, timeout_s: float) -> None:
    """Wait for a model that is deployed but not ready. What is no deployment of this server, or may
    not be seen, is left to the gateway to judge."""
    found = quietly(client.deployments, model)
    if found is not None and int(found.document["status"].get("ready_replicas") or 0) == 0:
        wait_ready(here, client, model, timeout_s=timeout_s)


def _piped() -> str | None:
    """What was piped in; None on a terminal."""
    if sys.stdin.isatty():
        return None
    text = sys.stdin.read(PROMPT_MAX).strip()
    return text or None
