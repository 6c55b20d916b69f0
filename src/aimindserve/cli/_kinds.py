"""What people call the kinds. Pure."""

from difflib import get_close_matches

from aimindserve.cli._words import words
from aimindserve.client.objects import KINDS
from aimindserve.core.errors import InvalidError

_SHORT = {"keys": "api-key", "key": "api-key", "files": "model-file", "file": "model-file"}


def kind_of(text: str) -> str:
    """The kind meant by a singular, plural or short word. Raises InvalidError."""
    word = text.lower().replace("_", "-")
    if word in _SHORT:
        return _SHORT[word]
    for kind in KINDS.values():
        if word in {kind.name, kind.plural}:
            return kind.name
    known = [kind.plural for kind in KINDS.values()]
    near = get_close_matches(word, known, n=1)
    raise InvalidError(
        words("There is no kind called {text!r}.", text=text),
        hint=words("Did you mean {name}?", name=near[0])
        if near
        else words("There are: {names}.", names=", ".join(known)),
    )
