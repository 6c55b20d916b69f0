"""Bad input ends in a clear error, and nothing is lost."""

import hashlib
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.system import System, clean_env, eventually, running


def refused(system: System, *, within_s: float = 20.0, code: int | None = None) -> str:
    """Start it, expect it to end by itself with exit code 2 or 1, or `code`, and return what it
    said."""
    done = subprocess.run(
        system.command(),
        capture_output=True,
        text=True,
        timeout=within_s,
        env=clean_env(),
        check=False,
    )
    assert done.returncode in ({1, 2} if code is None else {code}), (
        done.returncode,
        done.stderr[-2000:],
    )
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(System(tmp_path / "data", port=str(port)))
    assert str(port) in said
    assert not (tmp_path / "data" / "database.db").exists()


def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a directory")
    said = refused(System(tmp_path / "x", **{"data-dir": str(file / "below")}))
    assert str(file) in said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a full file system")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        (small / "fill").write_bytes(b"x" * 60 * 1024)
        said = refused(System(tmp_path / "x", **{"data-dir": str(small / "data")}))
        assert "space" in said or "full" in said
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"database-url": "oracle://x"}, ("oracle", "sqlite", "postgresql", "mysql")),
        ({"service-port-range": "5-x"}, ("service-port-range", "5-x")),
        ({"port": "99999"}, ("port", "99999")),
        ({"ssl-keyfile": "/nowhere.pem"}, ("ssl",)),
        ({"no-such-flag": "1"}, ("no-such-flag",)),
    ],
)
def test_wrong_settings_are_named(
    tmp_path: Path, flags: dict[str, str], words: tuple[str, ...]
) -> None:
    said = refused(System(tmp_path / "data", **flags))
    assert all(word in said for word in words), said


def test_a_database_that_was_never_there_ends_the_start(tmp_path: Path) -> None:
    url = "postgresql://u:hunter2@127.0.0.1:1/x"
    system = System(tmp_path / "data", **{"database-url": url})
    said = refused(system, code=8)
    assert "database_url = 'postgresql://u:********@127.0.0.1:1/x' (flag --database-url)" in said
    assert "Nothing was started." in said
    assert len(said.strip().splitlines()) == 3
    assert not (tmp_path / "data" / "log" / "server.log").exists()


def test_a_known_database_that_is_away_is_named_and_waited_for(tmp_path: Path) -> None:
    url = "postgresql://u:hunter2@127.0.0.1:1/x"
    system = System(tmp_path / "data", **{"database-url": url})
    seen = tmp_path / "data" / "secrets" / "database"
    seen.parent.mkdir(parents=True, mode=0o700)
    seen.write_text(hashlib.sha256(b"postgresql://127.0.0.1:1/x").hexdigest())
    with system.output.open("ab") as out:
        system.process = subprocess.Popen(system.command(), stdout=out, stderr=out, env=clean_env())
    try:
        eventually(lambda: "127.0.0.1:1/x" in system.said(), within_s=30, what="named")
        eventually(lambda: "gateway is ready" in system.said(), within_s=30, what="the gateway")
        assert system.process.poll() is None, "the database may come back"
        status, problem = system.request("GET", "/api/v1/deployments")
        assert status in {502, 503}
        assert "127.0.0.1" not in str(problem)
    finally:
        assert system.stop() == 0
    assert "hunter2" not in system.said()


def test_broken_yaml_is_located(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("port: 8080\nhost: [\n")
    said = refused(System(tmp_path / "data", **{"config-file": str(file)}))
    assert "config.yaml" in said
    file.write_text("prot: 8080\n")
    said = refused(System(tmp_path / "data", **{"config-file": str(file)}))
    assert "prot" in said
    assert "port" in said


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    system = System(tmp_path / "data")
    system.start()
    assert system.stop() == 0
    file = tmp_path / "data" / "database.db"
    with sqlite3.connect(file) as database:
        database.execute("UPDATE schema_version SET version_num = '9999_future'")
    said = refused(system)
    assert "newer" in said
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT version_num FROM schema_version").fetchone() == (
            "9999_future",
        )


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "data"):
        assert str(tmp_path / "data") in refused(System(tmp_path / "data"))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("bad") / "data") as found:
        eventually(
            lambda: found.get("workers", "here")["status"]["phase"] == "ready",
            within_s=30,
            what="the worker has joined",
        )
        yield found


