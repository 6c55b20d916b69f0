"""What browsers get: the built console, or a small page that says where everything is.

Files are found in a dictionary made at the start, so that no request can name a path.
"""

import base64
import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import Receive, Scope, Send

RESERVED = (
    "api",
    "v1",
    "v1-openai",
    "docs",
    "redoc",
    "openapi.json",
    "healthz",
    "readyz",
    "version",
)
"""First words of paths that are never the console's."""

STYLE = """
:root { color-scheme: light dark; font: 16px/1.6 system-ui, sans-serif }
body { max-width: 46rem; margin: 3rem auto; padding: 0 1.2rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2rem }
code, pre { font: 0.92em ui-monospace, monospace }
pre { padding: .7rem 1rem; border: 1px solid #8886; border-radius: .4rem; overflow-x: auto }
table { border-collapse: collapse; display: block; overflow-x: auto }
p code { overflow-wrap: anywhere }
td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0 }
.method { font-weight: 600; white-space: nowrap } .dim { opacity: .7 }
section { border-top: 1px solid #8884; padding: .4rem 0 }
"""

_BODY = """
<main lang="en">
<h1>aiMindServe is running</h1>
<p>This server answers the management API and the OpenAI-compatible API. This build carries no web
console; everything can be done from the command line.</p>
<h2>Sign in</h2>
<pre>aimindserve login http://THIS-HOST
aimindserve ls</pre>
<p>The first user is <code>admin</code>. If no password was given at the first start, one is in the
file <code>initial_admin_password</code> in the server's data directory; it must be replaced at the
first sign-in, and the command asks for another. Programs sign in with
<code>POST /api/v1/auth/login</code> and replace it with
<code>POST /api/v1/auth/password</code>.</p>
<h2>Where things are</h2>
<p><code>/api/v1</code>: the management API.<br>
<a href="/docs">/docs</a>, <code>/openapi.json</code>: its description. A browser may read it on the
server's own machine; from elsewhere an API key is needed
(<code>curl -H "Authorization: Bearer KEY"</code>).<br>
<code>/v1</code>: the base address for OpenAI clients.<br>
<a href="/healthz">/healthz</a>, <a href="/version">/version</a>: for monitoring.</p>
</main>
<main lang="zh-CN">
<h1>aiMindServe 正在运行</h1>
<p>本服务器提供管理 API 与兼容 OpenAI 的
API。当前构建不含 Web 控制台，所有操作都可以通过命令行完成。</p>
<h2>登录</h2>
<pre>aimindserve login http://本机地址
aimindserve ls</pre>
<p>首个用户是 <code>admin</code>。若首次启动时没有指定密码，密码保存在服务器数据目录的
<code>initial_admin_password</code> 文件中；首次登录时必须修改，命令会询问新密码。程序可以用
<code>POST /api/v1/auth/login</code> 登录，并用
<code>POST /api/v1/auth/password</code> 修改密码。</p>
<h2>入口</h2>
<p><code>/api/v1</code>：管理 API。<br>
<a href="/docs">/docs</a>、<code>/openapi.json</code>：管理 API 文档。在服务器本机可以直接
用浏览器查看，在其他机器上需要 API 密钥（<code>curl -H "Authorization: Bearer KEY"</code>）。<br>
<code>/v1</code>：供 OpenAI 客户端使用的地址。<br>
<a href="/healthz">/healthz</a>、<a href="/version">/version</a>：用于监控。</p>
</main>
"""


class Site:
    """The public pages, as an ASGI application."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._landing = page("aiMindServe", _BODY)

    def serves(self, method: str, path: str) -> bool:
        """Whether `path` is a page or file of ours."""
        if method not in {"GET", "HEAD"}:
            return False
        if not self._files:
            return path == "/"
        first = path.split("/", 2)[1]
        return path in self._files or (first not in RESERVED and "." not in path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or the console's page for its own addresses."""
        response = self._response(Request(scope))
        await response(scope, receive, send)

    def _response(self, request: Request) -> Response:
        if not self._files:
            return html(self._landing, cache="no-cache")
        path = request.scope["path"]
        file = self._files.get(path, self._files["/index.html"])
        is_page = file.suffix == ".html"
        headers = {
            "cache-control": "no-cache" if is_page else "public, max-age=31536000, immutable"
        }
        if is_page:
            headers["content-security-policy"] = CSP_CONSOLE
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return FileResponse(file, headers=headers, media_type=kind)

    @cached_property
    def _files(self) -> Mapping[str, Path]:
        root = self._directory
        if root is None or not (root / "index.html").is_file():
            return {}
        found = {
            f"/{path.relative_to(root).as_posix()}": path
            for path in sorted(root.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        return {**found, "/": root / "index.html"}


def page(title: str, body: str) -> str:
    """A whole page without any script; `body` must be safe HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )


def html(text: str, *, cache: str = "no-store") -> Response:
    """A page made by `page`."""
    headers = {"content-security-policy": CSP_PAGE, "cache-control": cache}
    return HTMLResponse(text, headers=headers)


def _style_hash() -> str:
    digest = hashlib.sha256(STYLE.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


CSP_PAGE = (
    f"default-src 'none'; style-src {_style_hash()}; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
CSP_CONSOLE = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "frame-ancestors 'none'"
)
