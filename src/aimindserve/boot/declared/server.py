"""Settings of the server: its door, its database, its first user, cross-origin rules."""

from dataclasses import dataclass
from pathlib import Path

from aimindserve.boot.declared._setting import Form, Setting, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What only a machine without `server_url` uses."""

    host: str = Setting(
        Form.ADDRESS,
        "Address the server listens on.",
        "服务器监听的地址。",
    ).field("0.0.0.0")  # noqa: S104 - the product is a network service; the documents promise it
    port: int = Setting(
        Form.PORT,
        "Port of management API and inference API.",
        "管理 API 与推理 API 的端口。",
        computed="80, or 443 with TLS",
        example="80",
    ).field()
    disable_worker: bool = Setting(
        Form.SWITCH,
        "Do not run a worker on the server's machine.",
        "不在服务器所在机器上运行内置工作节点。",
    ).field(default=False)
    gateway_processes: int = Setting(
        Form.COUNT,
        "How many processes share the port; each uses at most one core.",
        "共享同一端口的网关进程数;每个进程最多使用一个核心。",
        limit=(1, 64),
    ).field(1)
    database_url: str = Setting(
        Form.DATABASE_URL,
        "Database: `sqlite:///path`, `postgresql://user:password@host:port/name` or "
        "`mysql://user:password@host:port/name`.",
        "数据库:`sqlite:///路径`、`postgresql://用户:密码@主机:端口/库名` 或 "
        "`mysql://用户:密码@主机:端口/库名`。",
        computed="`sqlite:///<data-dir>/database.db`",
        secret=True,
        example="postgresql://user:password@hostname:5432/db_name",
    ).field()
    bootstrap_password: str | None = Setting(
        Form.TEXT,
        "Password of the first admin user.",
        "首个管理员用户的密码。",
        computed="made at the first start and kept in `<data-dir>/initial_admin_password`",
        secret=True,
        example="myadminpassword",
    ).field()
    ssl_keyfile: Path | None = Setting(
        Form.PATH,
        "Private key for TLS; needs `ssl_certfile` too.",
        "TLS 私钥文件;须与 `ssl_certfile` 同时提供。",
        computed="none",
        example="/path/to/keyfile",
    ).field()
    ssl_certfile: Path | None = Setting(
        Form.PATH,
        "Certificate chain for TLS; needs `ssl_keyfile` too.",
        "TLS 证书链文件;须与 `ssl_keyfile` 同时提供。",
        computed="none",
        example="/path/to/certfile",
    ).field()
    force_auth_localhost: bool = Setting(
        Form.SWITCH,
        "Ask requests from this machine for a credential too; they act as admin otherwise.",
        "对来自本机的请求也要求凭据;否则这些请求以管理员身份执行。",
    ).field(default=False)
    disable_update_check: bool = Setting(
        Form.SWITCH,
        "Do not look for newer versions.",
        "不检查新版本。",
        stage=Stage.LATER,
    ).field(default=False)
    update_check_url: str | None = Setting(
        Form.URL,
        "Where to look for newer versions.",
        "检查新版本所用的地址。",
        computed="none",
        stage=Stage.LATER,
        example="https://updates.mycompany.com",
    ).field()
    disable_openapi_docs: bool = Setting(
        Form.SWITCH,
        "Do not serve `/docs`, `/redoc` and `/openapi.json`.",
        "不提供 `/docs`、`/redoc` 和 `/openapi.json`。",
    ).field(default=False)
    model_catalog_file: str | None = Setting(
        Form.TEXT,
        "Path or URL of a model catalogue.",
        "模型目录文件的路径或 URL。",
        computed="the built-in one",
        stage=Stage.LATER_WARNS,
        example="/path_or_url/to/model_catalog_file",
    ).field()
    server_metrics_port: int = Setting(
        Form.PORT,
        "Port of the server's metrics.",
        "服务器指标的端口。",
    ).field(10161)
    jwt_secret_key: str | None = Setting(
        Form.TEXT,
        "Key that signed sessions of older systems; sessions are random and revocable here.",
        "旧系统用于签发会话的密钥;本系统的会话为随机且可撤销。",
        computed="none",
        secret=True,
        stage=Stage.LATER,
        file_only=True,
        example="mysecretkey",
    ).field()
    enable_cors: bool = Setting(
        Form.SWITCH,
        "Let web pages of other origins call this server.",
        "允许其他来源的网页调用本服务器(CORS)。",
        spellings=("--enable_cors",),
    ).field(default=False)
    allow_origins: tuple[str, ...] = Setting(
        Form.ITEMS,
        "Origins that may call, with `enable_cors`.",
        "启用 CORS 时允许的来源。",
    ).field(("*",))
    allow_credentials: bool = Setting(
        Form.SWITCH,
        "Let such calls carry cookies; not together with the origin `*`.",
        "允许跨源请求携带 cookie;不能与来源 `*` 同时使用。",
    ).field(default=False)
    allow_methods: tuple[str, ...] = Setting(
        Form.ITEMS,
        "Methods such calls may use.",
        "跨源请求允许的 HTTP 方法。",
    ).field(("GET", "POST"))
    allow_headers: tuple[str, ...] = Setting(
        Form.ITEMS,
        "Headers such calls may carry.",
        "跨源请求允许携带的 HTTP 请求头。",
    ).field(("Authorization", "Content-Type"))
