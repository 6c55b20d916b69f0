"""The sentences of `_words` in 简体中文, by their English template."""

from collections.abc import Mapping

CHINESE: Mapping[str, str] = {
    "The saved sign-ins in {path} cannot be read: {error}.": (
        "无法读取保存的登录信息 {path}：{error}。"
    ),
    "Remove that file and sign in again with: aimindserve login": (
        "请删除该文件并重新登录：aimindserve login"
    ),
    "The sign-in cannot be kept in {path}: {why}.": "无法将登录信息保存到 {path}：{why}。",
    "Several servers run on this machine.": "本机运行着多个服务器。",
    "Name one with --server URL or GPUSTACK_SERVER_URL.": (
        "请用 --server URL 或 GPUSTACK_SERVER_URL 指定其中一个。"
    ),
    "No server is running on this machine.": "本机没有正在运行的服务器。",
    "Start one with: aimindserve start, or name one with --server URL or GPUSTACK_SERVER_URL.": (
        "启动：aimindserve start；或用 --server URL、GPUSTACK_SERVER_URL 指定服务器。"
    ),
    "{text!r} is no duration; write for example 90s, 10m or 2h.": (
        "{text!r} 不是时长；请写成例如 90s、10m 或 2h。"
    ),
    "{text!r} is no time; write for example 10m, 2026-11-20 or 2026-11-20T08:00:00Z.": (
        "{text!r} 不是时间；请写成例如 10m、2026-11-20 或 2026-11-20T08:00:00Z。"
    ),
    "The details are in {report}; please report them. --debug shows them here.": (
        "详细信息在 {report} 中，请报告给我们。使用 --debug 可在此处显示。"
    ),
    "Run it again with --debug to see the details, and please report them.": (
        "请加上 --debug 重新运行以查看详细信息，并报告给我们。"
    ),
    "This program has a defect: {what}": "程序存在缺陷：{what}",
    "There is no {kind} called {name!r}.": "没有名为 {name!r} 的{kind}。",
    "No such command '{name}'. Did you mean '{near}'?": "没有命令“{name}”。是否想输入“{near}”？",
    "It is empty.": "内容为空。",
    "No such command '{name}'.": "没有命令“{name}”。",
    "There is no kind called {text!r}.": "没有名为 {text!r} 的类型。",
    "Did you mean {name}?": "是否想输入 {name}？",
    "There are: {names}.": "可用的有：{names}。",
    "{field!r} is no column of this list; there are: {headers}.": (
        "此列表没有列 {field!r}；可用的有：{headers}。"
    ),
    "A path into the object works too, for example spec.replicas": (
        "也可以使用对象内的路径，例如 spec.replicas"
    ),
    "--filter {text!r} has no =, != or ~.": "--filter {text!r} 中没有 =、!= 或 ~。",
    "For example: phase=ready": "例如：phase=ready",
    "{option} {text!r} is not NAME=VALUE.": "{option} {text!r} 不是 NAME=VALUE 的形式。",
    "The file holds something that is no object with kind and metadata.": (
        "文件中有内容不是带 kind 和 metadata 的对象。"
    ),
    "An object in the file has no metadata.name.": "文件中有对象缺少 metadata.name。",
    "{name} in the file has no spec.": "文件中的 {name} 缺少 spec。",
    "{path} cannot be read: {why}.": "无法读取 {path}：{why}。",
    "{path} is no YAML: {error}.": "{path} 不是 YAML：{error}。",
    "{path} holds {count} objects; 1 to {limit} can be applied.": (
        "{path} 中有 {count} 个对象；可以应用 1 到 {limit} 个。"
    ),
    "{path} is larger than {size} MiB.": "{path} 大于 {size} MiB。",
    "-o json needs a PROMPT.": "-o json 需要 PROMPT。",
    "Completion for {shell} is not available here.": "此处不支持 {shell} 的补全。",
    "{text!r} names no kind.": "{text!r} 没有指明类型。",
    "Write KIND/NAME, KIND/ or NAME.": "请写成 KIND/NAME、KIND/ 或 NAME。",
    "Give a MODEL, or one of --lose, --add, --without.": (
        "请给出 MODEL，或 --lose、--add、--without 之一。"
    ),
    "{text!r}: after the colon stands how many.": "{text!r}：冒号之后应为数量。",
    "--password-stdin and --api-key-stdin exclude each other.": (
        "--password-stdin 与 --api-key-stdin 不能同时使用。"
    ),
    "This is not a terminal, so the password cannot be asked for.": (
        "当前不是终端，无法询问密码。"
    ),
    "Give it with --password-stdin, or a key with --api-key-stdin.": (
        "请用 --password-stdin 提供密码，或用 --api-key-stdin 提供密钥。"
    ),
    "Sign in on a terminal, or give it with --new-password-stdin, as a second line."
    " Programs: POST /api/v1/auth/password.": (
        "请在终端中登录，或用 --new-password-stdin 在第二行给出新密码。"
        "程序可用 POST /api/v1/auth/password。"
    ),
    "Standard input must have two lines: the password and the new one.": (
        "标准输入必须有两行：密码和新密码。"
    ),
    "--new-password-stdin needs --password-stdin.": (
        "--new-password-stdin 需要与 --password-stdin 一起使用。"
    ),
    "Standard input was empty.": "标准输入为空。",
    "--previous and --run exclude each other.": "--previous 与 --run 不能同时使用。",
    "{name} has no instance, so there is no log.": "{name} 没有实例，因此没有日志。",
    "See why with: aimindserve why {name}": "查看原因：aimindserve why {name}",
    "quickstart runs a server with a worker; use `aimindserve start`.": (
        "quickstart 总是运行服务器和工作节点；请使用 `aimindserve start`。"
    ),
    "{url} set a password but did not say which.": "{url} 设置了密码，但没有返回它。",
    "Sign in as {user} with it; it must be changed then.": (
        "请用它以 {user} 的身份登录，登录后必须修改。"
    ),
    "{text!r} is no label.": "{text!r} 不是标签。",
    "Write LABEL=VALUE to set, LABEL- to remove.": "写 LABEL=VALUE 表示设置，LABEL- 表示删除。",
    "Nothing was started.": "未启动任何程序。",
    "{scheme!r} is no model source.": "{scheme!r} 不是模型来源。",
    "There is no file {text!r} here, and it names no model source.": (
        "此处没有文件 {text!r}，它也不是模型来源。"
    ),
    "Write the path of a model file, as the workers have it.": (
        "请写出模型文件在工作节点上的路径。"
    ),
    "{text!r} is no repository.": "{text!r} 不是模型仓库。",
    "Write it as OWNER/NAME.": "请写成 OWNER/NAME。",
    "The quick start is stopping.": "快速入门正在停止。",
}
