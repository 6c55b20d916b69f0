"""Secrets of the settings: who can see them once everything runs."""

import contextlib
import os
from pathlib import Path

import psutil
import pytest

from e2e.system import PASSWORD, System, eventually

TOKEN = "a-join-token-for-this-test"
LOGIN = "/api/v1/auth/login"


@pytest.fixture
def system(tmp_path):
    found = System(tmp_path / "data", token=TOKEN)
    try:
        found.start()
        yield found
    finally:
        found.kill_everything()


def holders(folder: Path, secret: str) -> list[str]:
    """The files below `folder` that hold `secret`."""
    found: list[str] = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # files come and go while it runs
            if path.is_file() and secret.encode() in path.read_bytes():
                found.append(str(path.relative_to(folder)))
    return found


def test_children_are_told_nothing_secret_where_others_can_read_it(system):
    children = system.processes()
    assert len(children) >= 3
    for process in children:
        for secret in (TOKEN, PASSWORD):
            assert secret not in " ".join(process.cmdline())
            assert secret not in "\0".join(process.environ().values())


def test_the_first_password_is_kept_nowhere_and_still_is_the_password(system):
    # It answers a moment before the file is written anew.
    eventually(lambda: not holders(system.data_dir, PASSWORD), within_s=10, what="forgotten")
    kept = system.data_dir / "run" / "settings.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    control = system.role("control")
    control.kill()
    eventually(lambda: system.role("control").pid != control.pid, within_s=20, what="a new one")
    eventually(lambda: system.request("GET", "/readyz")[0] == 200, within_s=20, what="ready")
    told = {"username": "admin", "password": PASSWORD}
    eventually(lambda: system.request("POST", LOGIN, told)[0] == 200, within_s=20, what="sign-in")
    assert holders(system.data_dir, PASSWORD) == []


def test_variables_do_not_reach_children(tmp_path, monkeypatch):
    """With variables instead of flags no command line has them, not even the first one's."""
    system = System(tmp_path / "data", **{"disable-worker": "true"})
    del system.flags["bootstrap-password"]
    monkeypatch.setattr(
        "e2e.system.clean_env",
        lambda: {**os.environ, "GPUSTACK_TOKEN": TOKEN, "GPUSTACK_BOOTSTRAP_PASSWORD": PASSWORD},
    )
    try:
        system.start()
        assert system.process is not None
        mine = psutil.Process(system.process.pid)
        for secret in (TOKEN, PASSWORD):
            assert secret not in " ".join(mine.cmdline())
            for process in system.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    assert secret not in "\0".join(process.environ().values())
        assert system.stop() == 0
        assert holders(system.data_dir, TOKEN) == []
    finally:
        system.kill_everything()
