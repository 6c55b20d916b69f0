"""What can happen to objects, in words: one row per code, in English and 简体中文.

The catalogue beside `core.reason`: a reason says why something is as it is, an event that something
came about, often for a reason. API, CLI and console render events from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aimindserve.core.reason import Class, fill, render


@dataclass(frozen=True, slots=True)
class EventText:
    """One row of the catalogue. `{why}` is the sentence of the event's reason."""

    kind: str
    """What it happens to."""
    en: str
    zh: str
    visual: Class = Class.OK
    """How good the news is."""


EVENTS: Mapping[str, EventText] = {
    "placed": EventText("instance", "Placed on {worker}: {shape}.", "已调度到 {worker}：{shape}。"),
    "refused": EventText("instance", "{why}", "{why}", Class.ATTENTION),
    "waiting": EventText("instance", "{why}", "{why}", Class.ATTENTION),
    "started": EventText(
        "instance",
        "The engine was started on {worker}.",
        "引擎已在 {worker} 上启动。",
        Class.WORKING,
    ),
    "ready": EventText("instance", "Answers requests on {worker}.", "已在 {worker} 上就绪。"),
    "exited": EventText("instance", "{why}", "{why}", Class.FAILED),
    "restarted": EventText(
        "instance",
        "The engine was started again on {worker}.",
        "引擎已在 {worker} 上重新启动。",
        Class.ATTENTION,
    ),
    "adopted": EventText(
        "instance",
        "The engine went on while the agent of {worker} was away, and was taken over.",
        "{worker} 的代理程序离线期间引擎持续运行，现已重新接管。",
    ),
    "failed": EventText("instance", "{why}", "{why}", Class.FAILED),
    "stopping": EventText(
        "instance", "Is to stop on {worker}.", "正在 {worker} 上停止。", Class.OFF
    ),
    "stopped": EventText("instance", "Is gone from {worker}.", "已从 {worker} 移除。", Class.OFF),
    "dropped": EventText(
        "instance", "Was given up before it had a place.", "尚未调度即被取消。", Class.OFF
    ),
    "joined": EventText("worker", "Joined the cluster.", "已加入集群。"),
    "lost": EventText("worker", "{why}", "{why}", Class.FAILED),
    "returned": EventText("worker", "Reports again.", "已恢复上报。"),
    "given_up": EventText(
        "worker",
        "Was silent for too long: its instances are replaced elsewhere.",
        "长时间未上报，其实例将在其他节点上重建。",
        Class.FAILED,
    ),
    "cordoned": EventText("worker", "Takes no new work.", "已停止调度。", Class.OFF),
    "uncordoned": EventText("worker", "Takes new work again.", "已恢复调度。"),
    "left": EventText("worker", "Was removed from the cluster.", "已从集群移除。", Class.OFF),
    "deployed": EventText(
        "deployment", "Wanted replicas: {after}.", "已部署，副本数 {after}。", Class.WORKING
    ),
    "scaled": EventText(
        "deployment", "Scaled from {before} to {after}.", "副本数由 {before} 调整为 {after}。"
    ),
    "changed": EventText(
        "deployment",
        "Its spec was changed (generation {generation}).",
        "配置已修改（第 {generation} 代）。",
        Class.WORKING,
    ),
    "complete": EventText(
        "deployment", "All {after} instances answer.", "全部 {after} 个实例已就绪。"
    ),
    "degraded": EventText(
        "deployment",
        "Only {ready} of {after} instances answer.",
        "{after} 个实例中仅 {ready} 个就绪。",
        Class.ATTENTION,
    ),
    "removed": EventText("deployment", "Was removed.", "已删除。", Class.OFF),
    "file_ready": EventText(
        "model-file", "The model can be used on {worker}.", "模型在 {worker} 上可用。"
    ),
    "file_missing": EventText("model-file", "{why}", "{why}", Class.ATTENTION),
    "file_failed": EventText("model-file", "{why}", "{why}", Class.FAILED),
}


def tell(code: str, reason: str, params: Mapping[str, Any], language: str) -> str:
    """The sentence of an event in `language` (en or zh); an unknown code reads as itself."""
    why = render(reason, params, language) if reason else ""
    row = EVENTS.get(code)
    if row is None:
        return why or code
    sentence = row.zh if language.startswith("zh") else row.en
    return fill(sentence, {**params, "why": why or code})
