"""The pages that `describe` prints, as sections of labelled lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aimindserve.cli._columns import MISSING, age, at, devices, labels, size, text, whole_model
from aimindserve.cli._invocation import Invocation
from aimindserve.cli._output import aligned, now, phase_text
from aimindserve.cli._text import reason_text
from aimindserve.client.history import EventEntry
from aimindserve.client.objects import AnyObject
from aimindserve.kit.clock import rfc3339
from aimindserve.kit.units import format_bytes

_PARTS = ("weights", "kv_cache", "compute", "runtime", "projector")


@dataclass(slots=True)
class Section:
    """A title and what stands below it: (label, value) lines, then free lines."""

    title: str = ""
    rows: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    lines: list[str] = field(default_factory=list[str])


def rendered(here: Invocation, sections: Sequence[Section]) -> str:
    """Sections with a blank line between; those that hold nothing are left out. Titles and labels
    are printed in the user's language; a name or number behind the word stays."""
    shown: list[str] = []
    for section in sections:
        rows = [(f"{_translated(here, label)}:", value) for label, value in section.rows]
        body = [*aligned(rows).splitlines(), *section.lines]
        if body and section.title:
            body = [_translated(here, section.title), *(f"  {line}" for line in body)]
        if body:
            shown.append("\n".join(body))
    return "\n\n".join(shown)


def _translated(here: Invocation, label: str) -> str:
    head, space, rest = label.partition(" ")
    whole = here.term(label)
    return whole if whole != label or not space else f"{here.term(head)} {rest}"


def deployment_page(
    here: Invocation,
    deployment: AnyObject,
    instances: Sequence[AnyObject],
    files: Sequence[AnyObject],
    route: AnyObject | None,
) -> list[Section]:
    """A deployment with its instances and its model."""
    document = deployment.document
    spec = document["spec"]
    head = Section(rows=_head(here, deployment))
    head.rows += [
        ("Model", whole_model(spec["model"], 0)),
        ("Ready", _ready(here, document)),
        ("Backend", _with_version(spec)),
        ("Description", spec.get("description") or ""),
        ("Parameters", " ".join(spec.get("backend_parameters") or ())),
        ("Environment", labels(spec.get("env"), 0)),
        ("Worker selector", labels(spec.get("worker_selector"), 0)),
        ("Devices", text(at(spec, "gpu_selector.gpu_ids"), 0)),
        ("Placement", spec.get("placement_strategy") or ""),
        ("Serves", text(at(route.document, "status.categories"), 0) if route else ""),
    ]
    head.rows = [row for row in head.rows if row[1] not in ("", MISSING)]
    head.lines = reason_lines(here, at(document, "status.reason"))
    running = [_instance_section(here, instance) for instance in instances]
    crashed = crash_section(here, document)
    return [head, _facts(here, files), *running, crashed, _file_section(here, files)]


def instance_page(here: Invocation, instance: AnyObject) -> list[Section]:
    """One instance."""
    head = Section(rows=_head(here, instance))
    head.rows.append(("Deployment", str(at(instance.document, "spec.deployment"))))
    body = _instance_section(here, instance)
    head.rows += body.rows
    head.lines = body.lines
    return [head]


def worker_page(here: Invocation, worker: AnyObject) -> list[Section]:
    """A worker with what it has and what is free."""
    document = worker.document
    seen: Mapping[str, Any] = at(document, "status.observed") or {}
    machine: Mapping[str, Any] = seen.get("inventory") or {}
    usage: Mapping[str, Any] = seen.get("usage") or {}
    head = Section(rows=_head(here, worker))
    head.rows += [
        ("Address", f"{seen.get('host')}:{seen.get('port')}" if seen else ""),
        ("Version", text(seen.get("version"), 0)),
        ("System", " ".join(str(machine.get(key) or "") for key in ("os_name", "os_version"))),
        ("Kernel", f"{machine.get('kernel')} ({machine.get('arch')})" if machine else ""),
        (
            "Processors",
            f"{machine.get('cpu_count')} × {machine.get('cpu_name')}" if machine else "",
        ),
        ("RAM", _of(here, usage.get("ram_available_bytes"), machine.get("ram_bytes"))),
        ("Swap", size(machine.get("swap_bytes"), 0)),
        ("Devices", devices(machine.get("devices"), 0)),
        ("Labels", labels(worker.labels, 0)),
    ]
    head.rows = [row for row in head.rows if row[1].strip() not in ("", MISSING)]
    head.lines = reason_lines(here, at(document, "status.reason"))
    return [head, _device_section(here, machine, usage)]


