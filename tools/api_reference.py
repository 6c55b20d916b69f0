"""Writes docs/reference/api.md and its 简体中文 twin from the committed OpenAPI snapshot and the
gateway's path list.

Run `python tools/api_reference.py` after a change of either; a test compares.
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "docs/reference/openapi.json"
WRITTEN = frozenset({"ModelRef", "GpuSelector", "NewApiKey", "NewUser"})
TARGETS = {"en": ROOT / "docs/reference/api.md", "zh": ROOT / "docs/zh/reference/api.md"}

ENGLISH = """# API reference

Generated from [openapi.json](openapi.json), which is generated from the declarations of the kinds.

## Inference

The gateway answers these itself or relays them byte for byte to a ready instance; `/v1-openai/…`
is the same as `/v1/…`. Errors use OpenAI's envelope, with `code` and with `source` (gateway,
worker, backend).

| path | what |
|---|---|
| `GET /v1/models`, `GET /v1/models/{id}` | the routes that the key may use |
| `POST /v1/chat/completions`, `/v1/completions`, `/v1/responses` | text, streamed or not |
| `POST /v1/embeddings`, `/v1/rerank`, `/v1/score` | for models that can |
| `POST /v1/images/generations`, `/v1/images/edits` | for models that can |
| `POST /v1/audio/speech`, `/v1/audio/transcriptions`, `…/translations` | for models that can |
| `POST /v1/messages`, `/v1/messages/count_tokens` | for backends that speak Anthropic's |

`GET /healthz`, `/readyz` and `/version` need no credential.

## Credentials

One of: `Authorization: Bearer KEY`, `x-api-key: KEY`, or the session cookie of `POST
/api/v1/auth/login`. Two at once are refused. Requests from the server's own machine without a
credential act as admin until `--force-auth-localhost` is set.

## Management

Objects are `{"kind", "metadata", "spec", "status"}`. Replaces carry `metadata.revision` and answer
409 when it is stale; `PATCH` is a merge patch (RFC 7396); lists take `page`, `per_page`, `search`,
`label` and `sort`. Errors are problems (RFC 9457) with a stable `code`: see
[troubleshooting](../troubleshooting.md). `GET /api/v1/watch?kinds=deployments,instances` is a
stream of server-sent events: without `since` every object first, then each change once and in
order; `BOOKMARK` tells the revision to resume from, `RESYNC` asks for a new list.
"""


CHINESE = """# API 参考

本页由 [openapi.json](../../reference/openapi.json) 生成，后者由各类型的声明生成。

## 推理

这些请求由网关直接回答，或逐字节转发给就绪的模型实例；`/v1-openai/…` 与 `/v1/…` 相同。错误采用
OpenAI的格式，带有 `code` 和 `source`（gateway、worker、backend，表示由网关、工作节点还是推理后
端给出）。

| 路径 | 说明 |
|---|---|
| `GET /v1/models`、`GET /v1/models/{id}` | 密钥可以使用的路由 |
| `POST /v1/chat/completions`、`/v1/completions`、`/v1/responses` | 文本，流式或非流式 |
| `POST /v1/embeddings`、`/v1/rerank`、`/v1/score` | 适用于支持的模型 |
| `POST /v1/images/generations`、`/v1/images/edits` | 适用于支持的模型 |
| `POST /v1/audio/speech`、`/v1/audio/transcriptions`、`…/translations` | 适用于支持的模型 |
| `POST /v1/messages`、`/v1/messages/count_tokens` | 适用于支持 Anthropic 接口的后端 |

`GET /healthz`、`/readyz` 和 `/version` 不需要凭据。

## 凭据

任选其一：`Authorization: Bearer KEY`、`x-api-key: KEY`，或 `POST /api/v1/auth/login` 得到的会话
cookie。同时给出两个会被拒绝。未设置 `--force-auth-localhost` 时，来自服务器本机且不带凭据的请求
以管理员身份执行。

## 管理

