"""The how-to pages are executed: each example is loaded as the file it says it is."""

import inspect
import re
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs/howto").glob("add-*.md"))
BLOCK = re.compile(r"```python\n# (src/aimindserve/([\w/]+)/(\w+)\.py)\n(.*?)```", re.DOTALL)


def _load(page: Path) -> tuple[str, types.ModuleType]:
    found = BLOCK.search(page.read_text(encoding="utf-8"))
    assert found, f"{page.name} needs a python block that begins with its file's path"
    path, folder, name, source = found.groups()
    module = types.ModuleType(f"aimindserve.{folder.replace('/', '.')}.{name}")
    exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - the page's own example
    return folder, module


PROTOCOLS = {
    "scheduler/filters": ("aimindserve.scheduler.base", "Filter"),
    "backends": ("aimindserve.backends.base", "Backend"),
    "sources": ("aimindserve.sources.base", "Source"),
    "accelerators": ("aimindserve.accelerators.base", "Accelerator"),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_example_fits_its_folder(page: Path) -> None:
    folder, module = _load(page)
    assert module.__doc__, "an example has a docstring too"
    if folder in PROTOCOLS:
        home, name = PROTOCOLS[folder]
        protocol = getattr(__import__(home, fromlist=[name]), name)
        for member, wanted in inspect.getmembers(protocol, inspect.isfunction):
            if member.startswith("_"):
                continue
            given = getattr(module.PLUGIN, member)
            assert (
                list(inspect.signature(given).parameters)
                == list(inspect.signature(wanted).parameters)[1:]
            ), f"{member} of the example and of {name} differ"
        for attribute in protocol.__annotations__:
            assert hasattr(module.PLUGIN, attribute), f"the example lacks {attribute}"


def test_the_filter_refuses_with_a_known_reason() -> None:
    from aimindserve.core.reason import CATALOGUE
    from aimindserve.core.shape import Shape
    from aimindserve.scheduler.base import Ask, WorkerView

    _, module = _load(ROOT / "docs/howto/add-a-filter.md")
    worker = WorkerView(
        name="w",
        ready=True,
        cordoned=False,
        os="linux",
        arch="amd64",
        labels={},
        ram_bytes=1,
        ram_free_bytes=1,
    )
    shape = Shape(label="cpu", ranks=())
    ask = Ask(
        instance="i", deployment="d", placement_id="p", shapes=(shape,), selector={"site": "lab"}
    )
    reason = module.PLUGIN.reject(ask, shape, worker)
    assert reason.code in CATALOGUE
    assert reason.message == "The placement rule site=lab does not match w."


def test_the_kind_is_a_whole_kind() -> None:
    _, module = _load(ROOT / "docs/howto/add-a-kind.md")
    assert module.PLUGIN.parse_spec({"text": "hello"}).text == "hello"


def test_the_accelerator_reads_its_tool() -> None:
    _, module = _load(ROOT / "docs/howto/add-an-accelerator.md")

    class Host:
        name = "w"

        def run(self, *argv: str, timeout_s: float = 10.0) -> str | None:
            return "0, ACME One, 1024, 100\n"

        def read(self, path: str) -> str | None:
            return None

    devices = module.PLUGIN.detect(Host())
    assert [device.id for device in devices] == ["w:acme:0"]
    assert module.PLUGIN.usage(Host())["w:acme:0"].memory_used_bytes == 100 * 1024**2
