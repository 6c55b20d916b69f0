"""A file is a plugin, a folder is a registry.

Every public module of a plugin folder exports one object, `PLUGIN`; third parties publish the same
object under an entry-point group. The result is an immutable mapping sorted by name, so that the
order in which files were written can never matter.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, TypeVar, cast

P = TypeVar("P")


class PluginError(Exception):
    """A plugin file does not hold what its folder asks for."""


def load_plugins(
    package: str, accepts: Callable[[Any], bool], *, group: str | None = None
) -> Mapping[str, Any]:
    """All plugins of the folder `package` (dotted name), and of the entry-point `group`, by name.

    Modules that start with an underscore, and `base`, are not plugins. Each plugin needs a `name`.
    Raises PluginError for a missing or unfit `PLUGIN` and for two plugins of one name.
    """
    folder = importlib.import_module(package)
    found: list[tuple[str, Any]] = []
    for info in pkgutil.iter_modules(folder.__path__):
        if info.name.startswith("_") or info.name == "base":
            continue
        module = importlib.import_module(f"{package}.{info.name}")
        if not hasattr(module, "PLUGIN"):
            raise PluginError(f"{module.__name__} exports no PLUGIN")
        found.append((module.__name__, module.PLUGIN))
    if group is not None:
        found.extend((str(point), point.load()) for point in entry_points(group=group))
    return _by_name(found, accepts)


def _by_name(found: list[tuple[str, Any]], accepts: Callable[[Any], bool]) -> Mapping[str, Any]:
    plugins: dict[str, Any] = {}
    for origin, plugin in found:
        if not accepts(plugin):
            raise PluginError(
                f"{origin}: PLUGIN is a {type(plugin).__name__}, which does not fit here"
            )
        name = cast("str", plugin.name)
        if name in plugins:
            raise PluginError(f"{origin}: another plugin is already called {name!r}")
        plugins[name] = plugin
    return MappingProxyType(dict(sorted(plugins.items())))
