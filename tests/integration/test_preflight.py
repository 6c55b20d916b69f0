"""What is checked before anything is started, on the real machine."""

import os
import shutil
import socket
import stat
import subprocess
import sys

import pytest

from aimindserve.boot.handover import read_handover, write_handover
from aimindserve.boot.places import places_of
from aimindserve.boot.preflight import StartError, prepare
from aimindserve.boot.resolve import Sources, resolve
from aimindserve.boot.settings import Machine
from aimindserve.core.errors import SettingsError


def settings_for(folder, **flags):
    ports = free_ports(4)
    names = ("port", "worker_port", "metrics_port", "server_metrics_port")
    chosen = dict(zip(names, map(str, ports), strict=True))
    machine = Machine("linux", True, folder, {})
    # Ranges where no free port is ever handed out, so that none of ours can lie in them.
    ranges = {"service_port_range": "20000-20063", "rpc_server_port_range": "20064-20095"}
    given = {"data_dir": str(folder / "data"), "host": "127.0.0.1", **ranges, **chosen, **flags}
    return resolve(Sources(given, [], machine)).settings


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def run_prepare(settings):
    return prepare(settings, places_of(settings))


def test_everything_shared_is_made_once_and_for_this_user_only(tmp_path):
    settings = settings_for(tmp_path)
    places = places_of(settings)
    run_prepare(settings).release()
    token = places.token.read_text().strip()
    assert len(token) == 32
    int(token, 16)
    for path in (places.token, places.pepper, places.gateway_credential):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.data_dir.stat().st_mode) == 0o700
    run_prepare(settings).release()
    assert places.token.read_text().strip() == token


def test_a_token_that_was_given_is_not_written_down(tmp_path):
    settings = settings_for(tmp_path, token="mine")
    run_prepare(settings).release()
    assert not places_of(settings).token.exists()


def test_two_servers_cannot_share_a_directory(tmp_path):
    held = run_prepare(settings_for(tmp_path))
    with pytest.raises(StartError, match=f"process {os.getpid()}"):
        run_prepare(settings_for(tmp_path))
    held.release()
    run_prepare(settings_for(tmp_path)).release()


def test_a_taken_port_is_named_with_its_process(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as caught:
            run_prepare(settings_for(tmp_path, port=str(port)))
        assert f"Port {port} is taken" in caught.value.message
        assert f"process {os.getpid()}" in caught.value.message
        assert "--port" in caught.value.hint


def test_an_address_that_is_not_ours(tmp_path):
    with pytest.raises(StartError) as caught:
        run_prepare(settings_for(tmp_path, host="192.0.2.1"))
    assert "--host" in caught.value.hint


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError) as caught:
        run_prepare(settings_for(tmp_path, data_dir=str(tmp_path / "file" / "data")))
    assert "data_dir" in caught.value.message
    assert "--data-dir" in caught.value.hint


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None,
    reason="only root can make a small disk",
)
def test_a_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(options, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not allow mounting")
    try:
        with pytest.raises(StartError, match="is full"):
            run_prepare(settings_for(tmp_path, data_dir=str(disk)))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_certificate_that_is_none(tmp_path):
    for name in ("key", "cert"):
        (tmp_path / name).write_text("nothing")
    flags = {"ssl_keyfile": str(tmp_path / "key"), "ssl_certfile": str(tmp_path / "cert")}
    with pytest.raises(SettingsError, match="ssl_certfile"):
        run_prepare(settings_for(tmp_path, **flags))


def test_the_control_socket_fits_however_long_the_directory(tmp_path):
    folder = tmp_path / ("x" * 120)
    settings = settings_for(folder)
    places = places_of(settings)
    run_prepare(settings).release()
    assert len(os.fsencode(places.control_socket)) <= 100
    assert stat.S_IMODE(places.control_socket.parent.stat().st_mode) == 0o700
    assert places_of(settings_for(tmp_path)).control_socket != places.control_socket
    places.control_socket.parent.rmdir()


def test_children_read_exactly_what_the_supervisor_wrote(tmp_path):
    flags = {"ray_args": ["--a", "b c"], "system_reserved": '{"ram": 0.5}', "token": "hunter2"}
    settings = settings_for(tmp_path, **flags)
    places = places_of(settings)
    run_prepare(settings).release()
    path = write_handover(settings, places)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_handover(path) == (settings, places)


def test_chosen_ports_are_told_only_when_the_start_goes_on(tmp_path):
    from aimindserve.boot.start import Start, start

    settings = settings_for(tmp_path)
    lock = run_prepare(settings)
    said = []
    try:
        with pytest.raises(StartError, match="in use by another aimindserve"):
            start(Start(settings, said.append, notes=("port 8080 (port) is taken; using 8081",)))
    finally:
        lock.release()
    assert said == [], "nobody cares about ports of something that does not start"
