"""A lost password beside a running server: the new one counts at once, whomever it trusts."""

import json

import pytest

from e2e.system import PASSWORD, System, run_command

LOGIN = "/api/v1/auth/login"
ME = "/api/v1/auth/me"


@pytest.fixture
def system(tmp_path):
    found = System(tmp_path / "data", **{"force-auth-localhost": "true", "disable-worker": "true"})
    try:
        found.start()
        yield found
    finally:
        found.kill_everything()


def sign_in(system, password):
    return system.request("POST", LOGIN, {"username": "admin", "password": password})


def test_beside_a_running_server(system):
    assert sign_in(system, PASSWORD)[0] == 200
    assert system.request("GET", ME)[0] == 401, "this server does not trust its own machine"
    done = run_command("reset-admin-password", "-o", "json", "--data-dir", str(system.data_dir))
    assert done.returncode == 0, done.stderr
    password = json.loads(done.stdout)["password"]
    assert sign_in(system, PASSWORD)[0] == 401
    status, told = sign_in(system, password)
    assert (status, told["must_change_password"]) == (200, True)


def test_another_database_than_the_running_servers_is_refused(system, tmp_path):
    other = f"sqlite:///{tmp_path}/other.db"
    done = run_command(
        "reset-admin-password", "--data-dir", str(system.data_dir), "--database-url", other
    )
    assert done.returncode == 5
    assert "not sqlite" in done.stderr
    assert not (tmp_path / "other.db").exists()
    assert sign_in(system, PASSWORD)[0] == 200


def test_a_stopped_server_takes_its_operators_credential_with_it(system):
    credential = system.data_dir / "run" / "operator"
    assert credential.stat().st_mode & 0o777 == 0o600
    assert system.stop() == 0
    assert not credential.exists()
    done = run_command("reset-admin-password", "--data-dir", str(system.data_dir))
    assert done.returncode == 0, done.stderr
    system.start()
    assert sign_in(system, done.stdout.strip())[0] == 200
