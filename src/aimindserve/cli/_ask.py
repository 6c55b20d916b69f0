"""How to ask a model that is ready: base URL, model id, a request ready to paste; and how to read
what it answers. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from aimindserve.cli._invocation import Invocation
from aimindserve.client.objects import Document

_BODIES = {
    "embedding": ("embeddings", {"input": "Hello!"}),
    "reranker": ("rerank", {"query": "fruit", "documents": ["an apple", "a bicycle"]}),
    "image": ("images/generations", {"prompt": "a lighthouse", "size": "512x512"}),
    "text_to_speech": ("audio/speech", {"input": "Hello!", "voice": "default"}),
}
_CHAT = ("chat/completions", {"messages": [{"role": "user", "content": "Hello!"}]})


def is_here(server_url: str) -> bool:
    """Whether that server runs on this machine, where no credential is needed."""
    return urlsplit(server_url).hostname in {"localhost", "127.0.0.1", "::1"}


def card(here: Invocation, server_url: str, model: str, categories: Sequence[str]) -> str:
    """What one needs to use `model`, as a few lines."""
    rows = [
        (here.text("base_url"), f"{server_url}/v1"),
        (here.text("model"), model),
        (here.text("ask_it"), curl(server_url, model, categories)),
    ]
    if not categories or "llm" in categories:
        rows.append((here.text("or_here"), f"aimindserve chat {model}"))
    return "\n".join(f"{label}: {text}" for label, text in rows)


def curl(server_url: str, model: str, categories: Sequence[str]) -> str:
    """A request to paste into a shell."""
    path, body = next((_BODIES[one] for one in categories if one in _BODIES), _CHAT)
    if "speech_to_text" in categories:
        return _line(server_url, "audio/transcriptions", f"-F model={model} -F file=@speech.wav")
    document = json.dumps({"model": model, **body})
    return _line(server_url, path, f"-H 'Content-Type: application/json' -d '{document}'")


def pieces(chunks: Iterator[Document]) -> Iterator[str]:
    """The text in the chunks of a streamed answer."""
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            delta: Mapping[str, Any] = choice.get("delta") or {}
            text = delta.get("content") or delta.get("reasoning_content")
            if text:
                yield str(text)


def _line(server_url: str, path: str, rest: str) -> str:
    key = "" if is_here(server_url) else '-H "Authorization: Bearer $GPUSTACK_API_KEY" '
    return f"curl {server_url}/v1/{path} {key}{rest}"
