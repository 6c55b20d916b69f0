"""Reading and writing the value of a setting, form by form.

Text comes from flags and environment, plain YAML data from the file; both end as the same typed
value. Raises ValueError with what is allowed. Must not know where a value came from.
"""

import ipaddress
import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from aimindserve.boot._hardware import check_hardware
from aimindserve.boot.declared._setting import Form, Setting
from aimindserve.core.device import Reserved
from aimindserve.core.errors import SettingsError
from aimindserve.core.ids import NAME_RULE, is_name
from aimindserve.kit.units import GIB
from aimindserve.store.urls import ALLOWED, check_url

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_HOST = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$")
_RANGE = re.compile(r"^\s*(\d{1,5})\s*-\s*(\d{1,5})\s*$")
_URL_PASSWORD = re.compile(r"(://[^/@:]*:).*@")
MASK = "********"
TEXT_MAX = 100_000
LIST_MAX = 1_000


def parse(setting: Setting, raw: object) -> Any:
    """The typed value of `raw`: text, or plain YAML data. Raises ValueError."""
    if isinstance(raw, str) and len(raw) > TEXT_MAX:
        raise ValueError(f"at most {TEXT_MAX} characters")
    return _PARSERS[setting.form](raw, setting)


def plain(value: object) -> Any:
    """The value as JSON and YAML show it; `parse` reads it back."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Reserved):
        return {"ram": value.ram_bytes / GIB, "vram": value.vram_bytes / GIB}
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        if len(items) == 2 and isinstance(items[0], int):
            return f"{items[0]}-{items[1]}"
        return list(items)
    return value


def shown(value: object) -> str:
    """The value as a table shows it."""
    simple = plain(value)
    if simple is None:
        return ""
    if isinstance(simple, bool):
        return "true" if simple else "false"
    return simple if isinstance(simple, str) else json.dumps(simple, ensure_ascii=False)


def masked(setting: Setting, value: object) -> object:
    """The value as it may be shown to anybody: of a database's URL only the password is hidden."""
    if not setting.secret or value is None:
        return value
    if setting.form is Form.DATABASE_URL:
        return _URL_PASSWORD.sub(rf"\1{MASK}@", str(value))
    return MASK


def _text(raw: object, _setting: Setting) -> str:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise ValueError("a text")
    if not isinstance(raw, str):
        raise ValueError("a text; put it in quotes")
    if not raw.strip() or any(ord(letter) < 32 for letter in raw.strip()):
        raise ValueError("a text that is not empty and has no control characters")
    return raw


def _long_text(raw: object, _setting: Setting) -> str:
    return json.dumps(_object(raw, "a JSON object"), sort_keys=True)


def _hardware(raw: object, _setting: Setting) -> str:
    document = _object(raw, "a mapping of hardware, see the reference of settings")
    check_hardware(document)
    return json.dumps(document, sort_keys=True)


def _switch(raw: object, _setting: Setting) -> bool:
    if isinstance(raw, bool):
        return raw
    word = str(raw).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("true or false")


def _whole(raw: object, low: int, high: int, what: str) -> int:
    problem = ValueError(f"{what} from {low} to {high}")
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise problem
    try:
        number = int(raw)
    except ValueError:
        raise problem from None
    if not low <= number <= high:
        raise problem
    return number


def _count(raw: object, setting: Setting) -> int:
    return _whole(raw, *setting.limit, "a whole number")


def _port(raw: object, _setting: Setting) -> int:
    if isinstance(raw, str) and raw.startswith(("tcp://", "udp://")):
        raise ValueError(
            "a port from 1 to 65535; Kubernetes sets this variable for a service of that name: "
            "set enableServiceLinks: false on the pod"
        )
    return _whole(raw, 1, 65535, "a port")


def _port_range(raw: object, _setting: Setting) -> tuple[int, int]:
    found = _RANGE.match(raw) if isinstance(raw, str) else None
    low, high = (int(found.group(1)), int(found.group(2))) if found else (0, 0)
    if not 1 <= low < high <= 65535:
        raise ValueError("two ports from 1 to 65535, the smaller first, such as 40000-40063")
    return low, high


def _path(raw: object, _setting: Setting) -> Path:
    if not isinstance(raw, str) or not raw.strip() or "\0" in raw:
        raise ValueError("a path")
    return Path(raw).expanduser().absolute()


