"""What a person could change so that something fits, in English and 简体中文.

One table for API, CLI and console: a kind and its numbers travel, whoever shows them chooses the
language. Knows nothing of how a change was found or checked.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from aimindserve.kit.units import format_bytes

ADVICE: Mapping[str, tuple[str, str]] = {
    "worker_selector": (
        "Drop {rule} from the worker_selector: then it runs on {worker}.",
        "从 worker_selector 中去掉 {rule}，即可在 {worker} 上运行。",
    ),
    "gpu_selector": (
        "Let the scheduler choose the devices: then it runs on {worker}.",
        "不手动指定设备，由调度器选择，即可在 {worker} 上运行。",
    ),
    "uncordon": (
        "Let {worker} take work again: aimindserve workers uncordon {worker}",
        "恢复 {worker} 的调度：aimindserve workers uncordon {worker}",
    ),
    "worker_back": (
        "Bring {worker} back: it has room and does not report.",
        "恢复 {worker}：它有足够的空间，但没有上报。",
    ),
    "context": (
        "Shorten the context from {from} to {to} tokens ({parameters}).",
        "将上下文从 {from} 缩短到 {to} 个 token（{parameters}）。",
    ),
    "slots": (
        "Serve {to} at a time instead of {from} ({parameters}).",
        "将并行槽从 {from} 减少到 {to}（{parameters}）。",
    ),
    "kv_type": (
        "Store the KV cache as {to} instead of {from} ({parameters}).",
        "将 KV 缓存类型从 {from} 改为 {to}（{parameters}）。",
    ),
    "quantization": (
        "Use {to} instead of {from}: {size} ({model}).",
        "使用 {to} 代替 {from}：{size}（{model}）。",
    ),
    "cpu_offloading": (
        "Allow a part of the model in the host's memory: cpu_offloading.",
        "允许将部分模型放入主机内存：cpu_offloading。",
    ),
    "distributed": (
        "Allow several workers for one instance: distributed_inference_across_workers.",
        "允许一个实例使用多个工作节点：distributed_inference_across_workers。",
    ),
    "instances_per_worker_max": (
        "Let more than {limit} instances run on one worker: then it runs on {worker}.",
        "允许一个工作节点运行超过 {limit} 个实例，即可在 {worker} 上运行。",
    ),
    "scale_down": (
        "Scale others down: {commands} (frees {size} on {worker}).",
        "缩减其他部署：{commands}（可在 {worker} 上释放 {size}）。",
    ),
}
"""By kind of change: the sentence in both languages. `size` is given in bytes."""


def advise(kind: str, params: Mapping[str, Any], language: str = "en") -> str:
    """The sentence for a change; an unknown kind reads as itself."""
    row = ADVICE.get(kind)
    if row is None:
        return kind
    shown = {
        name: format_bytes(value) if name == "size" else _listed(value)
        for name, value in params.items()
    }
    return row[language.startswith("zh")].format_map(_Missing(shown))


class _Missing(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def _listed(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return ", ".join(map(str, cast("Iterable[Any]", value)))
