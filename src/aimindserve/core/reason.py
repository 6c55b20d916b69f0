"""Every refusal and failure carries its reason: a code, parameters, a sentence, and a fix.

The catalogue is one table: API, CLI, console and the troubleshooting page are all rendered from it,
in English and 简体中文. A code without both languages and a fix fails the architecture tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Class(str, Enum):
    """How urgent a state is, for people: one colour, icon and word each."""

    OK = "ok"
    WORKING = "working"
    ATTENTION = "attention"
    FAILED = "failed"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is as it is. `params` fill the braces of the catalogue's sentence."""

    code: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    evidence: str = ""
    """Proof: the last lines of a log, an exit status."""

    @property
    def message(self) -> str:
        """The English sentence."""
        return render(self.code, self.params, "en")

    @property
    def fix(self) -> str:
        """What to do about it, in English."""
        return _fill(text(self.code).fix_en, self.params)


@dataclass(frozen=True, slots=True)
class ReasonText:
    """One row of the catalogue."""

    en: str
    zh: str
    fix_en: str
    fix_zh: str
    retryable: bool = True


CATALOGUE: Mapping[str, ReasonText] = {
    "no_worker": ReasonText(
        "No worker is connected, so nothing can run yet.",
        "还没有可用的工作节点，模型暂时无法运行。",
        "Start a worker on a machine with: aimindserve start --server-url URL --token TOKEN",
        "在一台机器上启动工作节点：aimindserve start --server-url URL --token TOKEN",
    ),
    "worker_not_ready": ReasonText(
        "{worker} is not ready.",
        "{worker} 尚未就绪。",
        "See what is wrong with it: aimindserve workers",
        "查看其状态：aimindserve workers",
    ),
    "worker_cordoned": ReasonText(
        "{worker} is cordoned and takes no new work.",
        "{worker} 已停止调度，不接受新任务。",
        "Let it take work again: aimindserve workers uncordon {worker}",
        "恢复调度：aimindserve workers uncordon {worker}",
    ),
    "selector_empty": ReasonText(
        "The placement rule {rule} does not match {worker}.",
        "调度规则 {rule} 与 {worker} 不匹配。",
        "Change the deployment's worker_selector or the worker's labels.",
        "修改部署的 worker_selector 或工作节点的标签。",
    ),
    "platform_unsupported": ReasonText(
        "{backend} does not run on {worker} ({have}); it needs {need}.",
        "{backend} 不支持 {worker}（{have}），需要 {need}。",
        "Choose another backend or add a worker with the platform it needs.",
        "选择其他推理后端，或添加满足要求的工作节点。",
    ),
    "path_missing": ReasonText(
        "{path} does not exist on {worker}.",
        "{worker} 上不存在 {path}。",
        "Put the file there, or choose workers that have it with worker_selector.",
        "将文件放到该节点，或用 worker_selector 选择拥有该文件的节点。",
    ),
    "path_perm": ReasonText(
        "The worker {worker} may not read {path}.",
        "工作节点 {worker} 没有读取 {path} 的权限。",
        "Give the user that runs the worker the right to read it.",
        "为运行工作节点的用户授予读取权限。",
    ),
    "path_forbidden": ReasonText(
        "{path} is outside the directories that {worker} may read models from.",
        "{path} 不在 {worker} 允许读取模型的目录内。",
        "Use a model file, not a device or a system file.",
        "请使用模型文件，而不是设备或系统文件。",
        retryable=False,
    ),
    "file_checking": ReasonText(
        "{worker} is looking at the model file.",
        "{worker} 正在检查模型文件。",
        "Nothing to do: this takes a moment.",
        "无需操作，请稍候。",
    ),
    "file_failed": ReasonText(
        "The model file on {worker} cannot be used: {detail}.",
        "{worker} 上的模型文件无法使用：{detail}。",
        "Fetch the file again, or choose another one.",
        "重新获取该文件，或选择其他文件。",
    ),
    "format_invalid": ReasonText(
        "{path} is not a usable model file: {detail}.",
        "{path} 不是可用的模型文件：{detail}。",
        "Fetch the file again; a GGUF begins with the letters GGUF and must be complete.",
        "请重新获取文件；GGUF 文件以 GGUF 开头且必须完整。",
        retryable=False,
    ),
    "source_unavailable": ReasonText(
        "Models from {source} cannot be fetched by this version.",
        "当前版本无法从 {source} 获取模型。",
        "Use a local file: source local with a path.",
        "请使用本地文件：source 为 local 并给出 path。",
        retryable=False,
    ),
    "backend_unknown": ReasonText(
        "There is no inference backend called {backend}; there are: {known}.",
        "没有名为 {backend} 的推理后端；可用：{known}。",
        "Choose one of those, or leave the backend empty.",
        "选择其中之一，或留空自动选择。",
        retryable=False,
    ),
    "backend_unfit": ReasonText(
        "{backend} cannot run this model: {detail}.",
        "{backend} 无法运行该模型：{detail}。",
        "Choose another backend or another file of the model.",
        "选择其他推理后端或该模型的其他文件。",
        retryable=False,
    ),
    "bad_param": ReasonText(
        "{backend} does not accept {param}: {detail}.",
        "{backend} 不接受参数 {param}：{detail}。",
        "Remove or correct it in backend_parameters.",
        "请在 backend_parameters 中移除或更正。",
        retryable=False,
    ),
    "no_fit_vram": ReasonText(
        "No device on {worker} has enough free memory: needs {need}, the largest free is {free}.",
        "{worker} 上没有足够空闲的设备显存：需要 {need}，最多空闲 {free}。",
        "Use a smaller quantisation or a shorter context, or stop something else.",
        "使用更小的量化或更短的上下文，或停止其他实例。",
    ),
    "no_fit_ram": ReasonText(
        "{worker} has not enough free RAM: needs {need}, {free} is free of {total}.",
        "{worker} 的空闲内存不足：需要 {need}，空闲 {free}，总共 {total}。",
        "Use a smaller quantisation, a shorter context or fewer slots, or stop something else.",
        "使用更小的量化、更短的上下文或更少的并行槽，或停止其他实例。",
    ),
    "no_fit": ReasonText(
        "No worker can take this instance: {summary}.",
        "没有工作节点可以运行该实例：{summary}。",
        "See every worker's reason: aimindserve why {name}",
        "查看各节点的原因：aimindserve why {name}",
    ),
    "device_missing": ReasonText(
        "{device} was asked for, but {worker} has no such device.",
        "指定了 {device}，但 {worker} 没有该设备。",
        "List devices with: aimindserve workers -o json, then correct gpu_selector.",
        "用 aimindserve workers -o json 查看设备，再修改 gpu_selector。",
    ),
    "port_exhausted": ReasonText(
        "{worker} has no free port left in {range}.",
        "{worker} 的端口范围 {range} 已用尽。",
        "Widen --service-port-range on that worker.",
        "在该节点上扩大 --service-port-range。",
    ),
    "start_timeout": ReasonText(
        "The engine did not become ready within {timeout} (stage: {stage}).",
        "引擎在 {timeout} 内未就绪（阶段：{stage}）。",
        "Read its log: aimindserve logs {name}",
        "查看日志：aimindserve logs {name}",
    ),
    "unhealthy": ReasonText(
        "The engine started, but stopped answering health checks for {time}.",
        "引擎已启动，但 {time} 未响应健康检查。",
        "It is being restarted; read its log: aimindserve logs {name}",
        "正在重启；查看日志：aimindserve logs {name}",
    ),
    "engine_exited": ReasonText(
        "The engine ended by itself with {status}.",
        "引擎自行退出：{status}。",
        "It is started again; read the log of that run: aimindserve logs {name} --previous",
        "稍后自动重启；查看该次运行日志：aimindserve logs {name} --previous",
    ),
    "engine_killed": ReasonText(
        "The engine was ended from outside by {signal}.",
        "引擎被外部信号 {signal} 终止。",
        "It is started again; if nobody stopped it, look for the system's out-of-memory killer.",
        "正在重启；若非人为操作，请检查系统的 OOM 记录。",
    ),
    "launch_failed": ReasonText(
        "The engine could not be started: {detail}.",
        "无法启动引擎：{detail}。",
        "Read the detail; check that the backend is installed on {worker}.",
        "查看详情，并确认 {worker} 上已安装该推理后端。",
    ),
    "crash_loop": ReasonText(
        "The engine failed {count} times in a row; it is tried again in {pause}.",
        "引擎连续失败 {count} 次，{pause} 后重试。",
        "Read the log of the first failure: aimindserve logs {name} --previous",
        "查看首次失败的日志：aimindserve logs {name} --previous",
    ),
    "restart_off": ReasonText(
        "The engine ended with {status} and restart_on_error is off.",
        "引擎退出（{status}），且 restart_on_error 已关闭。",
        "Correct the cause, then restart it: aimindserve scale {name} 0, and up again.",
        "修正原因后重启：先将副本数调为 0，再调回。",
    ),
    "engine_oom": ReasonText(
        "{worker} ran out of memory and the system stopped the engine.",
        "{worker} 内存不足，系统终止了引擎。",
        "Use a shorter context, fewer parallel slots or a smaller quantisation.",
        "使用更短的上下文、更少的并行槽或更小的量化。",
    ),
    "worker_lost": ReasonText(
        "{worker} has not reported for {time}.",
        "{worker} 已 {time} 未上报。",
        "Check that the machine runs and reaches the server; its instances come back with it.",
        "检查机器是否运行并能连接服务器；恢复后实例会随之恢复。",
    ),
    "eviction_frozen": ReasonText(
        "{count} workers look lost at once; nothing is moved until that is understood.",
        "{count} 个工作节点同时失联，暂不迁移任何实例。",
        "Check the network between server and workers.",
        "检查服务器与工作节点之间的网络。",
    ),
    "version_skew": ReasonText(
        "{worker} runs {have}, the server {want}.",
        "{worker} 运行版本 {have}，服务器为 {want}。",
        "Upgrade the older one.",
        "升级较旧的一方。",
    ),
    "disk_full": ReasonText(
        "{path} on {worker} is full.",
        "{worker} 的 {path} 空间已满。",
        "Free some space there; it goes on by itself.",
        "清理空间后会自动继续。",
    ),
    "scaled_to_zero": ReasonText(
        "The deployment asks for no instance.",
        "该部署的副本数为 0。",
        "Start it with: aimindserve scale {name} 1",
        "启动：aimindserve scale {name} 1",
    ),
    "unknown": ReasonText(
        "It failed and the cause was not recognised.",
        "发生故障，未能识别原因。",
        "Read the log and report it: aimindserve logs {name}",
        "查看日志并反馈：aimindserve logs {name}",
    ),
}


def text(code: str) -> ReasonText:
    """The catalogue's row for `code`; an unknown code reads as `unknown`."""
    return CATALOGUE.get(code, CATALOGUE["unknown"])


def render(code: str, params: Mapping[str, Any], language: str) -> str:
    """The sentence for `code` in `language` (en or zh) with its braces filled."""
    row = text(code)
    return _fill(row.zh if language.startswith("zh") else row.en, params)


def render_fix(code: str, params: Mapping[str, Any], language: str) -> str:
    """What to do about `code`, in `language` (en or zh), with its braces filled."""
    row = text(code)
    return _fill(row.fix_zh if language.startswith("zh") else row.fix_en, params)


class _Missing(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def _fill(sentence: str, params: Mapping[str, Any]) -> str:
    return sentence.format_map(_Missing(params))
