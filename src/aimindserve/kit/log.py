"""Structured logs: `get_logger(part)`, events named `noun.verb`, values as keyword arguments.

JSON lines in services, one readable line on a terminal. Values of keys that name a secret are
masked here, whoever logs them.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_SECRET_KEY = re.compile(
    r"(password|passwd|secret|token|credential|api_?key|authorization|cookie)", re.IGNORECASE
)
_SECRET_TEXT = re.compile(
    r"(sk-aims_[A-Za-z0-9]+_)[A-Za-z0-9_-]+|(Bearer\s+)[^\s\"']+", re.IGNORECASE
)
MASK = "********"


def get_logger(part: str) -> Any:
    """A logger that names its part of the program; cheap, may be made at import time."""
    return structlog.get_logger(part=part)


def configure(
    *, debug: bool = False, json_lines: bool = True, stream: TextIO | None = None
) -> None:
    """Set up logging of this process; called by composition roots only."""
    out = stream or sys.stderr
    renderer: Any = (
        structlog.processors.JSONRenderer(sort_keys=False)
        if json_lines
        # Plain: the default would print the local variables of every frame, secrets included.
        else structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_secrets,
    ]
    if json_lines:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if debug else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def mask_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor: no secret leaves the process through its log."""
    for key, value in event.items():
        if key != "event" and _SECRET_KEY.search(key) and value:
            event[key] = MASK
        elif isinstance(value, str):
            event[key] = mask_text(value)
    return event


def mask_text(text: str) -> str:
    """`text` with API keys and bearer credentials replaced by a mask."""
    return _SECRET_TEXT.sub(lambda found: f"{found.group(1) or found.group(2)}{MASK}", text)
