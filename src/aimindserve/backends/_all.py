"""All backends by name: the folder read as a registry, and the choice among them."""

from collections.abc import Mapping
from functools import cache
from typing import cast

from aimindserve.backends.base import Backend
from aimindserve.core.facts import ModelFacts, Options
from aimindserve.core.reason import Reason
from aimindserve.kit.registry import load_plugins

GROUP = "aimindserve.backends"
_PREFERRED = {"gguf": ("llama.cpp",)}
"""Format -> backends that are taken when the user names none. Others must be named."""
_MEMBERS = ("name", "aliases", "title", "serves", "shapes", "launch", "probe")


@cache
def backends() -> Mapping[str, Backend]:
    """Every backend by its name; aliases are not keys, `find` knows them."""
    found = load_plugins(
        __package__ or "",
        lambda plugin: all(hasattr(plugin, member) for member in _MEMBERS),
        group=GROUP,
    )
    return cast("Mapping[str, Backend]", found)


def find(name: str) -> Backend | Reason:
    """The backend called `name`, by its name or an alias."""
    known = backends()
    if name in known:
        return known[name]
    for backend in known.values():
        if name in backend.aliases:
            return backend
    return Reason("backend_unknown", {"backend": name, "known": ", ".join(known)})


def choose(
    facts: ModelFacts, wanted: str | None, options: Options | None = None
) -> Backend | Reason:
    """The backend to run a model with: the `wanted` one, or the preferred one for its format.

    The reason is why the wanted one cannot serve the model so, or that none can.
    """
    options = options or Options()
    if wanted:
        backend = find(wanted)
        if isinstance(backend, Reason):
            return backend
        return backend.serves(facts, options) or backend
    refused: Reason | None = None
    for name in _PREFERRED.get(facts.format, ()):
        backend = backends()[name]
        refused = backend.serves(facts, options)
        if refused is None:
            return backend
    detail = f"no backend here reads {facts.format} files"
    return refused or Reason("backend_unfit", {"backend": "This version", "detail": detail})
