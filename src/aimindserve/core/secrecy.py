"""Which variables of an engine's environment are secrets, and what is shown in their place.

The rule, as the user guide tells it. A variable is a secret

    by its name    TOKEN, SECRET, PASSWORD, PASSWD, PASSPHRASE, CREDENTIAL or APIKEY is in it, or
                   KEY, KEYS, AUTH, AUTHORIZATION, BEARER, COOKIE, PAT, PWD or DSN is one of its
                   words, or it ends with KEY; case does not matter. TOKENIZERS is no token, and a
                   number of tokens (MAX_TOKENS) is none either.
    by its value   an address with a password is in it, as in http://name:password@proxy:3128.

A mask hides that a value is short, and is the same for every value. Must not know where a value is
kept or shown.
"""

import re
from collections.abc import Mapping

MASK = "********"
"""As `aimindserve config show` prints secrets."""

_ANYWHERE = re.compile(r"TOKEN(?!I[SZ])|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|APIKEY")
_WORDS = frozenset(
    {"KEY", "KEYS", "AUTH", "AUTHORIZATION", "BEARER", "COOKIE", "PAT", "PWD", "DSN"}
)
_COUNTED = re.compile(r"(?:^|_)(?:MAX|MIN|NUM|N|LIMIT|BATCHED|PER)_(?:\w+_)?TOKENS?(?:_|$)")
_PLAIN = frozenset({"PWD"})
"""The whole name of what every shell sets: a directory."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@")


def is_secret(name: str, value: str = "") -> bool:
    """Whether the variable `name`, holding `value`, is a secret."""
    return _is_secret_name(name) or _ADDRESS.search(value) is not None


def masked(env: Mapping[str, str]) -> dict[str, str]:
    """`env` as anybody may see it."""
    return {name: MASK if is_secret(name, value) else value for name, value in env.items()}


def unmasked(env: Mapping[str, str], stored: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """(`env` with every mask replaced by what is `stored` under that name, the names of masks that
    stand for nothing): whoever reads an object, changes it and writes it loses no secret."""
    made: dict[str, str] = {}
    unknown: list[str] = []
    for name, value in env.items():
        kept = stored.get(name)
        if value != MASK or kept == MASK:
            made[name] = value
        elif kept is not None and is_secret(name, kept):
            made[name] = kept
        else:
            unknown.append(name)
    return made, unknown


def _is_secret_name(name: str) -> bool:
    upper = re.sub(r"[^A-Z0-9]+", "_", name.upper())
    if upper in _PLAIN:
        return False
    if _ANYWHERE.search(_COUNTED.sub("_", upper)):
        return True
    return upper.endswith("KEY") or not _WORDS.isdisjoint(upper.split("_"))
