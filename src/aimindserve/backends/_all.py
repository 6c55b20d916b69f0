"""All backends by name: the folder read as a registry, and the choice among them."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import cast

from aimindserve.backends._declared import apply_claims, read_claims, without_claims
from aimindserve.backends.base import Backend
from aimindserve.core.facts import Category, ModelFacts, Options
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.kit.registry import load_plugins

GROUP = "aimindserve.backends"
_PREFERRED = {"gguf": ("llama.cpp",), "safetensors": ("vllm",)}
_SPEECH = (Category.SPEECH_TO_TEXT, Category.TEXT_TO_SPEECH)
"""Format -> backends that are taken when the user names none. Others must be named."""
_MEMBERS = (
    "name",
    "aliases",
    "title",
    "starts_across",
    "serves",
    "shapes",
    "loads",
    "context",
    "lesser",
    "launch",
    "probe",
)


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
        return refuse(backend, facts, options) or backend
    refused: Reason | None = None
    for name in _preferred(facts):
        backend = backends()[name]
        reason = refuse(backend, facts, options)
        if reason is None:
            return backend
        refused = refused or reason
    detail = f"no backend here reads {facts.format} files"
    return refused or Reason("backend_unfit", {"backend": "This version", "detail": detail})


def _preferred(facts: ModelFacts) -> tuple[str, ...]:
    """Models of speech go to vox-box where it knows them."""
    first = ("vox-box",) if any(each in _SPEECH for each in facts.categories) else ()
    return (*first, *_PREFERRED.get(facts.format, ()))


def refuse(backend: Backend, facts: ModelFacts, options: Options) -> Reason | None:
    """Why `backend` cannot run the model so, the memory that its user declares included."""
    claims = read_claims(backend.name, options)
    if isinstance(claims, Reason):
        return claims
    return backend.serves(facts, without_claims(options))


def shapes_for(backend: Backend, facts: ModelFacts, options: Options) -> Sequence[Shape]:
    """Ways to run a model that `refuse` has passed, best first, with what the user declares in
    place of what the backend works out."""
    claims = read_claims(backend.name, options)
    assert not isinstance(claims, Reason)  # noqa: S101 - `refuse` said so
    return apply_claims(backend.shapes(facts, without_claims(options)), claims)
