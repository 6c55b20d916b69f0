"""Commands find the server of this machine wherever it listens, and say when there are several."""

import pytest

from e2e.system import System, run_command


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user of whom nothing else runs here."""
    (tmp_path / "runtime").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def test_one_several_and_none(own):
    one, two = (System(own / name, **{"disable-worker": "true"}) for name in ("one", "two"))
    try:
        one.start()
        users = run_command("users", "-o", "name")
        assert (users.returncode, users.stdout) == (0, "admin\n"), users.stderr
        two.start()
        several = run_command("users")
        assert several.returncode == 2
        assert several.stdout == ""
        for system in (one, two):
            assert f"{system.url}  ({system.data_dir})" in several.stderr
        assert "--server" in several.stderr
        meant = run_command("users", "-o", "name", env={"GPUSTACK_DATA_DIR": str(two.data_dir)})
        assert meant.returncode == 0, meant.stderr
        wrong = run_command("reset-admin-password", "--data-dir", str(own / "wrong"))
        assert f"--data-dir {two.data_dir}" in wrong.stderr
        assert one.stop() == 0
        assert run_command("users", "-o", "name").stdout == "admin\n"
        two.process.kill()
        two.process.wait()
        assert len(list((own / "runtime" / "aimindserve").iterdir())) == 1, "nobody tidied up"
        gone = run_command("users")
        assert two.url not in gone.stderr, "a server that has died is not asked"
    finally:
        one.kill_everything()
        two.kill_everything()
