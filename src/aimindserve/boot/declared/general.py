"""Settings that every process of a machine shares."""

from dataclasses import dataclass
from pathlib import Path

from aimindserve.boot.declared._setting import Form, Setting, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class General:
    """Where things are kept, the cluster's token, how much is logged."""

    config_file: Path | None = Setting(
        Form.PATH,
        "YAML file with settings.",
        "YAML 配置文件的路径。",
        computed="none",
        no_file=True,
    ).field()
    debug: bool = Setting(
        Form.SWITCH,
        "Log in detail.",
        "输出详细日志。",
        short="d",
    ).field(default=False)
    data_dir: Path = Setting(
        Form.PATH,
        "Directory of everything this machine keeps: secrets, database, caches, logs.",
        "本机保存全部数据(密钥、数据库、缓存、日志)的目录。",
        computed="`/var/lib/aimindserve` for root on Linux, else where the user's data is kept",
        example="/path/to/data_dir",
    ).field()
    cache_dir: Path = Setting(
        Form.PATH,
        "Directory of fetched model files.",
        "存放已下载模型文件的目录。",
        computed="`<data-dir>/cache`",
        example="/path/to/cache_dir",
    ).field()
    bin_dir: Path = Setting(
        Form.PATH,
        "Directory of further versions of inference backends.",
        "存放其他版本推理后端的目录。",
        computed="`<data-dir>/bin`",
        stage=Stage.LATER,
        example="/path/to/bin_dir",
    ).field()
    pipx_path: Path | None = Setting(
        Form.PATH,
        "The pipx program that installs versioned backends.",
        "用于安装指定版本后端的 pipx 程序路径。",
        computed="found on PATH",
        stage=Stage.LATER,
        example="/usr/local/bin/pipx",
    ).field()
    token: str | None = Setting(
        Form.TEXT,
        "Shared secret with which workers join the cluster; needed on a worker.",
        "工作节点加入集群所用的共享密钥;工作节点必须提供。",
        short="t",
        computed="made at the first start and kept in `<data-dir>/token`",
        secret=True,
        example="mytoken",
    ).field()
    huggingface_token: str | None = Setting(
        Form.TEXT,
        "Access token of the Hugging Face Hub, for gated and private models.",
        "Hugging Face Hub 的访问令牌,用于受限或私有模型。",
        env="HF_TOKEN",
        computed="none",
        secret=True,
        stage=Stage.LATER_WARNS,
        example="hf_mytoken",
    ).field()
    hf_endpoint: str | None = Setting(
        Form.URL,
        "Address of the Hugging Face Hub or of a mirror of it.",
        "Hugging Face Hub 或其镜像站的地址。",
        env="HF_ENDPOINT",
        computed="the public hub",
        stage=Stage.LATER_WARNS,
        example="https://hf-mirror.example.com",
    ).field()
    ollama_library_base_url: str = Setting(
        Form.URL,
        "Base URL of the Ollama library.",
        "Ollama 模型库的基础 URL。",
        stage=Stage.LATER_WARNS,
        example="https://registry.mycompany.com",
    ).field("https://registry.ollama.ai")
