"""Imports point one way: the contracts hold, and the modules that must stay light are light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is not installed in this environment; `make check` runs it")
    done = subprocess.run(
        [linter], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout[-3000:]


def loaded_by(module: str) -> set[str]:
    """The modules that importing `module` loads, in a fresh interpreter."""
    code = f"import sys, {module}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = ("fastapi", "sqlalchemy", "alembic", "uvicorn", "xllamacpp")


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("aimindserve.gateway.app", (*HEAVY, "httpx", "aimindserve.store", "aimindserve.server")),
        ("aimindserve.worker.agent", (*HEAVY, "aimindserve.store", "aimindserve.server")),
        ("aimindserve.boot.supervisor", (*HEAVY, "httpx", "aimindserve.store")),
        ("aimindserve.client", (*HEAVY, "aimindserve.server", "aimindserve.store")),
        ("aimindserve.core.errors", (*HEAVY, "pydantic", "asyncio")),
    ],
)
def test_a_process_loads_only_what_it_uses(module: str, never: tuple[str, ...]) -> None:
    loaded = loaded_by(module)
    found = sorted(
        name for name in loaded if any(name == bad or name.startswith(f"{bad}.") for bad in never)
    )
    assert not found, f"{module} loads {found[:5]}; import it where it is used"


def imports_of(path: Path) -> set[str]:
    """The modules of this program that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name for name in found if name.startswith("aimindserve.")}


def test_commands_are_blind_to_their_siblings() -> None:
    """What two commands need is in a file that begins with an underscore. `completion` describes
    the whole command line, so it knows its front."""
    folder = ROOT / "src/aimindserve/cli"
    commands = {f"aimindserve.cli.{path.stem}" for path in folder.glob("[a-z]*.py")}
    found = {
        f"{path.stem} -> {name}"
        for path in folder.glob("[a-z]*.py")
        for name in imports_of(path) & commands - {f"aimindserve.cli.{path.stem}"}
    }
    assert found == {"completion -> aimindserve.cli.app"}


def test_every_reconciler_is_under_the_contract() -> None:
    contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for path in (ROOT / "src/aimindserve/controllers").glob("[a-z]*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
        if any(name.endswith("Controller") and name != "Controller" for name in names):
            assert f'"aimindserve.controllers.{path.stem}",' in contracts, path.stem


def test_banned_module_names() -> None:
    banned = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    found = [path for path in (ROOT / "src").rglob("*.py") if path.stem.strip("_") in banned]
    assert not found, f"say what it does in the name: {found}"


def test_only_settings_reads_the_environment() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "src").rglob("*.py")
        if ("os.environ" in (text := path.read_text(encoding="utf-8")) or "os.getenv" in text)
        and path.name != "settings.py"
    ]
    assert not found, f"only boot/settings.py reads the environment: {found}"
