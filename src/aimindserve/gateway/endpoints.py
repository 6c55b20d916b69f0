"""The inference paths: what each takes and which models can serve it."""

from dataclasses import dataclass
from enum import Enum

from aimindserve.core.facts import Category

OLDER_PREFIX = "/v1-openai/"
"""For clients made for it; the same paths as `/v1/`."""


class BodyKind(Enum):
    """How a request says which model it wants."""

    JSON = "json"
    MULTIPART = "multipart"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One inference path."""

    path: str
    purpose: str
    """Completes: this model cannot …"""
    categories: frozenset[str]
    body: BodyKind = BodyKind.JSON
    line: bytes = b""
    """The request line towards a worker."""


def _endpoint(
    path: str, purpose: str, *categories: Category, body: BodyKind = BodyKind.JSON
) -> Endpoint:
    return Endpoint(
        path,
        purpose,
        frozenset(category.value for category in categories),
        body,
        b"POST %b HTTP/1.1\r\n" % path.encode(),
    )


_ALL = (
    _endpoint("/v1/chat/completions", "chat", Category.LLM),
    _endpoint("/v1/completions", "complete text", Category.LLM),
    _endpoint("/v1/responses", "answer as responses", Category.LLM),
    _endpoint("/v1/messages", "chat", Category.LLM),
    _endpoint("/v1/messages/count_tokens", "count the tokens of a chat", Category.LLM),
    _endpoint("/v1/embeddings", "make embeddings", Category.EMBEDDING),
    _endpoint("/v1/rerank", "rerank documents", Category.RERANKER),
    _endpoint("/v1/score", "score texts", Category.RERANKER, Category.EMBEDDING),
    _endpoint("/v1/images/generations", "make images", Category.IMAGE),
    _endpoint("/v1/images/edits", "edit images", Category.IMAGE, body=BodyKind.MULTIPART),
    _endpoint("/v1/audio/speech", "speak", Category.TEXT_TO_SPEECH),
    _endpoint(
        "/v1/audio/transcriptions",
        "transcribe speech",
        Category.SPEECH_TO_TEXT,
        body=BodyKind.MULTIPART,
    ),
    _endpoint(
        "/v1/audio/translations",
        "translate speech",
        Category.SPEECH_TO_TEXT,
        body=BodyKind.MULTIPART,
    ),
)

ENDPOINTS: dict[str, Endpoint] = {
    prefix + endpoint.path.removeprefix("/v1/"): endpoint
    for endpoint in _ALL
    for prefix in ("/v1/", OLDER_PREFIX)
}
"""By path as clients write it, with either prefix."""

CAN: dict[str, str] = {
    Category.LLM.value: "chat and complete text",
    Category.EMBEDDING.value: "make embeddings",
    Category.RERANKER.value: "rerank documents",
    Category.IMAGE.value: "make images",
    Category.SPEECH_TO_TEXT.value: "transcribe speech",
    Category.TEXT_TO_SPEECH.value: "speak",
}
"""What models of a category can do, for error messages."""
