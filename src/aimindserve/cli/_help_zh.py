"""What `--help` says in 简体中文, by the English paragraph with its white space made single.

Data alone. Examples (paragraphs that begin with `\\b`) are the same in every language. The texts of
settings are not here: their declarations carry both languages.
"""

# ruff: noqa: E501 - a Chinese letter counts double, and keys are whole paragraphs

from collections.abc import Mapping

HEADINGS: Mapping[str, str] = {"Options": "选项", "Commands": "命令"}
USAGE = "用法："

CHINESE: Mapping[str, str] = {
    "aiMindServe: one place to run AI models on your own machines.": (
        "aiMindServe：在自己的机器上统一运行 AI 模型。"
    ),
    "Show the version and exit.": "显示版本并退出。",
    "Show this message and exit.": "显示本帮助并退出。",
    # shared options
    "How to print.": "输出格式。",
    "Server to talk to [env: GPUSTACK_SERVER_URL; default: the last login, else the server on this "
    "machine].": "要访问的服务器 [环境变量：GPUSTACK_SERVER_URL；默认：最近一次登录的服务器，否则为本机]。",
    "API key; better given as GPUSTACK_API_KEY or by: aimindserve login.": (
        "API 密钥；建议通过 GPUSTACK_API_KEY 或 aimindserve login 提供。"
    ),
    "Print only data and errors.": "只输出数据和错误。",
    "Show where in the program an error came from.": "显示错误在程序中的来源。",
    "Only what matches: column or field, then =, != or ~ (contains). Repeatable.": (
        "只显示匹配项：列名或字段名，后接 =、!= 或 ~（包含）。可重复。"
    ),
    "Column or field to sort by; -COLUMN for downwards.": "按该列或字段排序；-COLUMN 为降序。",
    "Leave out the line of headers.": "不输出表头。",
    "Do not ask.": "不询问确认。",
    "Wait so long.": "最长等待时间。",
    "Wait until it is so.": "等待完成。",
    "Read the password from standard input.": "从标准输入读取密码。",
    "Log in detail.": "输出详细日志。",
    # apply
    "Make the server's objects like those in a YAML file: create what is missing, change the rest.": (
        "使服务器上的对象与 YAML 文件一致：缺少的创建，其余的更新。"
    ),
    "The file holds one object, a list, or several documents, in the form that `get -o yaml` "
    "prints. Nothing is removed without --prune, and with it only objects of the kinds in the file "
    "that have the labels of --selector. The whole file is checked before anything is written. "
    "Nobody is shown the secrets in an env: --dry-run and --diff do not compare them, and ******** "
    "keeps them.": (
        "文件可以是一个对象、一个列表或多个文档，格式与 `get -o yaml` 的输出相同。不加 --prune 不会删除"
        "任何内容；加上后也只删除文件中出现的类型里带有 --selector 标签的对象。写入前会检查整个文件。"
        "env 中的机密不会显示给任何人：--dry-run 和 --diff 不比较它们，******** 表示保留原值。"
    ),
    "YAML file; - for stdin.": "YAML 文件；- 表示标准输入。",
    "Only say what would change; exit code 10 if any.": "只说明会有哪些变化；如有变化，退出码为 10。",
    "As --dry-run, and show the differences.": "同 --dry-run，并显示差异。",
    "Also remove what --selector finds and the file does not have.": (
        "同时删除 --selector 选中但文件中没有的对象。"
    ),
    "With --prune: only objects with this label. Repeatable.": (
        "与 --prune 同用：只涉及带此标签的对象。可重复。"
    ),
    "Do not ask before removing.": "删除前不询问确认。",
    # chat
    "Talk to a model in the terminal; its answer is printed as it comes.": (
        "在终端中与模型对话，回答会实时显示。"
    ),
    "With PROMPT (or text on standard input) one answer, else a conversation: \\q ends, \\c forgets "
    "it, \\h helps. Ctrl-C stops an answer. A model that still starts is waited for.": (
        "给出 PROMPT（或标准输入的文本）时只回答一次，否则进入对话：\\q 退出，\\c 清空，\\h 帮助。"
        "Ctrl-C 中止当前回答。模型尚在启动时会等待。"
    ),
    "What the model is told before the conversation.": "对话前给模型的系统提示。",
    "Lower is more predictable.": "越低越稳定。",
    "Longest answer.": "回答的最大长度。",
    # completion
    "Print what makes a shell complete commands and flags with the Tab key.": (
        "输出 shell 补全脚本，用 Tab 键补全命令和参数。"
    ),
    "Command to complete.": "要补全的命令。",
    # config
    "Show every setting with its value and where the value comes from.": (
        "显示每个配置项的值及其来源。"
    ),
    "Look at the settings of this machine.": "查看本机的配置。",
    "Show every setting with its value and origin, as `start` would use them.": (
        "显示每个配置项的值及其来源，与 `start` 使用的一致。"
    ),
    "Takes the flags of `start`, so that a command line can be tried without starting anything; what "
    "`start` would refuse is told. Secrets are masked.": (
        "接受 `start` 的全部参数，可在不启动任何程序的情况下试验命令行，并说明 `start` 会拒绝什么。密钥会被遮盖。"
    ),
    # demo
    "Run a simulated cluster behind the real API, for looking around.": (
        "在真实 API 之后运行一个模拟集群，供浏览体验。"
    ),
    "Workers, devices and engines are simulated; server, scheduler, gateway and API are the real "
    "ones. Nothing is kept: its data directory is removed at the end.": (
        "工作节点、设备和引擎是模拟的；服务器、调度器、网关和 API 是真实的。不保留任何内容：结束时删除"
        "其数据目录。"
    ),
    "How many simulated machines.": "模拟机器的数量。",
    "On each.": "每台机器的设备数。",
    "Same number, same cluster.": "相同的数字得到相同的集群。",
    "Address to listen on. [default: 127.0.0.1]": "监听地址。[默认：127.0.0.1]",
    "Port of the server. [default: 8080 or the next free one]": (
        "服务器端口。[默认：8080 或下一个空闲端口]"
    ),
    # deploy
    "Serve a model: a file or a directory that the workers have.": (
        "部署模型：工作节点上已有的文件或目录。"
    ),
    "MODEL is the path of a GGUF file, or of a directory with config.json and safetensors. Models "
    "are not fetched from hubs yet.": (
        "MODEL 是 GGUF 文件的路径，或含有 config.json 和 safetensors 的目录的路径。"
        "目前还不能从模型站下载模型。"
    ),
    "Name of the deployment, and the model id on /v1.": "部署名称，也是 /v1 上的模型 ID。",
    "How many instances. [default: 1]": "实例数。[默认：1]",
    "Inference backend; chosen from the model by itself.": "推理后端；默认根据模型自动选择。",
    "Version of the backend.": "后端版本。",
    "Parameter of the backend, for example -P threads=4 or -P --flash-attn. Repeatable.": (
        "后端参数，例如 -P threads=4 或 -P --flash-attn。可重复。"
    ),
    "Length of the context.": "上下文长度。",
    "Kind of model. Repeatable.": "模型类别。可重复。",
    "Environment of the engine.": "引擎的环境变量。",
    "Only on workers with this label.": "只使用带此标签的工作节点。",
    "On this device.": "使用此设备。",
    "How to choose workers.": "选择工作节点的方式。",
    "May RAM hold a part?": "是否允许部分放入内存。",
    "Most instances of it on one worker; 1 keeps them all apart.": (
        "每个工作节点上最多的实例数；1 表示全部分开。"
    ),
    "May several workers share one?": "是否允许多个工作节点共同运行一个实例。",
    "Label to put on it.": "添加的标签。",
    "Also when it does not fit now: it waits until it does.": (
        "即使目前无法运行也部署：等待直到可以运行。"
    ),
    "Wait until it answers.": "等待其就绪。",
    # describe
    "Show everything about a deployment, an instance or a worker, for people.": (
        "显示部署、实例或工作节点的全部信息，供人阅读。"
    ),
    "A deployment with its instances, where they are, what memory they hold and for what, reasons "
    "with what to do about them, what its model file says of itself, and what happened last.": (
        "包括部署的实例及其位置、占用的内存和用途、原因与处理建议、模型文件的信息，以及最近的事件。"
    ),
    # events
    "Print what happened: to everything, or to one object; newest last, and with -f as it comes.": (
        "显示发生的事件：全部或某一对象；最新的在最后，加 -f 持续显示。"
    ),
    "The same thing happening again within an hour is one line that counts.": (
        "一小时内重复发生的同一事件合并为一行并计数。"
    ),
    "Go on printing what happens.": "持续显示新事件。",
    "From then on: 10m, 2h, or a time.": "起始时间：10m、2h 或具体时间。",
    "Before then.": "截止时间。",
    "Only these, as in restarted.": "只显示此类事件，如 restarted。",
    "Only for this reason, as in no_fit.": "只显示因此原因发生的事件，如 no_fit。",
    "At most so many, the newest.": "最多显示的条数（最新的）。",
    # estimates
    "List what models were predicted to take beside what they took, and forget what was measured.": (
        "列出模型的内存预测值与实测值，并可清除实测数据。"
    ),
    "List what models were predicted to take beside what they took. Without a subcommand: list.": (
        "列出模型的内存预测值与实测值。不带子命令时列出全部。"
    ),
    "List estimates: memory predicted and measured, the error, and what one request gets.": (
        "列出估算：预测内存、实测内存、误差与单个请求的速度。"
    ),
    "Forget what was measured under NAME, as `estimates -o wide` shows it.": (
        "清除 NAME 的实测数据；名称见 `estimates -o wide`。"
    ),
    # files
    "List model files: which model is on which worker, or why not.": (
        "列出模型文件：哪个模型在哪个工作节点上，或不在的原因。"
    ),
    "List model files: which model is on which worker, or why not. Without a subcommand: list.": (
        "列出模型文件：哪个模型在哪个工作节点上，或不在的原因。不带子命令时列出。"
    ),
    "List model files.": "列出模型文件。",
    # fit
    "Say whether a model would fit, where, and what is in its way, without deploying it.": (
        "判断模型能否运行、在哪里运行、有何阻碍，而不实际部署。"
    ),
    "MODEL is as for deploy. Without one, --lose, --add and --without say what would become of what "
    "runs. Ends with exit code 6 when it does not fit, also where devices chosen by hand have not "
    "enough free memory.": (
        "MODEL 与 deploy 相同。不给出时，--lose、--add 和 --without 说明现有实例会怎样。无法运行时，"
        "包括手动指定的设备空闲显存不足时，退出码为 6。"
    ),
    "Take the place of this deployment, if there is one.": "代替此部署（如果存在）。",
    "What if this worker were lost? Repeatable.": "假设失去此工作节点。可重复。",
    "What if there were more like it?": "假设增加同样的工作节点。",
    "What if this deployment were gone?": "假设此部署不存在。",
    # get
    "Print objects of any kind: what `ls` shows of deployments, of everything.": (
        "显示任意类型的对象：如同 `ls` 之于部署。"
    ),
    "Print objects of any kind: deployments, instances, workers, model-files, estimates, routes, "
    "users, keys.": (
        "显示任意类型的对象：deployments、instances、workers、model-files、estimates、routes、users、keys。"
    ),
    # gpus
    "List the accelerators of all workers: memory, what of it is used, and by which instances.": (
        "列出所有工作节点的加速器：显存、已用量，以及使用它的实例。"
    ),
    "USED is what the driver tells, by all programs; CLAIMED is what instances were promised.": (
        "USED 是驱动报告的所有程序的用量；CLAIMED 是分配给实例的用量。"
    ),
    # keys
    "List, make and revoke API keys.": "列出、创建和吊销 API 密钥。",
    "List, make and revoke API keys. Without a subcommand: list.": (
        "列出、创建和吊销 API 密钥。不带子命令时列出。"
    ),
    "List API keys; the keys themselves are never shown again.": "列出 API 密钥；密钥本身不会再次显示。",
    "Make an API key. It is printed this once: keep it.": "创建 API 密钥。密钥只显示一次，请妥善保存。",
    "Valid so long, such as 90d.": "有效期，例如 90d。",
    "Only for this model. Repeatable.": "只允许用于此模型。可重复。",
    "What it is for.": "用途说明。",
    "Revoke API keys, at once.": "立即吊销 API 密钥。",
    # login, logout
    "Sign in to a server and keep the session for the commands that follow.": (
        "登录服务器，并为后续命令保留会话。"
    ),
    "The password is never kept; the session is, readable by you alone. Secrets are not taken as "
    "arguments, where other users of this machine could see them. A password that the server made "
    "must be changed at the first sign-in: a terminal asks for the new one.": (
        "密码不会保存；会话会保存，且只有您可读。密钥不接受命令行参数，以免本机其他用户看到。"
        "服务器生成的密码必须在首次登录时修改：在终端中会询问新密码。"
    ),
    "With --password-stdin: choose the next line as password, if the first must be changed.": (
        "与 --password-stdin 同用：若初始密码必须修改，以下一行作为新密码。"
    ),
    "Who signs in; asked for on a terminal. [default: admin]": (
        "登录的用户；在终端中会询问。[默认：admin]"
    ),
    "Read an API key from standard input instead.": "改为从标准输入读取 API 密钥。",
    "End the session with a server and forget its credential.": "结束与服务器的会话并删除其凭据。",
    "URL: the server; the one of the last login when not given.": (
        "URL：服务器；不给出时为最近一次登录的服务器。"
    ),
    # logs
    "Read the log of a deployment's instances, and follow it.": "查看部署各实例的日志，并可持续跟踪。",
    "NAME is a deployment or an instance. Lines of several instances begin with the instance's "
    "name. The logs of workers that are away are left out, which is told; -f goes on with them when "
    "they are back, and with instances that join.": (
        "NAME 是部署或实例。有多个实例时，每行以实例名开头。离线工作节点的日志会被跳过并给出提示；"
        "使用 -f 时，节点恢复后会继续显示其日志，新加入的实例也会显示。"
    ),
    "Go on with what comes, until Ctrl-C.": "持续显示新内容，直到按 Ctrl-C。",
    "The run before this one: why it ended.": "上一次运行的日志：它为何结束。",
    "The N-th run on its worker.": "在其工作节点上的第 N 次运行。",
    "Begin with so many lines, at most.": "最多从这么多行开始。",
    "Only lines with this text.": "只显示包含此文本的行。",
    "Only this instance of the deployment.": "只看部署中的此实例。",
    "The process on this worker, of an instance on several.": "跨节点实例在此工作节点上的进程。",
    # ls, ps
    "List deployments: what is to be served, and how much of it is ready.": (
        "列出部署：要提供哪些模型，已有多少就绪。"
    ),
    "List instances: every running copy, where it runs and how it does.": (
        "列出实例：每个运行中的副本、所在位置与状态。"
    ),
    # quickstart
    "Bring up everything with a small real model, ask it something, and keep serving.": (
        "用一个真实的小模型启动全部组件，提一个问题，并持续提供服务。"
    ),
    "Takes the flags of `start`; ports that are not given are chosen, from 8080 for the server. "
    "What is there from an earlier run is used again. Ctrl-C stops everything.": (
        "接受 `start` 的参数；未给出的端口自动选择，服务器从 8080 开始。以前运行留下的内容会再次使用。"
        "Ctrl-C 停止全部组件。"
    ),
    "What to ask the model.": "向模型提出的问题。",
    # reset-admin-password
    "Give an administrator who cannot sign in a new password.": "为无法登录的管理员设置新密码。",
    "Give an administrator who cannot sign in a new password, which must be changed then.": (
        "为无法登录的管理员设置新密码，登录后必须修改。"
    ),
    "On the server's machine its data directory is enough, found as `start` finds it: a running "
    "server is asked, and of one that does not run the database is opened. All sessions of the user "
    "end. Elsewhere give --server-url and --api-key.": (
        "在服务器所在机器上只需其数据目录，查找方式与 `start` 相同：服务器正在运行时由其修改，未运行时打开"
        "其数据库。该用户的所有会话都会结束。在其他机器上请给出 --server-url 和 --api-key。"
    ),
    "A server that can be asked to do it.": "可以完成此操作的服务器。",
    "API key of an administrator.": "管理员的 API 密钥。",
    "Whose password.": "谁的密码。",
    "The server's data directory, on this machine.": "服务器在本机的数据目录。",
    "The server's database, if not the default.": "服务器的数据库（非默认时）。",
    "The server's YAML file.": "服务器的 YAML 文件。",
    # rm, scale, start
    "Remove deployments, with all their instances; model files stay.": (
        "删除部署及其全部实例；模型文件保留。"
    ),
    "Change how many instances of a deployment run; 0 stops it.": "修改部署的实例数；0 表示停止。",
    "Run a server with its gateway and worker, or with --server-url a worker.": (
        "运行服务器及其网关和工作节点；给出 --server-url 时只运行工作节点。"
    ),
    "Every flag can also be an environment variable (GPUSTACK_ and the name in capitals; HF_TOKEN "
    "and HF_ENDPOINT have their usual names) or a key of the file that --config-file names. Ctrl-C "
    "stops everything in order, inference backends too; a second Ctrl-C stops at once.": (
        "每个参数也可以用环境变量（GPUSTACK_ 加大写名称；HF_TOKEN 和 HF_ENDPOINT 沿用通常的名称）或 "
        "--config-file 所指文件中的键给出。Ctrl-C 依次停止全部组件，包括推理后端；再按一次立即停止。"
    ),
    # users
    "List, make and remove users, and set their passwords.": "列出、创建和删除用户，设置其密码。",
    "List, make and remove users, and set their passwords. Without a subcommand: list.": (
        "列出、创建和删除用户，设置其密码。不带子命令时列出。"
    ),
    "List users.": "列出用户。",
    "Make a user. Without --password-stdin the server makes a password, printed this once.": (
        "创建用户。不加 --password-stdin 时由服务器生成密码，只显示一次。"
    ),
    "A password that the server made must be changed at the first sign-in.": (
        "服务器生成的密码在首次登录时必须修改。"
    ),
    "May manage everything.": "可以管理一切。",
    "Name to show.": "显示名称。",
    "Give a user another password, made by the server unless --password-stdin.": (
        "为用户设置新密码；不加 --password-stdin 时由服务器生成。"
    ),
    "Every session of the user ends, and the password must be changed at the next sign-in.": (
        "该用户的所有会话都会结束，且下次登录时必须修改密码。"
    ),
    "Remove users, with their keys and sessions.": "删除用户及其密钥和会话。",
    # version, wait, why
    "Show the version of this program, of Python and of the platform.": (
        "显示本程序、Python 和平台的版本。"
    ),
    "Wait until a deployment is ready, or gone.": "等待部署就绪或消失。",
    "Ends with 0 when it is so, 6 when no worker can take it, 7 when time runs out (the work goes "
    "on), 9 when it failed.": (
        "达成时退出码为 0；没有工作节点可以运行时为 6；超时为 7（后台仍在继续）；失败为 9。"
    ),
    "What to wait for.": "等待的状态。",
    "Say why a deployment or instance is as it is: reason, proof, numbers of each worker, fixes.": (
        "说明部署或实例为何处于当前状态：原因、证据、各节点的数字和处理建议。"
    ),
    "NAME is a deployment or an instance; of a deployment, the instance in most trouble is "
    "explained.": "NAME 是部署或实例；对于部署，解释问题最严重的实例。",
    # workers
    "List and tend workers: cordon, uncordon, label, remove.": (
        "列出和管理工作节点：停止调度、恢复调度、打标签、删除。"
    ),
    "List and tend workers: cordon, uncordon, label, remove. Without a subcommand: list.": (
        "列出和管理工作节点：停止调度、恢复调度、打标签、删除。不带子命令时列出。"
    ),
    "List workers with what they have.": "列出工作节点及其资源。",
    "Give a worker no new instances; what runs goes on.": "停止向工作节点调度新实例；已运行的继续。",
    "Give a worker new instances again.": "恢复向工作节点调度新实例。",
    "Set labels of a worker, or take them away: `zone=a`, `old-`.": (
        "设置或移除工作节点的标签：`zone=a`、`old-`。"
    ),
    "Forget workers that will not come back; their instances are placed elsewhere.": (
        "删除不会再回来的工作节点；其实例会调度到其他节点。"
    ),
    "Also one that is connected and ready.": "即使该节点已连接且就绪。",
}
