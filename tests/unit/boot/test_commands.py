"""The command line's front, and the commands that need no server."""

import json

import pytest

from aimindserve.cli import app


def said(capsys, *words):
    code = app.run(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_misspelt_command_is_answered_with_the_nearest(capsys):
    code, out, err = said(capsys, "strat")
    assert (code, out) == (2, "")
    assert "Did you mean 'start'?" in err


def test_help_lists_every_command_with_its_line(capsys):
    code, out, _ = said(capsys, "--help")
    assert code == 0
    for name in app.command_names():
        assert f"  {name} " in out


def test_version_as_json(capsys):
    code, out, _ = said(capsys, "version", "-o", "json")
    assert code == 0
    assert json.loads(out).keys() == {"version", "commit", "python", "platform"}


@pytest.fixture
def quiet_environment(monkeypatch):
    for name in ("GPUSTACK_CONFIG_FILE", "GPUSTACK_PORT", "GPUSTACK_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("quiet_environment")
def test_config_show_tells_origins_and_hides_secrets(capsys, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("worker_port: 10200\ndatabase_url: postgresql://ada:hunter2@db/x\n")
    words = ("config", "show", "--config-file", str(file), "-t", "hunter2", "-d", "-o", "json")
    code, out, _ = said(capsys, *words)
    assert code == 0
    assert "hunter2" not in out
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["debug"] == {
        "name": "debug", "value": True, "origin": "flag --debug", "active": True,
    }  # fmt: skip
    assert rows["worker_port"]["origin"] == f"file {file}:1"
    assert rows["database_url"]["value"] == "postgresql://ada:********@db/x"
    assert rows["token"]["value"] == "********"
    assert rows["port"]["origin"] == "default"
    assert rows["enable_ray"]["active"] is False


@pytest.mark.usefixtures("quiet_environment")
@pytest.mark.parametrize("command", [("start",), ("config", "show")])
def test_wrong_settings_end_with_2_and_all_mistakes(capsys, command):
    code, out, err = said(capsys, *command, "--port", "0", "--worker-port", "x")
    assert (code, out) == (2, "")
    assert "port = '0' (flag --port)" in err
    assert "worker_port = 'x' (flag --worker-port)" in err


@pytest.mark.usefixtures("quiet_environment")
def test_config_show_shows_what_start_would_refuse(capsys, monkeypatch):
    """Whoever looks for a mistake needs the values; that variable is set for commands, too."""
    monkeypatch.setenv("GPUSTACK_SERVER_URL", "http://gpu-01")
    monkeypatch.delenv("GPUSTACK_TOKEN", raising=False)
    code, out, err = said(capsys, "config", "show", "-o", "json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["server_url"]["origin"] == "environment GPUSTACK_SERVER_URL"
    assert "! start would refuse: token (not given): needs a value" in err
    code, out, err = said(capsys, "start")
    assert (code, out) == (2, "")
    assert "unset GPUSTACK_SERVER_URL to run a server here" in err


@pytest.mark.usefixtures("quiet_environment")
def test_what_always_means_a_server_here_does_not_read_where_another_one_is(monkeypatch):
    from aimindserve.cli._ports import with_free_ports

    monkeypatch.setenv("GPUSTACK_SERVER_URL", "http://gpu-01")
    resolved, _ = with_free_ports({})
    assert not resolved.settings.worker_only
    assert with_free_ports({"server_url": "http://x", "token": "t"})[0].settings.worker_only


@pytest.mark.usefixtures("quiet_environment")
def test_with_json_wanted_a_failure_is_a_problem_document(capsys):
    code, out, err = said(capsys, "config", "show", "-o", "json", "--port", "0")
    assert (code, out) == (2, "")
    problem = json.loads(err)
    assert problem["code"] == "settings"
    assert problem["params"]["problems"][0]["key"] == "port"


@pytest.mark.usefixtures("quiet_environment")
def test_switches_stand_alone_or_carry_a_value(capsys):
    for words, value in ((("--enable_cors",), True), (("--enable-cors", "false"), False)):
        code, out, _ = said(capsys, "config", "show", "-o", "json", *words)
        assert code == 0
        rows = {row["name"]: row["value"] for row in json.loads(out)}
        assert rows["enable_cors"] is value


@pytest.mark.usefixtures("quiet_environment")
def test_list_flags_repeat_and_take_words_that_look_like_flags(capsys):
    words = ("--ray-args=--port=6379", "--ray-args=--verbose", "--allow-origins", '["a", "b"]')
    code, out, err = said(capsys, "config", "show", "-o", "json", *words)
    assert code == 0
    rows = {row["name"]: row["value"] for row in json.loads(out)}
    assert rows["ray_args"] == ["--port=6379", "--verbose"]
    assert rows["allow_origins"] == ["a", "b"]
    assert "ray_args (flag --ray-args) is accepted but not active yet" in err