def _reason(system: System, name: str) -> dict:
    def told() -> dict | None:
        found = system.instances(name)
        reason = found[0]["status"]["reason"] if found else None
        settled = reason is not None and "file_checking" not in str(reason)
        return reason if settled and "worker_not_ready" not in str(reason) else None

    return eventually(told, within_s=20, what=f"a reason for {name}")


def test_a_file_that_is_no_gguf(system: System, tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"hello" * 1000)
    system.deploy("no-gguf", file)
    reason = _reason(system, "no-gguf")
    assert "GGUF" in str(reason), reason
    assert reason["fix"]


def test_a_truncated_gguf(system: System, tmp_path: Path, sample_model: Path) -> None:
    file = tmp_path / "cut.gguf"
    file.write_bytes(sample_model.read_bytes()[: 40 * 1024 * 1024])
    system.deploy("cut", file)
    assert "cut.gguf" in str(_reason(system, "cut"))


def test_a_path_that_is_on_no_worker(system: System) -> None:
    system.deploy("nowhere", "/no/such/model.gguf")
    reason = _reason(system, "nowhere")
    assert "/no/such/model.gguf" in str(reason), reason
    done = system.cli("why", "nowhere")
    assert "/no/such/model.gguf" in done.stdout + done.stderr


def test_a_bad_backend_parameter(system: System, sample_model: Path) -> None:
    system.deploy("badparam", sample_model, backend_parameters=["--ctx-sise=2048"])
    reason = _reason(system, "badparam")
    assert "--ctx-sise" in str(reason)
    assert "--ctx-size" in str(reason)


def test_a_wrong_join_token(system: System, tmp_path: Path) -> None:
    worker = System(
        tmp_path / "worker", **{"server-url": system.url, "token": "wrong", "worker-name": "w2"}
    )
    for server_flag in ("port", "bootstrap-password", "server-metrics-port"):
        worker.flags.pop(server_flag)
    process = subprocess.Popen(
        worker.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean_env()
    )
    try:
        said = process.communicate(timeout=30)[0].decode()
    except subprocess.TimeoutExpired:
        process.terminate()
        said = process.communicate(timeout=20)[0].decode()
    assert "token" in said, said
    assert system.request("GET", "/api/v1/workers/w2")[0] == 404


def test_many_wrong_passwords_are_slowed_down(system: System) -> None:
    wrong = {"username": "admin", "password": "wrong"}
    seen = [system.request("POST", "/api/v1/auth/login", wrong)[0] for _ in range(12)]
    assert seen[0] == 401
    assert seen[-1] == 429


def raw(system: System, *pieces: bytes, pause_s: float = 0.0, wait_s: float = 15.0) -> bytes:
    """Send pieces over a socket and return what comes back until the end or `wait_s`."""
    with socket.create_connection(("127.0.0.1", system.port), timeout=wait_s) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause_s)
        except OSError:
            pass
        got = b""
        try:
            while chunk := connection.recv(65536):
                got += chunk
        except OSError:
            pass
        return got


HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
)


def test_a_body_of_a_gigabyte_is_refused_at_once(system: System) -> None:
    before = system.role("gateway").memory_info().rss
    answer = raw(system, HEAD + b"content-length: 1073741824\r\n\r\n", b"x" * 65536)
    assert answer.startswith(b"HTTP/1.1 413")
    endless = [b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 700
    answer = raw(system, HEAD + b"transfer-encoding: chunked\r\n\r\n", *endless)
    assert b" 413 " in answer.split(b"\r\n")[0] or answer == b""
    assert system.role("gateway").memory_info().rss - before < 96 * 1024 * 1024


def test_headers_without_end_are_refused(system: System) -> None:
    lines = [b"x-%d: %s\r\n" % (number, b"y" * 500) for number in range(200)]
    assert raw(system, HEAD, *lines).startswith(b"HTTP/1.1 431")


def test_a_slow_client_does_not_hold_a_connection(system: System) -> None:
    started = time.monotonic()
    answer = raw(system, b"GET / HT", wait_s=20)
    assert time.monotonic() - started < 18
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408")


def test_a_body_that_is_not_json(system: System) -> None:
    answer = raw(system, HEAD + b"connection: close\r\ncontent-length: 5\r\n\r\n{{{{{")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"body_invalid" in answer
    status, problem = system.request("POST", "/api/v1/deployments", "not an object")
    assert status == 400
    assert problem["code"] in {"invalid", "body_invalid"}


def test_nothing_was_lost(system: System) -> None:
    names = {
        item["metadata"]["name"]
        for item in system.request("GET", "/api/v1/deployments")[1]["items"]
    }
    assert {"no-gguf", "cut", "nowhere", "badparam"} <= names