def _url(raw: object, _setting: Setting) -> str:
    allowed = "a URL with http:// or https:// and a host"
    if not isinstance(raw, str):
        raise ValueError(allowed)
    try:
        parts = urlsplit(raw.strip())
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or any(letter.isspace() for letter in raw.strip()):
        raise ValueError(allowed)
    return raw.strip().rstrip("/")


def _database_url(raw: object, _setting: Setting) -> str:
    text = raw.strip() if isinstance(raw, str) else ""
    scheme = text.partition("://")[0].partition("+")[0].lower()
    if "://" not in text or scheme not in ("sqlite", "postgresql", "postgres", "mysql", "mariadb"):
        raise ValueError(ALLOWED)
    try:
        check_url(text)
    except SettingsError as error:
        why = error.params.get("why")
        raise ValueError(f"{ALLOWED}; {why}" if why else f"{error.message} {error.hint}") from error
    if scheme != "sqlite":
        return text
    # The processes that open it run in another directory.
    path, mark, options = text.partition("///")[2].partition("?")
    return f"sqlite:///{Path(path).expanduser().absolute().as_posix()}{mark}{options}"


def _address(raw: object, _setting: Setting) -> str:
    text = raw.strip().strip("[]") if isinstance(raw, str) else ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if _HOST.match(text) and not text.replace(".", "").isdigit():
            return text
        raise ValueError("an IP address or a host name") from None


def _name(raw: object, _setting: Setting) -> str:
    text = raw.strip() if isinstance(raw, str) else ""
    if not is_name(text):
        raise ValueError(f"a name of {NAME_RULE}")
    return text


def _items(raw: object, _setting: Setting) -> tuple[str, ...]:
    return _listed(raw, lambda text: [part.strip() for part in text.split(",") if part.strip()])


def _words(raw: object, _setting: Setting) -> tuple[str, ...]:
    return _listed(raw, shlex.split)


def _listed(raw: object, split: Callable[[str], list[str]]) -> tuple[str, ...]:
    allowed = ValueError('a list of texts, such as ["a", "b"]')
    found: object = raw
    if isinstance(raw, str):
        try:
            found = json.loads(raw) if raw.lstrip().startswith("[") else split(raw)
        except ValueError:
            raise allowed from None
    if not isinstance(found, list | tuple) or len(cast("list[object]", found)) > LIST_MAX:
        raise allowed
    items = cast("list[object]", found)
    if not all(isinstance(item, str) for item in items):
        raise allowed
    return tuple(cast("list[str]", items))


def _reserved(raw: object, _setting: Setting) -> Reserved:
    allowed = 'GiB as {"ram": 2, "vram": 1}'
    given = _object(raw, allowed)
    renamed = {"memory": "ram", "gpu_memory": "vram"}
    sizes = {"ram": 2.0, "vram": 1.0}
    for key, size in given.items():
        name = renamed.get(key, key)
        if name not in sizes:
            raise ValueError(f"{allowed}; {key!r} is neither ram nor vram")
        if isinstance(size, bool) or not isinstance(size, int | float):
            raise ValueError(f"{allowed}; {key} must be a number")
        if not math.isfinite(size) or not 0 <= size <= 1_000_000:
            raise ValueError(f"{allowed}; {key} must be a number from 0")
        sizes[name] = float(size)
    return Reserved(int(sizes["ram"] * GIB), int(sizes["vram"] * GIB))


def _object(raw: object, allowed: str) -> Mapping[str, Any]:
    found = raw
    if isinstance(raw, str):
        try:
            found = json.loads(raw)
        except ValueError:
            raise ValueError(allowed) from None
    if not isinstance(found, Mapping):
        raise ValueError(allowed)
    document = cast("Mapping[object, Any]", found)
    if not all(isinstance(key, str) for key in document):
        raise ValueError(allowed)
    return cast("Mapping[str, Any]", document)


_PARSERS: Mapping[Form, Callable[[object, Setting], Any]] = {
    Form.TEXT: _text,
    Form.SWITCH: _switch,
    Form.COUNT: _count,
    Form.PORT: _port,
    Form.PORT_RANGE: _port_range,
    Form.PATH: _path,
    Form.URL: _url,
    Form.DATABASE_URL: _database_url,
    Form.ADDRESS: _address,
    Form.NAME: _name,
    Form.ITEMS: _items,
    Form.WORDS: _words,
    Form.RESERVED: _reserved,
    Form.OBJECT: _long_text,
    Form.HARDWARE: _hardware,
}
