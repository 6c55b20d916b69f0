"""Writing to a terminal: whatever comes from elsewhere must not steer it, and it may go away."""

import re
import sys

_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f]"
)


def visible(text: str) -> str:
    """Text of an engine or a model without control sequences: those would steer the terminal."""
    return _CONTROL.sub("", text)


def tell(line: str) -> None:
    """One line to whoever watches; a terminal that has gone must not end the server."""
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except OSError:
        return
