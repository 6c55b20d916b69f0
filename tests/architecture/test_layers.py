"""Imports point one way: the contracts hold, and the modules that must stay light are light."""

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