对象的形式为 `{"kind", "metadata", "spec", "status"}`。替换须带上 `metadata.revision`，已过时则
返回 409；`PATCH` 是合并补丁（RFC 7396）；列表接受 `page`、`per_page`、`search`、`label` 和
`sort`。错误是带有稳定 `code` 的问题文档（RFC 9457）：见[问题排查](../troubleshooting.md)。
`GET /api/v1/watch?kinds=deployments,instances` 是服务器发送事件流：不带 `since` 时先发送每个对
象，之后每次变更按顺序只发送一次；`BOOKMARK` 给出可以继续的修订号，`RESYNC` 要求重新获取列表。
"""

WORDS = {
    "en": {
        "intro": ENGLISH, "paths": "### Paths", "objects": "### Objects",
        "path_head": "| method | path | what |", "field_head": "| field | type | default |",
        "required": "required", "or": "{} or {}", "list": "list of {}",
    },
    "zh": {
        "intro": CHINESE, "paths": "### 路径", "objects": "### 对象",
        "path_head": "| 方法 | 路径 | 说明 |", "field_head": "| 字段 | 类型 | 默认值 |",
        "required": "必填", "or": "{} 或 {}", "list": "{} 的列表",
    },
}  # fmt: skip
VERBS = {
    "List": "列出", "Get": "读取", "Create": "创建", "Replace": "替换", "Patch": "修改",
    "Delete": "删除",
}  # fmt: skip
KINDS = {
    "deployment": "部署", "instance": "实例", "worker": "工作节点", "model file": "模型文件",
    "estimate": "估算", "route": "路由", "user": "用户", "api key": "API 密钥",
}  # fmt: skip
SUMMARIES = {
    "Change one's own password": "修改自己的密码",
    "Create a user": "创建用户",
    "Create an API key": "创建 API 密钥",
    "End the session": "结束会话",
    "Follow changes of many kinds": "跟踪多种类型的变更",
    "Follow everything the worker must run and hold": "跟踪工作节点应运行和保有的全部内容",
    "Give a user another password": "为用户设置新密码",
    "Join as a worker": "作为工作节点加入",
    "Read an instance's log": "读取实例的日志",
    "Sign in with a password": "用密码登录",
    "Tell everything the worker sees": "报告工作节点观测到的全部内容",
    "What happened, newest first": "发生了什么，最新的在前",
    "Whether it can be used": "是否可以使用",
    "Whether the process answers": "进程是否响应",
    "Which version it is": "版本信息",
    "Who did what, newest first": "谁做了什么，最新的在前",
    "Who the server takes the caller for": "服务器认定的调用者身份",
    "Why an instance is where it is": "实例为何在其所在位置",
    "Would it fit, where, and why not elsewhere": "能否运行、在哪里、为什么不是其他节点",
}


def page(document: dict[str, Any], language: str = "en") -> str:
    """The whole page; a summary that has no translation yet stays as it is."""
    words = WORDS[language]
    lines = [words["intro"], words["paths"], "", words["path_head"], "|---|---|---|"]
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            if method in {"get", "post", "put", "patch", "delete"}:
                summary = " ".join((operation.get("summary") or "").split())
                told = summary if language == "en" else chinese(summary)
                lines.append(f"| {method.upper()} | `{path}` | {told} |")
    lines += ["", words["objects"], ""]
    schemas = document["components"]["schemas"]
    for name in sorted(schemas):
        shown = name.endswith("Spec") or name in WRITTEN
        if shown and "properties" in schemas[name]:
            # What one may send has defaults; what comes back always has every field.
            lines += _fields(name, schemas.get(f"{name}Input", schemas[name]), words)
    return "\n".join(lines).rstrip() + "\n"


def chinese(summary: str) -> str:
    """The translation of an operation's summary: its own, or made of a verb and a kind."""
    verb, _, kind = summary.partition(" ")
    word = KINDS.get(kind.removesuffix("s"))
    if verb in VERBS and word is not None:
        return VERBS[verb] + (f" {word}" if word[0].isascii() else word)
    return SUMMARIES.get(summary, summary)


def _fields(name: str, schema: dict[str, Any], words: dict[str, str]) -> list[str]:
    lines = [f"#### {name}", "", words["field_head"], "|---|---|---|"]
    required = set(schema.get("required", ()))
    for field, about in schema["properties"].items():
        default = words["required"] if field in required else json.dumps(about.get("default"))
        lines.append(f"| `{field}` | {_type(about, words)} | {default} |")
    return [*lines, ""]


def _type(about: dict[str, Any], words: dict[str, str]) -> str:
    if "$ref" in about:
        return str(about["$ref"]).rsplit("/", 1)[-1].removesuffix("Input")
    if "anyOf" in about:
        told = [_type(choice, words) for choice in about["anyOf"]]
        return functools.reduce(words["or"].format, told)
    if about.get("type") == "array":
        return words["list"].format(_type(about.get("items", {}), words))
    if "enum" in about:
        return ", ".join(str(value) for value in about["enum"])
    return str(about.get("type", "any"))


def main() -> int:
    """Write the pages."""
    document = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    for language, target in TARGETS.items():
        target.write_text(page(document, language), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
