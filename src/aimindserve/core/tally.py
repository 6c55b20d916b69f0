"""A refusal by many workers in one phrase, in English and 简体中文: how many, why, who is closest.

The counts travel as parameters of a reason, so whoever shows it chooses the language. Knows no
reason but by its code.
"""

from collections.abc import Mapping
from typing import Any

from aimindserve.kit.units import format_bytes

PHRASES: Mapping[str, tuple[str, str]] = {
    "worker_not_ready": ("not ready", "尚未就绪"),
    "worker_lost": ("not reporting", "未上报"),
    "eviction_frozen": ("not reporting, like many others", "与其他多个节点一同未上报"),
    "worker_leaving": ("shutting down", "正在关闭"),
    "worker_left": ("shut down", "已关闭"),
    "worker_cordoned": ("cordoned", "已停止调度"),
    "selector_empty": ("excluded by a placement rule", "被调度规则排除"),
    "platform_unsupported": ("of a platform it does not run on", "平台不受支持"),
    "path_missing": ("without the model's file", "没有模型文件"),
    "path_perm": ("not allowed to read the model's file", "无权读取模型文件"),
    "path_forbidden": ("not allowed to read the model's path", "不允许读取模型所在路径"),
    "file_checking": ("still looking at the model's file", "正在检查模型文件"),
    "file_failed": ("unable to use the model's file", "无法使用模型文件"),
    "format_invalid": ("with an unusable model file", "模型文件不可用"),
    "no_fit_vram": ("with too little free device memory", "空闲设备显存不足"),
    "no_fit_ram": ("with too little free RAM", "空闲内存不足"),
    "no_fit_devices": ("with too few devices that have room", "有足够空间的设备数量不足"),
    "no_fit_layers": ("with devices too small for all layers", "设备无法容纳所有层"),
    "no_fit_disk": ("with too little free disk", "磁盘空间不足"),
    "too_few_devices": ("with too few devices", "设备数量不足"),
    "too_few_chosen": ("with too few chosen devices", "指定的设备数量不足"),
    "too_few_workers": ("able to take a part, but not together", "可承担一部分但节点数量不足"),
    "not_whole": ("with another number of devices", "设备数量不符"),
    "unlike_workers": ("able to take a part, but unlike each other", "可承担一部分但彼此不同"),
    "lends_nothing": ("reached from their own machine only", "仅本机可访问"),
    "version_differs": ("with another version of the engine", "引擎版本不同"),
    "across_taken": ("in another instance that spans workers", "已参与其他跨节点实例"),
    "instances_max": ("with as many instances as allowed", "实例数已达上限"),
    "backend_missing": ("without the inference backend", "没有该推理后端"),
    "engine_oom": ("where it ran out of memory before", "此前内存不足"),
    "device_missing": ("without the chosen device", "没有指定的设备"),
    "port_exhausted": ("without a free port", "没有空闲端口"),
}
"""By reason: what follows `3 of 5` and `5 个节点中 3 个`."""


def summed_up(params: Mapping[str, Any], language: str) -> str:
    """`3 of 5 with too little free RAM; the closest is …`, without a full stop.

    `params`: `counts` (workers by reason code), `workers` (how many there are), and where memory
    alone is missing somewhere `closest` (a worker), `need_bytes` and `free_bytes` there.
    """
    chinese = language.startswith("zh")
    counts: Mapping[str, int] = params.get("counts") or {}
    if not counts:
        return "没有可行的运行方式" if chinese else "there is no way to run it"
    total = params.get("workers", "?")
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    phrases: list[str] = []
    for code, count in ranked:
        phrase = PHRASES.get(code, (code, code))[chinese]
        phrases.append(
            f"{total} 个节点中 {count} 个{phrase}" if chinese else f"{count} of {total} {phrase}"
        )
    if "closest" in params:
        phrases.append(_closest(params, chinese=chinese))
    return ("；" if chinese else "; ").join(phrases)


def _closest(params: Mapping[str, Any], *, chinese: bool) -> str:
    name = params["closest"]
    free, need = format_bytes(params["free_bytes"]), format_bytes(params["need_bytes"])
    if chinese:
        return f"最接近的是 {name}，空闲 {free}，需要 {need}"
    return f"the closest is {name}, which has {free} free of the {need} needed"
