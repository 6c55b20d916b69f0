"""`reset-admin-password` where no server runs: on the right store, or not at all."""

import asyncio
import io
import json

import pytest

from aimindserve.boot.places import Places
from aimindserve.cli import app as cli
from aimindserve.kit import log
from aimindserve.kit.clock import SystemClock
from aimindserve.kit.lockfile import LockFile
from aimindserve.server.auth.bootstrap import bootstrap_admin
from aimindserve.server.auth.passwords import Passwords
from aimindserve.server.auth.sessions import Sessions
from aimindserve.store.resources import ResourceStore
from aimindserve.store.urls import backing_for

OLD = "correct horse battery"


def in_store(url, work):
    log.configure(stream=io.StringIO())

    async def go():
        store = ResourceStore(backing_for(url), SystemClock())
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(go())


def make(folder, *, admin=True):
    """The database of a server that once ran in `folder`, with a session; its URL."""
    url = f"sqlite:///{folder}/database.db"

    async def work(store):
        if admin:
            await bootstrap_admin(store, Passwords(), folder, OLD)
            await Sessions(store, SystemClock(), b"pepper").start("admin")

    in_store(url, work)
    (folder / "run").mkdir()
    return url


def is_password(url, password):
    async def work(store):
        spec = store.get("user", "admin").spec
        return await Passwords().verify(spec.password_hash, password), spec, store.list("session")

    return in_store(url, work)


@pytest.fixture(autouse=True)
def quiet():
    """The command sets up logging; what comes later must not write to what was captured here."""
    yield
    log.configure(stream=io.StringIO())


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_the_store_is_found_as_start_finds_it(data, tmp_path, capsys, monkeypatch):
    url = make(data)
    monkeypatch.delenv("GPUSTACK_DATA_DIR")
    file = tmp_path / "settings.yaml"
    file.write_text(f"data_dir: {data}\n")
    monkeypatch.setenv("GPUSTACK_DATA_DIR", str(data))
    monkeypatch.setenv(
        "GPUSTACK_SERVER_URL", "http://gpu-01"
    )  # where commands go, no setting of it
    capsys.readouterr()
    ways = (
        (), ("--data-dir", str(data)), ("--config-file", str(file)),
        ("--database-url", url, "--data-dir", str(tmp_path / "elsewhere")),
    )  # fmt: skip
    for words in ways:
        if words:
            monkeypatch.delenv("GPUSTACK_DATA_DIR", raising=False)
        assert cli.run(["reset-admin-password", "-o", "json", *words]) == 0, words
        password = json.loads(capsys.readouterr().out)["password"]
        right, spec, sessions = is_password(url, password)
        assert right
        assert spec.must_change_password
        assert not sessions, "whoever was signed in is not any more"
    assert not (tmp_path / "elsewhere").exists()
    assert not (data / "secrets").exists(), "the pepper is the server's own business"


def test_where_there_is_no_store_nothing_is_made(tmp_path, capsys):
    wrong = tmp_path / "wrong"
    assert cli.run(["reset-admin-password", "--data-dir", str(wrong)]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert f"There is no database of aiMindServe at {wrong}/database.db." in told.err
    assert "--data-dir" in told.err
    assert not wrong.exists()


def test_a_file_of_somebody_else_is_not_filled(data, capsys):
    (data / "database.db").touch()
    assert cli.run(["reset-admin-password", "--data-dir", str(data)]) == 3
    assert "no database of aiMindServe" in capsys.readouterr().err


def test_a_store_without_administrator_and_a_wrong_name(data, tmp_path, capsys):
    make(data, admin=False)
    assert cli.run(["reset-admin-password", "--data-dir", str(data)]) == 3
    assert "The first start makes one" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    make(other)
    assert cli.run(["reset-admin-password", "--data-dir", str(other), "--user", "root"]) == 3
    told = capsys.readouterr().err
    assert "no user called 'root'" in told
    assert "Administrators are: admin" in told


def test_a_server_that_is_just_starting_is_not_raced(data, capsys):
    make(data)
    lock = LockFile(Places(data, data).lock)
    assert lock.take() is None
    try:
        assert cli.run(["reset-admin-password", "--data-dir", str(data)]) == 1
        assert "just starting or stopping" in capsys.readouterr().err
    finally:
        lock.release()
