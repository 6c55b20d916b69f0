"""From flags, environment and file to one checked set of values, each with its origin.

Pure: what is read is handed in. All mistakes are collected and told together, because fixing a
configuration one error per start is a chore.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from aimindserve.boot.checks import Mistake, contradictions
from aimindserve.boot.declared._setting import Declared, Stage
from aimindserve.boot.file import FileEntry
from aimindserve.boot.forms import masked, parse, plain
from aimindserve.boot.settings import (
    Machine,
    Settings,
    build,
    declared,
    default_data_dir,
    value_of,
)
from aimindserve.core.errors import SettingsError

DEFAULT = "default"
FlagValue = str | bool | Sequence[str]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings, and for each name where its value came from."""

    settings: Settings
    origins: Mapping[str, str]
    """`flag --port`, `environment GPUSTACK_PORT`, `file x.yaml:3` or `default`."""
    warnings: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    """Rules that the settings break together, where that was to be looked at."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that may say something about a setting."""

    flags: Mapping[str, FlagValue]
    """By setting name, only what was given on the command line."""
    file: Sequence[FileEntry]
    machine: Machine


def resolve(sources: Sources, *, strict: bool = True) -> Resolved:
    """Raises SettingsError that names every mistake: key, value, origin and what is allowed.

    Without `strict`, mistakes that no single value makes are left in the result: all values are
    known then, and may be looked at.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    mistakes = _unknown_keys(sources.file)
    for item in declared().values():
        found = _find(item, sources)
        if found is None:
            continue
        raw, origins[item.name] = found
        try:
            values[item.name] = parse(item.setting, raw)
        except ValueError as error:
            mistakes.append(_mistake(item, raw, origins[item.name], str(error)))
    _complete(values, sources.machine)
    settings = build(values)
    together: list[Mistake] = []
    if not mistakes:
        together = contradictions(settings, origins, sources.machine.platform)
    if mistakes or (strict and together):
        raise _settings_error(mistakes or together)
    warnings = (*_inactive(settings, origins), *_unknown_variables(sources.machine.environ))
    known = {name: origins.get(name, DEFAULT) for name in declared()}
    return Resolved(settings, known, warnings, tuple(together))


def _find(item: Declared, sources: Sources) -> tuple[object, str] | None:
    """The raw value that counts and its origin; None when nobody says anything."""
    if item.name in sources.flags:
        return sources.flags[item.name], f"flag {item.flag}"
    variable = sources.machine.environ.get(item.env) if item.env else None
    if variable is not None and variable.strip():
        return variable, f"environment {item.env}"
    for entry in sources.file:
        if entry.key == item.name and entry.value is not None and not item.setting.no_file:
            return entry.value, entry.origin
    return None


def _complete(values: dict[str, Any], machine: Machine) -> None:
    """Fill in the defaults that depend on the machine or on other settings."""
    data_dir: Path = values.setdefault("data_dir", default_data_dir(machine))
    values.setdefault("cache_dir", data_dir / "cache")
    values.setdefault("bin_dir", data_dir / "bin")
    values.setdefault("log_dir", data_dir / "log")
    values.setdefault("database_url", f"sqlite:///{(data_dir / 'database.db').as_posix()}")
    values.setdefault("port", 443 if values.get("ssl_certfile") is not None else 80)


def _mistake(item: Declared, raw: object, origin: str, allowed: str) -> Mistake:
    return Mistake(item.name, masked(item.setting, raw), origin, allowed)


def _unknown_keys(file: Sequence[FileEntry]) -> list[Mistake]:
    known = [name for name, item in declared().items() if not item.setting.no_file]
    mistakes: list[Mistake] = []
    for entry in file:
        if entry.key in known:
            continue
        near = get_close_matches(entry.key.replace("-", "_"), known, n=1)
        hint = f"did you mean {near[0]}?" if near else "see `aimindserve config show` for all keys"
        # The value is not told: the key is unknown, so it may well be a secret.
        mistakes.append(Mistake(entry.key, "", entry.origin, f"a key that exists; {hint}"))
    return mistakes


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each GPUSTACK_ variable that is nearly, but not quite, one of ours."""
    known = [item.env for item in declared().values() if item.env]
    strange = [key for key in environ if key.startswith("GPUSTACK_") and key not in known]
    near = ((key, get_close_matches(key, known, n=1, cutoff=0.87)) for key in sorted(strange))
    return [
        f"{key} is not a setting and is ignored; did you mean {names[0]}?"
        for key, names in near
        if names
    ]


def _inactive(settings: Settings, origins: Mapping[str, str]) -> list[str]:
    """A sentence for each setting somebody relies on that does nothing yet."""
    return [
        f"{item.name} ({origins[item.name]}) is accepted but not active yet: it changes nothing."
        for item in declared().values()
        if item.setting.stage is Stage.LATER_WARNS
        and item.name in origins
        and value_of(settings, item) != item.default
    ]


def _settings_error(mistakes: Sequence[Mistake]) -> SettingsError:
    problems = [
        {
            "key": mistake.key,
            "value": plain(mistake.value),
            "origin": mistake.origin,
            "allowed": mistake.allowed,
        }
        for mistake in mistakes
    ]
    if len(mistakes) == 1:
        return SettingsError(mistakes[0].sentence(), params={"problems": problems})
    return SettingsError(
        f"{len(mistakes)} settings are wrong.",
        hint="\n".join(mistake.sentence() for mistake in mistakes),
        params={"problems": problems},
    )
