"""Every refusal and failure carries its reason: a code, parameters, a sentence, and a fix.

The catalogue is one table: API, CLI, console and the troubleshooting page are all rendered from it,
in English and 简体中文. A code without both languages and a fix fails the architecture tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from aimindserve.core.tally import summed_up


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
        return render_fix(self.code, self.params, "en")


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
        "Fetch it again: a GGUF begins with the letters GGUF, a directory has config.json and all "
        "files that its index names, and all are complete.",
        "请重新获取：GGUF 文件以 GGUF 开头，模型目录包含 config.json 及其索引列出的全部文件，"
        "且都必须完整。",
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
    "no_fit_devices": ReasonText(
        "{found} of the {wanted} devices needed on {worker} have room: the next needs {need}, "
        "{free} is free.",
        "{worker} 上所需的 {wanted} 个设备中只有 {found} 个空间足够：下一个需要 {need}，"
        "空闲 {free}。",
        "Use a smaller quantisation or a shorter context, or stop something else.",
        "使用更小的量化或更短的上下文，或停止其他实例。",
    ),
    "no_fit_layers": ReasonText(
        "The devices of {worker} have room for {found} of the {wanted} layers: all of them need "
        "{need}, {free} is free.",
        "{worker} 的设备只能容纳 {wanted} 层中的 {found} 层：共需要 {need}，空闲 {free}。",
        "Use a smaller quantisation or a shorter context, or allow cpu_offloading.",
        "使用更小的量化或更短的上下文，或允许 cpu_offloading。",
    ),
    "too_few_devices": ReasonText(
        "{worker} has {found} of the {wanted} devices needed.",
        "{worker} 只有所需 {wanted} 个设备中的 {found} 个。",
        "Use fewer devices for each instance, or add a worker with more of them.",
        "减少每个实例使用的设备数，或添加拥有更多设备的工作节点。",
    ),
    "plan_failed": ReasonText(
        "The scheduler failed on this instance: {error}.",
        "调度器在处理该实例时出错：{error}。",
        "This is a defect of the program. The server's log has the details; please report them.",
        "这是程序缺陷。详情见服务器日志，请报告。",
    ),
    "too_few_chosen": ReasonText(
        "An instance needs {wanted} devices, {found} are chosen for it on {worker}.",
        "一个实例需要 {wanted} 个设备，但在 {worker} 上只为其选择了 {found} 个。",
        "Choose as many devices in gpu_selector as an instance takes.",
        "在 gpu_selector 中选择与实例所需数量一致的设备。",
    ),
    "chosen_unfit": ReasonText(
        "{device} is chosen, and this way to run it needs {need}.",
        "选择了 {device}，但这种运行方式需要{need}。",
        "Choose other devices, or let the scheduler choose.",
        "选择其他设备，或由调度器选择。",
    ),
    "chosen_mismatch": ReasonText(
        "{wanted} devices are chosen for each instance, and this way to run it ({shape}) takes"
        " {takes}.",
        "为每个实例选择了 {wanted} 个设备，而这种运行方式（{shape}）使用 {takes} 个。",
        "Choose as many devices as the model can be cut into, or set gpus_per_replica.",
        "选择模型可以切分的设备数，或设置 gpus_per_replica。",
    ),
    "too_few_workers": ReasonText(
        "{worker} could take a part of it, but {found} of the {wanted} workers needed have room at "
        "the same time.",
        "{worker} 可以承担一部分，但同时有空间的工作节点只有 {found} 个，需要 {wanted} 个。",
        "Add workers like it, or stop something on one of them.",
        "添加同类工作节点，或停止其中某个节点上的实例。",
    ),
    "across_taken": ReasonText(
        "{worker} already takes part in an instance of {backend} that spans workers.",
        "{worker} 已参与一个跨节点的 {backend} 实例。",
        "A worker can be in one such instance at a time: stop that one, or add workers.",
        "每个节点同时只能参与一个此类实例：请停止它，或添加工作节点。",
    ),
    "instances_max": ReasonText(
        "{worker} runs {count} instances of this deployment already; {max} is the most.",
        "{worker} 已运行该部署的 {count} 个实例，上限为 {max}。",
        "Add a worker, or allow more instances on one.",
        "添加工作节点，或提高单节点的实例上限。",
    ),
    "backend_missing": ReasonText(
        "{backend} is not there on {worker}; there is: {have}.",
        "{worker} 上没有 {backend}；现有：{have}。",
        "Install it there, or choose a version that is there with backend_version.",
        "在该节点上安装，或用 backend_version 选择已有版本。",
    ),
    "no_fit_disk": ReasonText(
        "{worker} has not enough free disk for the model's files: needs {need}, {free} is free.",
        "{worker} 的磁盘空间不足以存放模型文件：需要 {need}，空闲 {free}。",
        "Free some space where it keeps models, or choose other workers with worker_selector.",
        "清理其模型目录所在磁盘，或用 worker_selector 选择其他节点。",
    ),
    "overcommitted": ReasonText(
        "{device} was chosen by hand and is used although it has {free} free of the {need} needed.",
        "{device} 由用户指定：需要 {need}，仅空闲 {free}，仍将使用。",
        "If the engine runs out of memory, choose other devices in gpu_selector.",
        "若引擎显存不足，请在 gpu_selector 中选择其他设备。",
    ),
    "not_whole": ReasonText(
        "{worker} has {found} devices; an instance across workers takes all devices of each, and "
        "needs exactly {wanted}.",
        "{worker} 有 {found} 个设备；跨节点实例会占用每个节点的全部设备，需要恰好 {wanted} 个。",
        "Use workers with the same number of devices, or choose the devices with gpu_selector.",
        "使用设备数量相同的工作节点，或用 gpu_selector 指定设备。",
    ),
    "unlike_workers": ReasonText(
        "{worker} could take a part of it, but the {found} workers that could differ in their "
        "devices or their Python; {wanted} alike are needed.",
        "{worker} 可以承担一部分，但可用的 {found} 个节点的设备或 Python 版本不同；"
        "需要 {wanted} 个相同的节点。",
        "Make the workers alike, or choose the devices with gpu_selector.",
        "使这些节点保持一致，或用 gpu_selector 指定设备。",
    ),
    "lends_nothing": ReasonText(
        "{worker} is known by an address that only its own machine can use, so other workers could "
        "not use its devices.",
        "{worker} 登记的地址仅本机可用，其他节点无法使用其设备。",
        "Start it with the address under which others reach it: --worker-ip ADDRESS",
        "启动时指定其他节点可访问的地址：--worker-ip ADDRESS",
    ),
    "version_differs": ReasonText(
        "{worker} has {have}, and most other workers have {usual}: all that share one model must "
        "have the same.",
        "{worker} 上为 {have}，多数其他节点为 {usual}：共享同一模型的节点必须版本一致。",
        "Install the same version on all of them.",
        "在这些节点上安装相同的版本。",
    ),
    "no_fit": ReasonText(
        "No worker can take this instance: {summary}.",
        "没有工作节点可以运行该实例：{summary}。",
        "See every worker's reason: aimindserve why {name}",
        "查看各节点的原因：aimindserve why {name}",
    ),
    "across_not_started": ReasonText(
        "There is room on several workers together, but this version cannot start {backend} there.",
        "多个工作节点合起来有足够空间，但此版本无法在其上启动 {backend}。",
        "Use a model that fits on one worker.",
        "使用单个工作节点即可容纳的模型。",
    ),
    "tight_headroom": ReasonText(
        "It fits, but only {free} of {device} would be left.",
        "可以运行，但 {device} 仅剩 {free}。",
        "Use a shorter context or a device with more memory if others use it too.",
        "如有其他程序使用该设备，请缩短上下文或换用显存更大的设备。",
    ),
    "device_missing": ReasonText(
        "{device} was asked for, but {worker} has no such device.",
        "指定了 {device}，但 {worker} 没有该设备。",
        "List devices with: aimindserve workers -o json, then correct gpu_selector.",
        "用 aimindserve workers -o json 查看设备，再修改 gpu_selector。",
    ),
    "chosen_worker_missing": ReasonText(
        "{device} is chosen, but there is no worker called {worker}.",
        "选择了 {device}，但没有名为 {worker} 的工作节点。",
        "List devices with: aimindserve gpus, and correct gpu_selector; or bring the worker back.",
        "用 aimindserve gpus 查看设备，再修改 gpu_selector；或让该工作节点重新加入。",
    ),
    "port_exhausted": ReasonText(
        "{worker} has no free port left in {range}.",
        "{worker} 的端口范围 {range} 已用尽。",
        "Widen --service-port-range on that worker.",
        "在该节点上扩大 --service-port-range。",
    ),
    "rank_waiting": ReasonText(
        "The model starts when its process on {peer} is ready: {detail}.",
        "等待 {peer} 上的进程就绪后启动：{detail}。",
        "It goes on by itself; if it does not, look at that worker: aimindserve describe {peer}",
        "会自动继续；否则请检查该节点：aimindserve describe {peer}",
    ),
    "rank_lost": ReasonText(
        "The process on {peer} that holds a part of the model has ended or cannot be reached.",
        "{peer} 上持有部分模型的进程已退出或无法连接。",
        "All of it starts again by itself. If it happens again, read its log: "
        "aimindserve logs {name}",
        "将整体自动重启。若反复出现，请查看日志：aimindserve logs {name}",
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
    "engine_oom_device": ReasonText(
        "The engine ran out of device memory on {device}.",
        "引擎耗尽了 {device} 的显存。",
        "It is placed elsewhere, with more memory or smaller, if it can be; else use a shorter "
        "context or a smaller quantisation.",
        "若可行会换到其他设备、预留更多显存或以更小的规模运行；否则请使用更短的上下文或更小的量化。",
        retryable=False,
    ),
    "oom_before": ReasonText(
        "The same instance ran out of memory on {place} ({count} times so far); it is not put "
        "there again unchanged.",
        "相同的实例在 {place} 上内存不足（累计 {count} 次），不会原样再次放置到此处。",
        "Free some memory there, or use a shorter context, fewer slots or a smaller quantisation.",
        "释放该处内存，或使用更短的上下文、更少的并行槽或更小的量化。",
    ),
    "engine_oom": ReasonText(
        "{worker} ran out of memory and the system stopped the engine.",
        "{worker} 内存不足，系统终止了引擎。",
        "It is placed elsewhere, with more memory or smaller, if it can be; else use a shorter "
        "context, fewer parallel slots or a smaller quantisation.",
        "若可行会换到其他节点、预留更多内存或以更小的规模运行；否则请使用更短的上下文、更少的并行槽或更小的量化。",
        retryable=False,
    ),
    "worker_lost": ReasonText(
        "{worker} has not reported since {since}.",
        "{worker} 自 {since} 起未上报。",
        "Check that the machine runs and reaches the server; its instances come back with it.",
        "检查机器是否运行并能连接服务器；恢复后实例会随之恢复。",
    ),
    "worker_leaving": ReasonText(
        "{worker} is shutting down: it finishes what it is answering and takes nothing new.",
        "{worker} 正在关闭：完成处理中的请求，不再接受新任务。",
        "Nothing to do: its instances are replaced on other workers that can run them.",
        "无需操作：其实例会在其他可运行的节点上重建。",
    ),
    "worker_left": ReasonText(
        "{worker} was shut down at {since}, and its engines with it.",
        "{worker} 已于 {since} 关闭，其引擎也已停止。",
        "Start it again on its machine: aimindserve start. Its instances go on there unless "
        "another worker could take them.",
        "在该机器上重新启动：aimindserve start。未能由其他节点接管的实例会在那里继续运行。",
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


OUT_OF_MEMORY = frozenset({"engine_oom", "engine_oom_device"})
"""Reasons that mean: here, so, it does not fit."""


def text(code: str) -> ReasonText:
    """The catalogue's row for `code`; an unknown code reads as `unknown`."""
    return CATALOGUE.get(code, CATALOGUE["unknown"])


def render(code: str, params: Mapping[str, Any], language: str) -> str:
    """The sentence for `code` in `language` (en or zh) with its braces filled."""
    row = text(code)
    sentence = row.zh if language.startswith("zh") else row.en
    if "{summary}" in sentence:
        params = {"summary": summed_up(params, language), **params}
    return fill(sentence, params)


def render_fix(code: str, params: Mapping[str, Any], language: str) -> str:
    """What to do about `code`, in `language` (en or zh), with its braces filled."""
    row = text(code)
    return fill(row.fix_zh if language.startswith("zh") else row.fix_en, params)


def fill(sentence: str, params: Mapping[str, Any]) -> str:
    """`sentence` with its braces filled; a value that is missing reads as a question mark."""
    return sentence.format_map(_Missing(params))


class _Missing(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"
