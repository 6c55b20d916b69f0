"""The answer of a preview in words: the verdict, what it needs, where it goes, what would help."""

from collections.abc import Mapping, Sequence
from typing import Any

from aimindserve.cli._decision import near
from aimindserve.cli._invocation import Invocation
from aimindserve.cli._output import aligned
from aimindserve.cli._text import TEXTS, reason_text
from aimindserve.client.objects import Document
from aimindserve.core.advice import ADVICE, advise
from aimindserve.kit.units import format_bytes, format_duration

PARTS = ("weights", "kv_cache", "compute", "runtime", "projector", "draft")
SHOWN = 12
BAR = 24


def told(here: Invocation, answer: Document) -> list[str]:
    """The whole answer for people."""
    lines = [verdict(here, answer)]
    need: Mapping[str, Any] = answer.get("need") or {}
    if need:
        lines += ["", *_need(here, need, str(answer.get("confidence")))]
    for place in answer.get("placements") or ():
        lines += ["", *_place(here, place)]
    for key in ("displaced", "waiting"):
        if answer.get(key):
            lines += ["", f"{here.text(f'fit_{key}')}:", *_others(here, answer[key])]
    said: Mapping[str, Any] = answer.get("reason") or {}
    told_already = reason_text(said, here.language)[0] if "params" in said else ""
    refused = answer.get("refused") or ()
    if any(reason_text(each, here.language)[0] != told_already for each in refused):
        lines += ["", f"{here.text('why_not')}:", *_refused(here, refused, answer)]
    nearest = near(here, answer.get("nearest") or {})
    lines += ["", *nearest] if nearest else []
    helps = changes(here, answer.get("alternatives") or ())
    if helps:
        lines += ["", f"{here.text('would_help')}:", *helps]
    for warning in answer.get("warnings") or ():
        lines += ["", reason_text(warning, here.language)[0]]
    return lines


def verdict(here: Invocation, answer: Document) -> str:
    """The first line."""
    replicas: Mapping[str, int] = answer.get("replicas") or {}
    key = f"fit_{answer.get('verdict')}"
    line = here.text(key if key in TEXTS else "fit_unknown")
    if replicas.get("asked", 1) > 1:
        line += " " + here.text(
            "fit_replicas", placed=replicas.get("placed", 0), asked=replicas["asked"]
        )
    reason = answer.get("reason") or answer.get("error")
    if reason:
        said = reason_text(reason, here.language)[0] if "params" in reason else reason["detail"]
        line += f"\n{said}"
    return line


def changes(here: Invocation, found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What would help, one line each."""
    return [
        "  "
        + (
            advise(str(each["kind"]), each.get("params") or {}, here.language)
            if each.get("kind") in ADVICE
            else str(each.get("message") or each.get("kind"))
        )
        for each in found
    ]


def _need(here: Invocation, need: Mapping[str, Any], confidence: str) -> list[str]:
    rows = [[here.term(part), format_bytes(need[part])] for part in PARTS if need.get(part)]
    known = here.term(confidence)
    between = f"{format_bytes(need['low'])} – {format_bytes(need['high'])}, {known}"
    rows.append([here.term("total"), f"{format_bytes(need['total'])}  ({between})"])
    return [f"{here.text('fit_needs')}:", *(f"  {line}" for line in aligned(rows).splitlines())]


def _place(here: Invocation, place: Mapping[str, Any]) -> list[str]:
    head = f"{place['instance']} → {', '.join(place['workers'])}  ({place['shape']})"
    rows = [
        [
            gpu["id"],
            gpu["name"],
            _bar(gpu["total"], gpu["total"] - gpu["free_after"] - gpu["add"], gpu["add"]),
            f"+{format_bytes(gpu['add'])}",
            here.text("fit_left", size=format_bytes(max(gpu["free_after"], 0))),
        ]
        for gpu in place["gpus"]
    ]
    rows += [
        [
            f"{ram['worker']}:ram",
            here.term("RAM"),
            _bar(ram["total"], ram["total"] - ram["free_after"] - ram["add"], ram["add"]),
            f"+{format_bytes(ram['add'])}",
            here.text("fit_left", size=format_bytes(max(ram["free_after"], 0))),
        ]
        for ram in place["ram"]
        if ram["add"]
    ]
    lines = [head, *(f"  {line}" for line in aligned(rows).splitlines())]
    expect: Mapping[str, Any] = place.get("expect") or {}
    if expect.get("ready_s") is not None:
        time = format_duration(float(expect["ready_s"]))
        key = f"fit_ready_{expect.get('source')}"
        if key in TEXTS:
            lines.append("  " + here.text(key, time=time, count=expect.get("starts")))
    if expect.get("tokens_s") is not None:
        key = f"fit_speed_{expect.get('tokens_source')}"
        if key in TEXTS:
            speed = f"{float(expect['tokens_s']):g}"
            lines.append("  " + here.text(key, speed=speed, count=expect.get("tokens")))
    return lines


def _bar(total: int, used: int, add: int) -> str:
    """`####++++....`: in use, added, left."""
    if total <= 0:
        return ""
    before = min(round(BAR * max(used, 0) / total), BAR)
    more = min(max(round(BAR * add / total), 1 if add else 0), BAR - before)
    return "#" * before + "+" * more + "." * (BAR - before - more)


def _refused(here: Invocation, refused: Sequence[Mapping[str, Any]], answer: Document) -> list[str]:
    rows = [
        [str(each.get("device") or each["worker"]), reason_text(each, here.language)[0]]
        for each in refused[:SHOWN]
    ]
    hidden = int(answer.get("refused_total") or len(refused)) - SHOWN
    more = [f"  … +{hidden}"] if hidden > 0 else []
    return [*(f"  {line}" for line in aligned(rows).splitlines()), *more]


def _others(here: Invocation, others: Sequence[Mapping[str, Any]]) -> list[str]:
    """What becomes of instances that were not asked about."""
    rows = [
        [
            each["instance"],
            f"→ {each['worker']}  ({each['shape']})"
            if each["placed"]
            else reason_text(each["reason"] or {}, here.language)[0],
        ]
        for each in others
    ]
    return [f"  {line}" for line in aligned(rows).splitlines()]
