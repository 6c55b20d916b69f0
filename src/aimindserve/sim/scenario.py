"""What a run is about: how large, what is deployed, what goes wrong. One YAML file each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, cast

import msgspec
import yaml

from aimindserve.core.errors import NotFoundError, SettingsError

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault. Times in virtual seconds; the pause is the mean of an exponential."""

    every_s: float
    lasts_s: Range = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Deployments:
    """How many deployments there are, and what each asks for, drawn evenly. Sizes in GiB."""

    count: int = 10
    replicas: tuple[int, int] = (1, 4)
    vram_gib: Range = (8.0, 60.0)
    devices: tuple[int, int] = (1, 1)
    layered: float = 0.0
    """Share of them that are cut between layers."""
    across: float = 0.0
    """Share of them that take devices of two workers."""
    models: int = 5
    """Different models among them; every machine has all."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run. Sizes in GiB, times in virtual seconds."""

    title: str
    workers: tuple[int, int] = (10, 20)
    devices: int = 4
    device_memory_gib: float = 80.0
    ram_gib: float = 512.0
    deployments: Deployments = field(default_factory=Deployments)
    lasts_s: Range = (600.0, 1200.0)
    """How long faults and people go on."""
    settle_s: float = 400.0
    """Within this long after the last fault everything must be as wanted."""
    people_every_s: float = 0.0
    """Mean time between two changes by people; 0: nobody changes anything."""
    visits_every_s: float = 0.0
    """How often every engine answers a request; 0: nobody asks anything."""
    faults: Mapping[str, Fault] = field(default_factory=dict[str, Fault])
    probe_every_s: float = 5.0
    """How often engines are asked how they are: the main cost of a run."""
    constants: Mapping[str, float] = field(default_factory=dict[str, float])
    """Fields of `ControllerConstants` that differ."""


@cache
def scenarios() -> Mapping[str, Scenario]:
    """Every scenario that ships, by its file's name."""
    folder = resources.files("aimindserve.sim") / "scenarios"
    files = [file for file in folder.iterdir() if file.name.endswith(".yaml")]
    found = {file.name.removesuffix(".yaml"): parse(file.read_text("utf-8")) for file in files}
    return dict(sorted(found.items()))


def find(name: str) -> Scenario:
    """The scenario of that name; raises NotFoundError."""
    known = scenarios()
    if name not in known:
        raise NotFoundError(
            f"There is no scenario called {name}.", hint=f"There are: {', '.join(known)}."
        )
    return known[name]


def parse(text: str) -> Scenario:
    """A scenario from YAML; raises SettingsError for anything it does not know."""
    document: Any = yaml.safe_load(text)
    try:
        scenario = msgspec.convert(document, Scenario)
    except msgspec.ValidationError as error:
        raise SettingsError(f"Not a scenario: {error}.") from error
    unknown = _unknown(document, msgspec.to_builtins(scenario))
    if unknown:
        raise SettingsError(f"Not a scenario: nobody knows {', '.join(unknown)}.")
    return scenario


def _unknown(given: Any, known: Any) -> Sequence[str]:
    """Keys that were given and did not arrive: misspelt ones would silently do nothing."""
    if not isinstance(given, dict) or not isinstance(known, dict):
        return []
    given, known = cast("dict[str, Any]", given), cast("dict[str, Any]", known)
    missed = [key for key in given if key not in known]
    return missed + [name for key in given for name in _unknown(given[key], known.get(key))]
