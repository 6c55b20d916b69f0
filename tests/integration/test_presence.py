"""Servers of this user are found wherever they listen, and only while they live."""

import json
import os
import stat
import subprocess
import sys

import pytest

from aimindserve.boot.presence import announce, present
from aimindserve.boot.settings import Machine


def machine(folder, **environ):
    return Machine("linux", False, folder, {"XDG_RUNTIME_DIR": str(folder / "runtime"), **environ})


@pytest.fixture
def here(tmp_path):
    (tmp_path / "runtime").mkdir(mode=0o700)
    return machine(tmp_path)


def test_a_server_is_found_and_its_place_is_private(here, tmp_path):
    file = announce(here, "http://127.0.0.1:8123", tmp_path / "data")
    assert file.parent == tmp_path / "runtime" / "aimindserve"
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (found,) = present(here)
    assert (found.url, found.pid) == ("http://127.0.0.1:8123", os.getpid())
    assert found.data_dir == str(tmp_path / "data")
    file.unlink()
    assert not present(here)


def another(here, tmp_path, port):
    """The file of another process that lives, and that process."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    script = (
        "import os; from pathlib import Path; from aimindserve.boot import presence;"
        "from aimindserve.boot.settings import Machine;"
        f"os.getpid = lambda: {process.pid};"
        f"presence.announce(Machine('linux', False, Path('/'), {dict(here.environ)!r}),"
        f" 'http://127.0.0.1:{port}', Path({str(tmp_path)!r}))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    return process


def test_what_has_died_counts_no_more_and_is_swept(here, tmp_path):
    process = another(here, tmp_path, 8001)
    try:
        assert [each.pid for each in present(here)] == [process.pid]
        announce(here, "http://127.0.0.1:8002", tmp_path)
        assert len(present(here)) == 2
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
    assert [each.pid for each in present(here)] == [os.getpid()]
    file = announce(here, "http://127.0.0.1:8002", tmp_path)
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_a_process_id_that_is_used_again_is_another_process(here, tmp_path):
    file = announce(here, "http://127.0.0.1:8001", tmp_path)
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "started": told["started"] - 3600}))
    assert not present(here)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "not json", '{"url": 1, "pid": "x", "started": 0, "data_dir": ""}']
)
def test_damaged_files_are_nobody(here, tmp_path, text):
    file = announce(here, "http://127.0.0.1:8001", tmp_path)
    file.write_text(text)
    assert not present(here)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make folders of somebody else")
def test_a_folder_of_somebody_else_is_neither_read_nor_written(here, tmp_path, monkeypatch):
    file = announce(here, "http://127.0.0.1:8001", tmp_path)
    os.chown(file.parent, 12345, 12345)
    assert not present(here)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    elsewhere = announce(here, "http://127.0.0.1:8001", tmp_path)
    assert elsewhere.parent == tmp_path / f"aimindserve-{os.getuid()}"
    assert [each.url for each in present(here)] == ["http://127.0.0.1:8001"]


def test_without_any_place_it_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(OSError, match=r"none|No such"):
        announce(machine(tmp_path), "http://127.0.0.1:8001", tmp_path)
