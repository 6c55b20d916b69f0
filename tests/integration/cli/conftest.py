"""A server of its own for each test, an empty home, and no settings from outside."""

import pytest

from integration.cli.serving import serving


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("GPUSTACK_DATA_DIR", str(tmp_path / "data"))
    for name in ("GPUSTACK_SERVER_URL", "GPUSTACK_API_KEY", "GPUSTACK_LANG", "LC_ALL", "LANG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def served(monkeypatch):
    with serving() as found:
        monkeypatch.setenv("GPUSTACK_SERVER_URL", found.url)
        yield found


@pytest.fixture
def remote(monkeypatch):
    """As `served`, for callers that do not come from the server's own machine."""
    with serving(peer="192.0.2.7") as found:
        monkeypatch.setenv("GPUSTACK_SERVER_URL", found.url)
        yield found
