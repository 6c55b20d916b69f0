"""Settings of a worker, embedded or on a machine of its own."""

from dataclasses import dataclass
from pathlib import Path

from aimindserve.boot.declared._setting import Form, Setting, Stage
from aimindserve.core.device import Reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """How this machine joins, which ports it uses, and what it keeps for itself."""

    server_url: str | None = Setting(
        Form.URL,
        "Server to join; with it this machine is a worker and runs no server.",
        "要加入的服务器;提供后本机仅作为工作节点,不运行服务器。",
        short="s",
        computed="none",
        example="http://your_aimindserve_server_url",
    ).field()
    worker_name: str | None = Setting(
        Form.NAME,
        "Name of this worker; a name given here is never changed when another worker has it.",
        "本工作节点的名称;显式指定的名称与其他节点冲突时不会被自动改名。",
        computed="the host name",
        example="myworker",
    ).field()
    worker_ip: str | None = Setting(
        Form.ADDRESS,
        "Address under which the server reaches this worker.",
        "服务器访问本工作节点所用的地址。",
        computed="found by looking",
        example="192.168.1.101",
    ).field()
    worker_port: int = Setting(
        Form.PORT,
        "Port of the worker; use the same on all workers.",
        "工作节点的端口;所有工作节点应使用相同的值。",
    ).field(10150)
    service_port_range: tuple[int, int] = Setting(
        Form.PORT_RANGE,
        "Ports of inference backends, both ends included.",
        "推理后端使用的端口范围,含两端。",
    ).field((40000, 40063))
    rpc_server_port_range: tuple[int, int] = Setting(
        Form.PORT_RANGE,
        "Ports on loopback behind which RPC servers of other workers are reached, both ends "
        "included.",
        "本机回环地址上用于访问其他节点 RPC 服务器的端口范围,含两端。",
    ).field((40064, 40095))
    disable_metrics: bool = Setting(
        Form.SWITCH,
        "Do not offer metrics.",
        "不提供指标。",
    ).field(default=False)
    metrics_port: int = Setting(
        Form.PORT,
        "Port of the worker's metrics.",
        "工作节点指标的端口。",
    ).field(10151)
    disable_rpc_servers: bool = Setting(
        Form.SWITCH,
        "Run no RPC servers and use none: no model over this worker and others with llama.cpp.",
        "不运行也不使用 RPC 服务器:本节点不参与 llama.cpp 的跨节点模型。",
    ).field(default=False)
    rpc_server_args: tuple[str, ...] = Setting(
        Form.WORDS,
        "Arguments for RPC servers; write `--rpc-server-args=--verbose`, as often as needed.",
        "传给 RPC 服务器的参数;写作 `--rpc-server-args=--verbose`,可多次使用。",
        stage=Stage.LATER_WARNS,
        example='["--verbose"]',
    ).field(())
    log_dir: Path = Setting(
        Form.PATH,
        "Directory of logs.",
        "存放日志的目录。",
        computed="`<data-dir>/log`",
        example="/path/to/log_dir",
    ).field()
    system_reserved: Reserved = Setting(
        Form.RESERVED,
        "Memory kept for the system, in GiB: `ram` once, `vram` on each device. "
        "The older keys `memory` and `gpu_memory` are understood.",
        "为系统保留的内存,单位 GiB:`ram` 每节点一份,`vram` 每设备一份。"
        "兼容旧键 `memory` 与 `gpu_memory`。",
    ).field(Reserved())
    backend_paths: tuple[str, ...] = Setting(
        Form.ITEMS,
        "Where inference backends are installed: `NAME=PATH`, the path of a Python environment, "
        "its interpreter, or the directory of MindIE or of llama.cpp's programs (`llama.cpp-rpc`). "
        "What is below `<data-dir>/backends` is found without it.",
        "推理后端的安装位置:`NAME=PATH`,可为 Python 环境、其解释器、MindIE 目录或 llama.cpp "
        "程序目录(`llama.cpp-rpc`)。`<data-dir>/backends` 下的安装会自动发现。",
        example='["vllm=/opt/vllm"]',
    ).field(())
    tools_download_base_url: str | None = Setting(
        Form.URL,
        "Where tools are fetched from.",
        "下载依赖工具的基础 URL。",
        computed="found by looking",
        stage=Stage.LATER_WARNS,
        example="https://mirror.mycompany.com",
    ).field()
    enable_hf_transfer: bool = Setting(
        Form.SWITCH,
        "Fetch from the Hugging Face Hub with hf_transfer.",
        "使用 hf_transfer 从 Hugging Face Hub 下载。",
        stage=Stage.LATER_WARNS,
    ).field(default=False)
    enable_hf_xet: bool = Setting(
        Form.SWITCH,
        "Fetch from the Hugging Face Hub with hf_xet.",
        "使用 hf_xet 从 Hugging Face Hub 下载。",
        stage=Stage.LATER_WARNS,
    ).field(default=False)
    resources: str | None = Setting(
        Form.HARDWARE,
        "This machine's hardware written down by hand, instead of looking for it.",
        "手工声明的本机硬件,替代自动检测。",
        computed="found by looking",
        stage=Stage.LATER_WARNS,
        file_only=True,
        example="{memory: {total: 34359738368, is_unified_memory: false}}",
    ).field()
