"""What client commands say to people, in English and 简体中文: one catalogue.

Field names, codes and JSON are never translated. Single words are in `_terms`, sentences of errors
in `_words`, help in `_help_zh`. Reasons come from the catalogue of
`core.reason`; a reason of a newer server, which this program does not know, keeps its own sentence.
"""

from collections.abc import Mapping
from typing import Any

import click

from aimindserve.core import reason as reasons

LANGUAGES = ("en", "zh")
_VARIABLES = ("GPUSTACK_LANG", "LC_ALL", "LC_MESSAGES", "LANG")

TEXTS: Mapping[str, tuple[str, str]] = {
    "none_deployment": (
        "Nothing is deployed yet. Begin with: aimindserve deploy /path/to/model.gguf",
        "尚未部署任何模型。开始：aimindserve deploy /path/to/model.gguf",
    ),
    "none_instance": ("No instance is running.", "没有模型实例。"),
    "none_worker": (
        "No worker has joined. On a machine: aimindserve start --server-url URL --token TOKEN",
        "还没有工作节点。在一台机器上运行：aimindserve start --server-url URL --token TOKEN",
    ),
    "none_api-key": (
        "There are no API keys. Make one with: aimindserve keys create NAME",
        "还没有 API 密钥。创建：aimindserve keys create NAME",
    ),
    "none_user": ("There are no users.", "没有用户。"),
    "none_model-file": ("No model files are known.", "没有模型文件。"),
    "none_estimate": (
        "Nothing has been measured yet: that takes an instance that is ready.",
        "尚无测量数据：需要有就绪的模型实例。",
    ),
    "none_route": ("There are no routes.", "没有路由。"),
    "none_event": ("Nothing has happened yet.", "还没有任何事件。"),
    "none_gpu": (
        "No worker has a GPU. See what they have with: aimindserve workers",
        "没有任何工作节点配备 GPU。查看节点：aimindserve workers",
    ),
    "none_match": ("Nothing matches.", "没有匹配项。"),
    "deployed": ("{name} is deployed.", "已部署 {name}。"),
    "taken": (
        "Choose another one with --name, or change it: aimindserve scale {name} N, "
        "aimindserve rm {name}.",
        "用 --name 另取名称，或修改现有部署：aimindserve scale {name} N、aimindserve rm {name}。",
    ),
    "ready": ("{name} is ready.", "{name} 已就绪。"),
    "base_url": ("Base URL", "接口地址"),
    "model": ("Model", "模型"),
    "ask_it": ("Ask it", "试一试"),
    "or_here": ("or here", "或直接对话"),
    "follow": ("Follow it with: {command}", "查看进度：{command}"),
    "still": (
        "Stopped watching; {name} goes on. Look again with: aimindserve wait {name}",
        "已停止等待，{name} 的部署仍在继续。再次查看：aimindserve wait {name}",
    ),
    "elsewhere": (
        "Note: {path} must exist on the workers of {server}, not only here.",
        "注意：{path} 必须存在于 {server} 的工作节点上，而不仅是本机。",
    ),
    "scaled": ("{name}: {before} → {after} replicas.", "{name}：副本数 {before} → {after}。"),
    "unchanged": ("{name} has {after} replicas already.", "{name} 的副本数已是 {after}。"),
    "removed": ("Removed {name}.", "已删除 {name}。"),
    "confirm_remove": ("Remove {names}?", "确定删除 {names}？"),
    "use_force": (
        "Stop its agent first, or remove it anyway with --force.",
        "请先停止该节点的代理程序，或使用 --force 强制删除。",
    ),
    "needs_yes": (
        "Not removed: this is not a terminal, so add --yes.",
        "未删除：当前不是终端，请加上 --yes。",
    ),
    "not_removed": ("Nothing was removed.", "未删除任何内容。"),
    "cordoned": ("{name} takes no new instances.", "{name} 已停止调度。"),
    "uncordoned": ("{name} takes new instances again.", "{name} 已恢复调度。"),
    "labelled": ("Labels of {name}: {labels}", "{name} 的标签：{labels}"),
    "key_once": (
        "Keep it now: it is shown this once.",
        "请立即保存：此密钥只显示一次。",
    ),
    "signed_in": ("Signed in to {server} as {user}.", "已以 {user} 登录 {server}。"),
    "signed_out": ("Signed out of {server}.", "已退出 {server}。"),
    "not_signed_in": ("Not signed in to {server}.", "未登录 {server}。"),
    "signed_in_nowhere": ("Not signed in to any server.", "未登录任何服务器。"),
    "plain_http": (
        "Note: {server} is not encrypted; others on the network can read what you send.",
        "注意：{server} 未加密，网络上的其他人可能读取您发送的内容。",
    ),
    "username": ("Username", "用户名"),
    "password": ("Password", "密码"),
    "new_password": ("New password", "新密码"),
    "new_password_again": ("New password, again", "再次输入新密码"),
    "must_change": (
        "This password was a first one: choose another now.",
        "这是初始密码，请立即设置新密码。",
    ),
    "user_made": ("User {name} is made.", "已创建用户 {name}。"),
    "password_once": (
        "This password is shown this once; it must be changed at the next sign-in.",
        "此密码只显示一次，下次登录时必须修改。",
    ),
    "password_set": ("The password of {user} is changed.", "{user} 的密码已修改。"),
    "applied": ("{kind} {name} {verb}.", "{kind} {name} {verb}。"),
    "created": ("created", "已创建"),
    "changed": ("changed", "已更新"),
    "same": ("unchanged", "无变化"),
    "created_would": ("would be created", "将被创建"),
    "changed_would": ("would be changed", "将被更新"),
    "pruned": ("removed", "已删除"),
    "pruned_would": ("would be removed", "将被删除"),
    "confirm_prune": (
        "Not in the file: {names}. Remove them?",
        "文件中没有：{names}。确定删除？",
    ),
    "prune_needs_selector": (
        "--prune needs --selector LABEL=VALUE: only objects with these labels are removed.",
        "--prune 需要同时指定 --selector LABEL=VALUE：只删除带有这些标签的对象。",
    ),
    "last_events": ("Events", "事件"),
    "crashes": ("Ended by themselves", "异常退出"),
    "events_over": (
        "Stopped following. See them again with: {command}",
        "已停止跟踪。再次查看：{command}",
    ),
    "of_all": ("{some} of {all}", "{all} 个中的 {some} 个"),
    "free_of": ("{free} free of {total}", "空闲 {free}，共 {total}"),
    "speed": (
        "{speed} tokens/s for one request ({count} tokens of this run)",
        "单个请求 {speed} tokens/s（本次运行共 {count} 个 token）",
    ),
    "run_restarts": ("{run} ({count} restarts)", "{run}（重启 {count} 次）"),
    "process_port": ("{pid}, port {port}", "{pid}，端口 {port}"),
    "process_adopted": ("{pid}, port {port}, adopted", "{pid}，端口 {port}，已接管"),
    "tokens": ("{count} tokens", "{count} 个词元"),
    "expires_in": ("in {time}", "{time} 后"),
    "not_active": ("not active yet", "尚未启用"),
    "would_refuse": ("start would refuse: {sentence}", "start 会拒绝：{sentence}"),
    "progress_at": ("{instance}  {phase} on {worker}", "{instance}  {phase}（在 {worker} 上）"),
    "progress": ("{instance}  {phase}", "{instance}  {phase}"),
    "fetching": ("fetching {name}", "正在下载 {name}"),
    "fetching_line": ("fetching {name}: {done} of {size}", "正在下载 {name}：{done} / {size}"),
    "tour_goes_on": ("The server goes on; Ctrl-C stops it.", "服务器继续运行；按 Ctrl-C 停止。"),
    "tour_deploying": ("deploying {name} on {backend}", "正在用 {backend} 部署 {name}"),
    "ready_at": ("aiMindServe is ready at {url}", "aiMindServe 已就绪：{url}"),
    "serves_server": (
        "this worker serves {server}; Ctrl-C ends it",
        "本工作节点为 {server} 服务；按 Ctrl-C 结束",
    ),
    "no_join": (
        "cannot join: it listens on {host} alone (--host)",
        "无法加入：服务器只监听 {host}（--host）",
    ),
    "join_token": ("Join token", "加入令牌"),
    "token_in": ("in {path}", "在 {path} 中"),
    "tour_address": ("Address", "地址"),
    "tour_api": ("Management API", "管理 API"),
    "tour_api_docs": ("{url}/api/v1, described at {url}/docs", "{url}/api/v1，说明见 {url}/docs"),
    "tour_base_url": ("OpenAI base URL", "OpenAI 接口地址"),
    "tour_sign_in": ("First sign-in", "首次登录"),
    "tour_password": (
        "aimindserve login {url}, as admin; asks to replace the password in {path}",
        "aimindserve login {url}，用户 admin；会要求更换 {path} 中的密码",
    ),
    "tour_join": ("Join a machine", "加入一台机器"),
    "tour_key": ("API key", "API 密钥"),
    "tour_key_once": ("{secret}  (shown this once)", "{secret}  （只显示这一次）"),
    "tour_key_again": (
        "made at the first run; another: aimindserve keys create NAME",
        "已在首次运行时创建；再创建一个：aimindserve keys create NAME",
    ),
    "tour_serving": ("Serving; Ctrl-C stops everything.", "服务运行中；按 Ctrl-C 停止全部。"),
    "demo_simulating": (
        "simulating {workers} workers with {devices} devices each, seed {seed}",
        "正在模拟 {workers} 个工作节点，每个 {devices} 个设备，随机种子 {seed}",
    ),
    "logs_away": (
        "{who} does not answer; what it logs follows when it does.",
        "{who} 没有响应；恢复后将继续显示其日志。",
    ),
    "logs_back": ("{who} answers again.", "{who} 已恢复响应。"),
    "logs_not_yet": ("{name} has no log yet.", "{name} 尚无日志。"),
    "logs_gone": ("{name} is gone.", "{name} 已不存在。"),
    "chat_hello": (
        "{model} is ready. \\h shows help, \\q ends.",
        "{model} 已就绪。输入 \\h 查看帮助，\\q 退出。",
    ),
    "chat_help": (
        "\\q, \\quit   end\n\\c, \\clear  forget the conversation\n\\h, \\help   this help",
        "\\q, \\quit   退出\n\\c, \\clear  清空对话\n\\h, \\help   显示帮助",
    ),
    "chat_cleared": ("The conversation is forgotten.", "对话已清空。"),
    "chat_cut": ("[stopped]", "[已停止]"),
    "starting": ("Starting {name}", "正在启动 {name}"),
    "why_ready": ("{name} runs as asked; nothing stands in its way.", "{name} 运行正常。"),
    "why_working": (
        "{name} is on its way ({phase}); nothing stands in its way.",
        "{name} 正在进行（{phase}），没有阻碍。",
    ),
    "why_ended": (
        "It was started again ({count} restarts); the run before this one ended so: {message}",
        "它曾被重新启动（{count} 次）；上一次运行的结束原因：{message}",
    ),
    "why_not": ("Why not elsewhere", "为什么不是其他节点"),
    "fix": ("Try", "建议"),
    "nearest": ("Least is missing", "最接近的位置"),
    "near_device": (
        "one device: {name} lacks {missing} of {need}  ({shape})",
        "单个设备：{name} 缺 {missing}，共需 {need}（{shape}）",
    ),
    "near_worker": (
        "one worker: {name} lacks {missing} of {need}  ({shape})",
        "单个工作节点：{name} 缺 {missing}，共需 {need}（{shape}）",
    ),
    "near_combination": (
        "several workers: {name} lack {missing} of {need}  ({shape})",
        "多个工作节点：{name} 共缺 {missing}，共需 {need}（{shape}）",
    ),
    "near_ram": (
        "memory: {name} lacks {missing} of {need}  ({shape})",
        "内存：{name} 缺 {missing}，共需 {need}（{shape}）",
    ),
    "would_help": ("It would fit", "以下更改可使其运行"),
    "force": (
        "Change it so that it fits, or let it wait until it does: --force.",
        "请修改使其可以运行；或使用 --force，让它等待直到可以运行。",
    ),
    "fit_fits": ("It fits.", "可以运行。"),
    "fit_tight": ("It fits, and only just.", "可以运行，但余量很小。"),
    "fit_distributed": ("It fits on several workers together.", "可以跨多个工作节点运行。"),
    "fit_cpu_only": ("It fits, on processors only.", "可以运行，但只能使用 CPU。"),
    "fit_fits_after": ("It does not fit now; a change makes it fit.", "目前无法运行，更改后可以。"),
    "fit_overcommitted": (
        "It goes where it was put by hand, which has not enough free memory.",
        "将放到手动指定的设备上，但其空闲显存不足。",
    ),
    "fit_no": ("It does not fit.", "无法运行。"),
    "fit_unknown": ("It is not known whether it fits.", "尚不确定能否运行。"),
    "fit_replicas": ("{placed} of {asked} instances.", "{asked} 个实例中的 {placed} 个。"),
    "fit_needs": ("One instance needs", "每个实例需要"),
    "fit_left": ("{size} left", "剩余 {size}"),
    "fit_ready_same": (
        "Ready in about {time} (starts seen in just this way: {count})",
        "预计 {time} 后就绪（同样方式的启动记录：{count} 次）",
    ),
    "fit_ready_similar": (
        "Ready in about {time} (starts of it seen, in other ways: {count})",
        "预计 {time} 后就绪（该模型其他方式的启动记录：{count} 次）",
    ),
    "fit_speed_same": (
        "About {speed} tokens/s for one request (tokens counted in just this way: {count})",
        "单个请求约 {speed} tokens/s（同样方式的统计：{count} 个 token）",
    ),
    "fit_speed_similar": (
        "About {speed} tokens/s for one request (tokens of it counted, in other ways: {count})",
        "单个请求约 {speed} tokens/s（该模型其他方式的统计：{count} 个 token）",
    ),
    "fit_waiting": ("What waits already", "已在等待的实例"),
    "fit_displaced": ("What would have to move", "需要迁移的实例"),
    "unreachable": (
        "The server at {server} does not answer: {detail}.",
        "服务器 {server} 没有响应：{detail}。",
    ),
    "unreachable_hint": (
        "Start it with: aimindserve start, or name another one with --server URL.",
        "启动：aimindserve start；或用 --server URL 指定其他服务器。",
    ),
    "wait_timed_out": (
        "{name} is not ready after {time}: {ready} of {wanted} instances answer.",
        "{name} 在 {time} 后仍未就绪：{wanted} 个实例中有 {ready} 个响应。",
    ),
    "wait_timed_out_hint": (
        "The work goes on; look again with: aimindserve describe {name}",
        "后台仍在继续；再次查看：aimindserve describe {name}",
    ),
    "sign_in_hint": (
        "Sign in with: aimindserve login, or give --api-key or GPUSTACK_API_KEY.",
        "登录：aimindserve login；或提供 --api-key、GPUSTACK_API_KEY。",
    ),
    "kind_deployment": ("deployment", "部署"),
    "kind_instance": ("instance", "实例"),
    "kind_worker": ("worker", "工作节点"),
    "kind_model-file": ("model file", "模型文件"),
    "kind_estimate": ("estimate", "估算"),
    "kind_route": ("route", "路由"),
    "kind_user": ("user", "用户"),
    "kind_api-key": ("API key", "API 密钥"),
    "did_you_mean": ("Did you mean {name}?", "是否想输入 {name}？"),
    "see_all": ("See all with: {command}", "查看全部：{command}"),
}


def say(language: str, key: str, **params: object) -> str:
    """The text `key` in `language` with its braces filled."""
    english, chinese = TEXTS[key]
    return (chinese if language == "zh" else english).format(**params)


def variable(*names: str) -> str:
    """The first of these environment variables that is set, through click; empty if none is."""
    context = click.get_current_context(silent=True)
    if context is None:
        return ""
    return click.Option(["--variable"], envvar=names).resolve_envvar_value(context) or ""


def language() -> str:
    """`zh` when the user's locale is Chinese, else `en`."""
    return "zh" if variable(*_VARIABLES).lower().startswith("zh") else "en"


def reason_text(reason: Mapping[str, Any], tongue: str) -> tuple[str, str]:
    """(sentence, fix) of a reason as the API shows it."""
    code = str(reason.get("code") or "unknown")
    params: Mapping[str, Any] = reason.get("params") or {}
    told, fix = str(reason.get("message") or ""), str(reason.get("fix") or "")
    if code not in reasons.CATALOGUE:
        return told or reasons.render("unknown", params, tongue), fix
    if tongue == "zh" or not told:
        told = reasons.render(code, params, tongue)
        fix = ""
    return told, fix or reasons.render_fix(code, params, tongue)
