"""Which environment variables users may give to an engine: an allow-list of prefixes per backend.

`LD_PRELOAD`, `PYTHONPATH`, `PATH` and their kin run code as the worker's user, and device variables
belong to the scheduler; a list of what is forbidden would never be complete.
"""

import re
from collections.abc import Sequence

from aimindserve.core.reason import Reason

_NAME = re.compile(r"^[A-Z][A-Z0-9_]{0,63}$")
_PREFIXES = ("OMP_", "GOMP_", "KMP_", "LC_")
_NAMES = frozenset({"TZ", "LANG"})
VALUE_LENGTH_MAX = 4096


def refuse_environment(
    backend: str, env: Sequence[tuple[str, str]], prefixes: tuple[str, ...]
) -> Reason | None:
    """Why `env` cannot be given to an engine of `backend`, or None; `prefixes` add to the common
    ones."""
    for name, value in env:
        allowed = name in _NAMES or name.startswith((*_PREFIXES, *prefixes))
        if not _NAME.match(name) or not allowed:
            detail = f"variables may begin with {', '.join((*_PREFIXES, *prefixes))}"
        elif len(value) > VALUE_LENGTH_MAX or "\0" in value:
            detail = f"its value is longer than {VALUE_LENGTH_MAX} characters or not text"
        else:
            continue
        return Reason("bad_param", {"backend": backend, "param": name[:100], "detail": detail})
    return None
