"""Reading the YAML file of settings: keys with plain values, each with its file and line.

Must not know which keys exist.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimindserve.core.errors import SettingsError

FILE_MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One key of the file's top level."""

    key: str
    value: Any
    """None for a key without a value, which says nothing."""
    origin: str
    """`file <path>:<line>`"""


def read_file(path: Path, origin: str) -> list[FileEntry]:
    """The entries of the file; `origin` says who named it. Raises SettingsError."""
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise SettingsError(f"{path} ({origin}) is larger than {FILE_MAX_BYTES} bytes.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"config_file = '{path}' ({origin}): needs a file that can be read"
            f" ({error.strerror or error})."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} ({origin}) is not UTF-8 text.") from error
    return parse_file(text, str(path))


def parse_file(text: str, name: str) -> list[FileEntry]:
    """The entries of YAML text. Raises SettingsError that says where it is broken."""
    import yaml

    loader: Any = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return []
        if not isinstance(node, yaml.MappingNode):
            raise SettingsError(f"{name} must hold keys with values, such as `port: 8080`.")
        return _entries(loader, node, name)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        what = getattr(error, "problem", None) or "it cannot be read"
        raise SettingsError(f"{where} is not YAML: {what}.") from error
    finally:
        loader.dispose()


def _entries(loader: Any, node: Any, name: str) -> list[FileEntry]:
    entries: list[FileEntry] = []
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = str(loader.construct_object(key_node, deep=True))
        if key in seen:
            raise SettingsError(f"{name}:{line} says {key} again; line {seen[key]} has it already.")
        seen[key] = line
        value = loader.construct_object(value_node, deep=True)
        entries.append(FileEntry(key, value, f"file {name}:{line}"))
    return entries
