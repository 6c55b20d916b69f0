"""A folder is a registry."""

import sys
from pathlib import Path

import pytest

from aimindserve.kit.registry import PluginError, load_plugins


class Plugin:
    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = f"plugins_{abs(hash(str(tmp_path)))}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(module: str, text: str) -> str:
        (package / f"{module}.py").write_text(text)
        return name

    yield write
    for module in [key for key in sys.modules if key.startswith(name)]:
        del sys.modules[module]


TEXT = "class P:\n    name = {!r}\nPLUGIN = P()\n"


def test_files_become_plugins_sorted_by_name(folder) -> None:
    folder("z", TEXT.format("beta"))
    folder("a", TEXT.format("zeta"))
    folder("base", "raise RuntimeError('base is no plugin')")
    name = folder("_shared", "raise RuntimeError('private files are no plugins')")
    assert list(load_plugins(name, lambda plugin: True)) == ["beta", "zeta"]


def test_a_file_without_a_plugin_is_an_error(folder) -> None:
    name = folder("x", "")
    with pytest.raises(PluginError, match=r"exports no PLUGIN"):
        load_plugins(name, lambda plugin: True)


def test_an_unfit_plugin_is_an_error(folder) -> None:
    name = folder("x", "PLUGIN = 3")
    with pytest.raises(PluginError, match="does not fit"):
        load_plugins(name, lambda plugin: hasattr(plugin, "name"))


def test_two_plugins_of_one_name_are_an_error(folder) -> None:
    folder("x", TEXT.format("same"))
    name = folder("y", TEXT.format("same"))
    with pytest.raises(PluginError, match="already called"):
        load_plugins(name, lambda plugin: True)
