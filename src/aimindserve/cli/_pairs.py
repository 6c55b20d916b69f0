"""`NAME=VALUE` options. Pure."""

from collections.abc import Sequence

from aimindserve.cli._words import words
from aimindserve.core.errors import InvalidError


def pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Several `NAME=VALUE` as a mapping. Raises InvalidError for one without a name or `=`."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise InvalidError(
                words("{option} {text!r} is not NAME=VALUE.", option=option, text=text)
            )
        found[name.strip()] = value
    return found
