"""What a model's templates and pooling files say it can do.

Templates are programs; here they are text in which words are looked for, and nothing is rendered.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from aimindserve.core.errors import FormatError
from aimindserve.formats.model_directory import Directory

_TOOLS = re.compile(r"\btools\b")


@dataclass(frozen=True, slots=True)
class Chat:
    """What is known of a model's chat template."""

    there: bool = False
    tools: bool = False


@dataclass(frozen=True, slots=True)
class Sentences:
    """What sentence-transformers' files say (`modules.json` and what it names)."""

    there: bool = False
    pooling: str = ""
    """mean, cls, last, max; empty: not told."""
    ranks: bool = False
    """It is a cross-encoder."""
    length_max: int = 0
    """Longer texts are cut, whatever the model was trained for."""


def read_chat(files: Directory) -> Chat:
    """From `chat_template.jinja`, `chat_template.json` or `tokenizer_config.json`: the first that
    has one, in the order in which transformers looks."""
    loose = files.text("chat_template.jinja")
    if loose is not None:
        return _judge(loose.decode("utf-8", "replace"))
    for name in ("chat_template.json", "tokenizer_config.json"):
        keys = files.keys(name)
        value = keys.values.get("chat_template") if keys else None
        if value is not None:
            return _value(value, name)
    return Chat()


def _value(value: object, name: str) -> Chat:
    if isinstance(value, str):
        return _judge(value)
    if isinstance(value, list):
        entries = [_entry(entry, name) for entry in cast("list[object]", value)]
        found = [_judge(text) for _, text in entries]
        named = any(title == "tool_use" for title, _ in entries)
        return Chat(bool(found), named or any(chat.tools for chat in found))
    raise FormatError(f"chat_template in {name} should be text or a list of named texts")


def _entry(value: object, name: str) -> tuple[str, str]:
    pair = cast("Mapping[str, object]", value if isinstance(value, dict) else {})
    title, text = pair.get("name"), pair.get("template")
    if not isinstance(title, str) or not isinstance(text, str):
        raise FormatError(f"chat_template in {name} has an entry without name and template")
    return title, text


def _judge(text: str) -> Chat:
    return Chat(bool(text.strip()), _TOOLS.search(text) is not None)


_POOLING: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": "max",
}
_WORDS: Mapping[str, str] = {"lasttoken": "last", "last": "last", "mean": "mean", "cls": "cls"}


def read_sentences(files: Directory) -> Sentences:
    """From `modules.json`, the pooling it names, and `sentence_bert_config.json`."""
    modules = files.objects("modules.json")
    length = 0
    for name in ("sentence_bert_config.json", "sentence_roberta_config.json"):
        keys = files.keys(name)
        length = length or (keys.count("max_seq_length") if keys else 0)
    if not modules:
        return Sentences(length_max=length)
    types = [str(module.get("type", ""))[:200] for module in modules]
    ranks = any("LogitScore" in kind or "CrossEncoder" in kind for kind in types)
    pooling = ""
    for module, kind in zip(modules, types, strict=True):
        path = module.get("path")
        if "Pooling" in kind and isinstance(path, str):
            pooling = _pooling(files, f"{path[:200]}/config.json")
    return Sentences(True, pooling, ranks, length)


def _pooling(files: Directory, name: str) -> str:
    keys = files.keys(name)
    if keys is None:
        return ""
    word = keys.values.get("pooling_mode")
    if isinstance(word, str):
        return _WORDS.get(word, "")
    return next((mode for key, mode in _POOLING.items() if keys.flag(key)), "")
