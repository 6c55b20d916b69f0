"""Say why a deployment or instance is as it is: reason, proof, numbers of each worker, fixes."""

from typing import TYPE_CHECKING, Any

import click

from aimindserve.cli._columns import at
from aimindserve.cli._decision import SHOWN, fixes, more, near, refused
from aimindserve.cli._find import find_either, instances_of, quietly
from aimindserve.cli._fit import changes
from aimindserve.cli._invocation import Invocation, client_command
from aimindserve.cli._output import aligned, print_document
from aimindserve.cli._page import crash_section, rendered
from aimindserve.cli._text import reason_text
from aimindserve.client.objects import AnyObject, Document
from aimindserve.core.errors import NotFoundError

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

_SETTLED = frozenset({"ready", "stopped"})
_URGENCY = ("failed", "lost", "backoff", "waiting", "preparing", "queued", "placing")


@client_command("why", outputs=("text", "json", "yaml"))
@click.argument("name")
def why(here: Invocation, name: str) -> None:
    """Say why a deployment or instance is as it is: reason, proof, numbers of each worker, fixes.

    NAME is a deployment or an instance; of a deployment, the instance in most trouble is explained.
    """
    with here.client() as client:
        found = find_either(here, client, name)
        subject = found if found.of.name == "instance" else _most_telling(client, found)
        decision = _decision(client, subject) if subject.of.name == "instance" else None
        home = found if found.of.name == "deployment" else _home(client, found)
    document = explained(subject, decision, home)
    if here.structured:
        print_document(here, document)
        return
    click.echo("\n".join(told(here, document)))


COMMAND = why


def explained(
    subject: AnyObject, decision: Document | None, home: AnyObject | None = None
) -> dict[str, Any]:
    """What is known about the state of `subject`, for programs. `home`: its deployment."""
    status = subject.document["status"]
    return {
        "kind": subject.of.name,
        "name": subject.name,
        "phase": subject.phase,
        "reason": status.get("reason") or status.get("refusal"),
        "restarts": at(status, "observed.restarts"),
        "ended": at(status, "observed.ended"),
        "decision": decision,
        "crashes": at(home.document, "status.crashes") if home is not None else None,
    }


def told(here: Invocation, document: Document) -> list[str]:
    """The explanation for people."""
    name, phase, reason = document["name"], document["phase"], document["reason"]
    if reason is None:
        key = "why_ready" if phase in _SETTLED else "why_working"
        working = here.text(key, name=name, phase=here.term(phase))
        return [working, *earlier_end(here, document), *_crashes(here, document)]
    message = reason_text(reason, here.language)[0]
    decision: Document = document["decision"] or {}
    lines = [f"{name}  {here.term(phase)}  ({reason.get('code')})", f"  {message}"]
    lines += [f"  | {line}" for line in str(reason.get("evidence") or "").splitlines()]
    rows = [
        [str(each["worker"]), reason_text(each, here.language)[0], f"({each.get('code')})"]
        for each in refused(decision)[:SHOWN]
        if reason_text(each, here.language)[0] != message
    ]
    if rows:
        table = [*aligned(rows).splitlines(), *more(decision)]
        lines += ["", f"{here.text('why_not')}:", *(f"  {line}" for line in table)]
    nearest = near(here, decision.get("nearest") or {})
    lines += ["", *nearest] if nearest else []
    helps = changes(here, decision.get("changes") or ())
    if helps:
        lines += ["", f"{here.text('would_help')}:", *helps]
    for place, fix in enumerate(fixes(reason, decision, here.language)):
        lines += [*([""] if place == 0 else []), f"{here.text('fix')}: {fix}"]
    return [*lines, *_crashes(here, document)]


def _crashes(here: Invocation, document: Document) -> list[str]:
    """What ended by itself before, also of instances that are gone."""
    section = crash_section(here, {"status": {"crashes": document.get("crashes")}})
    return ["", rendered(here, [section])] if section.lines else []


def _home(client: "Client", instance: AnyObject) -> AnyObject | None:
    return quietly(client.deployments, str(at(instance.document, "spec.deployment")))


def earlier_end(here: Invocation, document: Document) -> list[str]:
    """Why the run before the present one ended, for as long as its worker says so."""
    ended = document.get("ended")
    if not ended:
        return []
    message = reason_text(ended, here.language)[0]
    proof = [f"  | {line}" for line in str(ended.get("evidence") or "").splitlines()]
    return [here.text("why_ended", count=document.get("restarts"), message=message), *proof]


def _most_telling(client: "Client", deployment: AnyObject) -> AnyObject:
    """The instance in most trouble, or the deployment itself when it has none."""
    found = instances_of(client, deployment.name)

    def urgency(instance: AnyObject) -> tuple[int, str]:
        known = instance.phase in _URGENCY
        return (_URGENCY.index(instance.phase) if known else len(_URGENCY), instance.name)

    return min(found, key=urgency, default=deployment)


def _decision(client: "Client", instance: AnyObject) -> Document | None:
    """The kept decision; None after a restart of the server, when it is not made anew yet."""
    try:
        return client.decision(instance.name, changes=instance.phase == "waiting")
    except NotFoundError:
        return None