def event_section(here: Invocation, events: Sequence[EventEntry]) -> Section:
    """What happened last, newest first."""
    moment = now()
    rows = [
        [
            age(each.time, moment),
            each.target,
            each.code,
            each.message(here.language) + (f" ×{each.count}" if each.count > 1 else ""),
        ]
        for each in events
    ]
    return Section(here.text("last_events"), lines=aligned(rows).splitlines())


def crash_section(here: Invocation, deployment: Mapping[str, Any]) -> Section:
    """Where engines of a deployment ended by themselves, how often and why, the newest first."""
    moment = now()
    rows = [
        [
            age(rfc3339(float(each["last_at"])), moment),
            ", ".join(each.get("devices") or ()) or str(each["worker"]),
            str(at(each, "reason.code")),
            reason_text(each["reason"], here.language)[0]
            + (f" ×{each['times']}" if each["times"] > 1 else ""),
        ]
        for each in reversed(at(deployment, "status.crashes") or ())
    ]
    return Section(here.text("crashes"), lines=aligned(rows).splitlines())


def reason_lines(here: Invocation, reason: Any) -> list[str]:
    """A reason with its proof and what to do about it."""
    if not isinstance(reason, Mapping):
        return []
    fields = cast("Mapping[str, Any]", reason)
    message, fix = reason_text(fields, here.language)
    lines = [f"✗ {message} ({fields.get('code')})"]
    lines += [f"  | {line}" for line in str(fields.get("evidence") or "").splitlines()]
    return [*lines, f"  {here.text('fix')}: {fix}"] if fix else lines


def _ready(here: Invocation, document: Mapping[str, Any]) -> str:
    ready = at(document, "status.ready_replicas") or 0
    return here.text("of_all", some=ready, all=at(document, "spec.replicas"))


def memory(here: Invocation, parts: Mapping[str, Any]) -> str:
    """`1.2 GiB (weights 1.0 GiB, kv cache 200 MiB)`."""
    found = [(name.replace("_", " "), int(parts.get(name) or 0)) for name in _PARTS]
    told = ", ".join(f"{here.term(name)} {format_bytes(count)}" for name, count in found if count)
    total = sum(count for _, count in found)
    return f"{format_bytes(total)} ({told})" if told else MISSING


def _head(here: Invocation, found: AnyObject) -> list[tuple[str, str]]:
    document = found.document
    return [
        ("Name", found.name),
        ("Phase", phase_text(here, document)),
        ("Age", age(found.metadata.get("created_at"), now())),
    ]


def _instance_section(here: Invocation, instance: AnyObject) -> Section:
    document = instance.document
    observed: Mapping[str, Any] = at(document, "status.observed") or {}
    section = Section(title=f"Instance {instance.name}")
    section.rows.append(("Phase", phase_text(here, document)))
    placement: Mapping[str, Any] = at(document, "status.placement") or {}
    if placement:
        section.rows.append(("Shape", str(placement.get("shape"))))
        section.rows += _ranks(here, placement)
    if observed:
        run, count = observed.get("run"), observed.get("restarts")
        section.rows.append(("Run", here.text("run_restarts", run=run, count=count)))
        if observed.get("pid"):
            key = "process_adopted" if observed.get("adopted") else "process_port"
            where = here.text(key, pid=observed["pid"], port=observed.get("port"))
            section.rows.append(("Process", where))
        section.rows += _speed(here, observed)
        if observed.get("ended"):
            section.rows.append(("Run before", reason_text(observed["ended"], here.language)[0]))
    section.lines = reason_lines(
        here, at(document, "status.reason") or at(document, "status.refusal")
    )
    return section


