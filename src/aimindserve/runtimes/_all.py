"""All runtimes, by name: the folder read as a registry."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import cast

from aimindserve.kit.clock import Clock
from aimindserve.kit.registry import load_plugins
from aimindserve.runtimes.base import Runtime

GROUP = "aimindserve.runtimes"

Make = Callable[[Path, Clock], Runtime]
"""A plugin is a class with a `name`, made with (directory for its records, clock)."""


@cache
def runtimes() -> Mapping[str, Make]:
    """Every way to run a process, by name."""
    found = load_plugins(__package__ or "", lambda plugin: isinstance(plugin, type), group=GROUP)
    return cast("Mapping[str, Make]", found)
