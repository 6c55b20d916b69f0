"""What kind of error it is, in 简体中文: said before a sentence that a server wrote in English.

Data alone; by the codes of `core.errors`. A test finds every code, and that each is translated.
"""

from collections.abc import Mapping

TITLES: Mapping[str, str] = {
    "body_invalid": "请求体无效",
    "coding_unsupported": "不支持的传输编码",
    "conflict": "冲突",
    "exists": "已存在",
    "expectation_failed": "无法满足期望",
    "fit_changed": "无法按预期放置",
    "forbidden": "没有权限",
    "format_invalid": "模型文件无效",
    "gone": "已不再保留",
    "head_too_large": "请求头过大",
    "internal": "内部错误",
    "invalid": "请求无效",
    "malformed": "请求格式错误",
    "method_not_allowed": "不允许的方法",
    "not_found": "未找到",
    "password_change_required": "必须修改密码",
    "request_timeout": "请求过慢",
    "settings": "设置无效",
    "stale": "读取后已被修改",
    "storage_full": "存储空间已满",
    "store_unavailable": "数据库不可用",
    "target_too_long": "路径过长",
    "throttled": "请求过多",
    "too_large": "过大",
    "unauthenticated": "未登录",
    "unavailable": "暂不可用",
    "unprocessable": "请求没有意义",
    "unsupported": "不支持",
    "unsupported_media_type": "不支持的媒体类型",
    "upstream": "上游回答有误",
    "version_unsupported": "不支持的 HTTP 版本",
}