def _speed(here: Invocation, observed: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What one request gets, as the engine has counted it in this run."""
    tokens, seconds = observed.get("generated_tokens"), observed.get("generated_s")
    if not tokens or not seconds:
        return []
    speed = f"{float(tokens) / float(seconds):.1f}"
    return [("Speed", here.text("speed", speed=speed, count=tokens))]


def _ranks(here: Invocation, placement: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Worker, memory by part and device of each process."""
    rows: list[tuple[str, str]] = []
    ranks: Sequence[Mapping[str, Any]] = placement.get("ranks") or ()
    for place, rank in enumerate(ranks):
        suffix = f" {place}" if len(ranks) > 1 else ""
        rows.append((f"Worker{suffix}", str(rank.get("worker"))))
        if memory(here, rank.get("ram") or {}) != MISSING:
            rows.append((f"RAM{suffix}", memory(here, rank.get("ram") or {})))
        rows += [
            (str(claim.get("device")), memory(here, claim.get("parts") or {}))
            for claim in rank.get("claims") or ()
        ]
    return rows


def _facts(here: Invocation, files: Sequence[AnyObject]) -> Section:
    """What the model's file says of itself."""
    found = [at(one.document, "status.observed.facts") for one in files]
    facts: Mapping[str, Any] | None = next((each for each in found if each), None)
    if facts is None:
        return Section()
    count = int(facts.get("parameter_count") or 0)
    rows = [
        ("Name", str(facts.get("name") or "")),
        ("Format", f"{facts.get('format')}, {facts.get('architecture')}"),
        ("Parameters", _counted(here, count)),
        ("Quantization", str(facts.get("quantization") or "")),
        ("Size", size(facts.get("size_bytes"), 0)),
        ("Context", _tokens(here, facts.get("context_length"))),
        ("Layers", str(facts.get("layer_count") or "")),
        ("Chat template", here.term(text(facts.get("chat_template"), 0))),
    ]
    return Section("Model file", [row for row in rows if row[1]])


def _tokens(here: Invocation, count: Any) -> str:
    return here.text("tokens", count=count) if count else ""


def _counted(here: Invocation, parameters: int) -> str:
    """`135 million`, `8.03 billion`."""
    if not parameters:
        return ""
    if here.language == "zh":
        # Chinese counts in ten thousands and hundred millions.
        return f"{parameters / 1e8:.3g} 亿" if parameters >= 1e8 else f"{parameters / 1e4:.0f} 万"
    if parameters < 1e9:
        return f"{parameters / 1e6:.0f} million"
    return f"{parameters / 1e9:.2f} billion"


def _file_section(here: Invocation, files: Sequence[AnyObject]) -> Section:
    """Where the model's file is, and where it is not and why."""
    rows: list[tuple[str, str]] = []
    for one in files:
        worker = str(at(one.document, "spec.worker"))
        reason: Mapping[str, Any] | None = at(one.document, "status.observed.reason")
        note = f": {reason_text(reason, here.language)[0]}" if reason else ""
        rows.append((worker, f"{phase_text(here, one.document)}{note}"))
    return Section("On workers", rows) if rows else Section()


def _device_section(
    here: Invocation, machine: Mapping[str, Any], usage: Mapping[str, Any]
) -> Section:
    used = {each["id"]: each for each in usage.get("devices") or ()}
    rows: list[tuple[str, str]] = []
    for device in machine.get("devices") or ():
        taken = used.get(device["id"], {}).get("memory_used_bytes")
        free = None if taken is None else int(device["memory_bytes"]) - int(taken)
        left = _of(here, free, device["memory_bytes"])
        rows.append((str(device["id"]), f"{device['name']}, {left}"))
    return Section("Devices", rows)


def _with_version(spec: Mapping[str, Any]) -> str:
    return " ".join(str(spec[key]) for key in ("backend", "backend_version") if spec.get(key))


def _of(here: Invocation, free: Any, total: Any) -> str:
    if not total:
        return ""
    if free is None:
        return format_bytes(int(total))
    sizes = {"free": format_bytes(int(free)), "total": format_bytes(int(total))}
    return here.text("free_of", **sizes)
