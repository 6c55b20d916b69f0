"""Where values come from, and what is said of wrong ones."""

from pathlib import Path

import pytest

from aimindserve.boot._hardware import VENDOR_TYPES
from aimindserve.boot.file import parse_file
from aimindserve.boot.resolve import Sources, resolve
from aimindserve.boot.settings import Machine, declared, default_data_dir
from aimindserve.core.device import DEVICE_TYPES
from aimindserve.core.errors import SettingsError

HOME = Path("/home/ada")


def machine(platform="linux", *, root=True, **environ):
    return Machine(platform, root, HOME, environ)


def find(flags=None, file="", on=None):
    entries = parse_file(file, "x.yaml") if file else []
    return resolve(Sources(flags or {}, entries, on or machine()))


def problems(flags=None, file="", on=None):
    with pytest.raises(SettingsError) as caught:
        find(flags, file, on)
    return caught.value.params["problems"]


def test_flag_beats_environment_beats_file_beats_default():
    file, on = "port: 1003\nhost: 10.0.0.3\nworker_port: 1004", machine(GPUSTACK_PORT="1002")
    found = find({"port": "1001"}, file, on)
    assert found.settings.server.port == 1001
    assert found.origins["port"] == "flag --port"
    found = find({}, file, on)
    assert found.settings.server.port == 1002
    assert found.origins["port"] == "environment GPUSTACK_PORT"
    assert found.settings.server.host == "10.0.0.3"
    assert found.origins["host"] == "file x.yaml:2"
    assert found.settings.worker.metrics_port == 10151
    assert found.origins["metrics_port"] == "default"


def test_an_empty_variable_and_an_empty_key_say_nothing():
    found = find({}, "port:", machine(GPUSTACK_HOST=" "))
    assert (found.settings.server.port, found.settings.server.host) == (80, "0.0.0.0")


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("1", True), ("YES", True), ("false", False), ("0", False)]
)
def test_switches_as_text(text, value):
    assert find({}, on=machine(GPUSTACK_DEBUG=text)).settings.general.debug is value


def test_a_flag_turns_off_what_the_environment_turned_on():
    found = find({"disable_worker": "false"}, on=machine(GPUSTACK_DISABLE_WORKER="true"))
    assert found.settings.server.disable_worker is False


@pytest.mark.parametrize(
    ("flags", "environ", "expected"),
    [
        ({"ray_args": ["--a=1,2", "--b"]}, {}, ("--a=1,2", "--b")),
        ({"ray_args": '["x y", "z"]'}, {}, ("x y", "z")),
        ({}, {"GPUSTACK_RAY_ARGS": '["x y", "z"]'}, ("x y", "z")),
        ({}, {"GPUSTACK_RAY_ARGS": "--a=1,2 '--b c'"}, ("--a=1,2", "--b c")),
    ],
)
def test_lists_of_words(flags, environ, expected):
    assert find(flags, on=machine(**environ)).settings.ray.ray_args == expected


def test_lists_in_the_environment_are_separated_by_commas():
    on = machine(GPUSTACK_ALLOW_ORIGINS="https://a.example, https://b.example")
    assert find({}, on=on).settings.server.allow_origins == (
        "https://a.example",
        "https://b.example",
    )


def test_variables_of_others_are_understood():
    found = find({}, on=machine(HF_TOKEN="hf_x", HF_ENDPOINT="https://mirror.example/"))
    assert found.settings.general.huggingface_token == "hf_x"
    assert found.settings.general.hf_endpoint == "https://mirror.example"


def test_what_follows_from_other_settings():
    found = find({"data_dir": "/srv/x"}).settings
    assert found.general.cache_dir == Path("/srv/x/cache")
    assert found.worker.log_dir == Path("/srv/x/log")
    assert found.server.database_url == "sqlite:////srv/x/database.db"
    assert found.server.port == 80
    tls = find({"ssl_keyfile": "/k", "ssl_certfile": "/c"}).settings
    assert (tls.server.port, tls.tls) == (443, True)


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        (machine(), "/var/lib/aimindserve"),
        (machine(root=False), "/home/ada/.local/share/aimindserve"),
        (machine(root=False, XDG_DATA_HOME="/x"), "/x/aimindserve"),
        (machine("darwin", root=False), "/home/ada/Library/Application Support/aimindserve"),
        (machine("win32", root=False, APPDATA="/roam"), "/roam/aimindserve"),
    ],
)
def test_data_goes_where_the_system_keeps_data(on, expected):
    assert default_data_dir(on) == Path(expected)


def test_reserved_memory_understands_old_names_and_parts():
    reserved = find({"system_reserved": '{"memory": 4}'}).settings.worker.system_reserved
    assert (reserved.ram_bytes, reserved.vram_bytes) == (4 * 1024**3, 1024**3)
    reserved = find({}, "system_reserved: {ram: 0.5, vram: 0}").settings.worker.system_reserved
    assert (reserved.ram_bytes, reserved.vram_bytes) == (512 * 1024**2, 0)


BAD = [
    ("port", "0", "1 to 65535"),
    ("port", "80a", "1 to 65535"),
    ("port", "70000", "1 to 65535"),
    ("debug", "maybe", "true or false"),
    ("service_port_range", "40063-40000", "the smaller first"),
    ("service_port_range", "40000", "two ports"),
    ("service_port_range", "0-5", "two ports"),
    ("server_url", "myserver", "http://"),
    ("server_url", "http://", "a host"),
    ("database_url", "oracle://x/y", "postgresql://"),
    ("system_reserved", '{"rams": 1}', "neither ram nor vram"),
    ("system_reserved", '{"ram": -1}', "from 0"),
    ("system_reserved", "[]", '{"ram": 2'),
    ("worker_name", "My Worker", "lower-case"),
    ("worker_ip", "300.1.1.1", "IP address"),
    ("gateway_processes", "0", "from 1 to 64"),
    ("saml_security", "{", "JSON"),
    ("token", "  ", "not empty"),
    ("allow_origins", "[1]", "list of texts"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), BAD)
def test_a_wrong_value_names_key_value_origin_and_what_is_allowed(key, value, allowed):
    [problem] = problems({key: value})
    assert problem["key"] == key
    assert problem["origin"] == f"flag --{key.replace('_', '-')}"
    assert problem["value"] == ("********" if key == "token" else value)
    assert allowed in problem["allowed"]


def test_all_mistakes_are_told_at_once():
    found = problems({"port": "x"}, "hots: y\nmetrics_port: 0", machine(GPUSTACK_DEBUG="perhaps"))
    assert [each["key"] for each in found] == ["hots", "debug", "port", "metrics_port"]
    assert "did you mean host?" in found[0]["allowed"]
    assert found[1]["origin"] == "environment GPUSTACK_DEBUG"
    assert found[3]["origin"] == "file x.yaml:2"


def test_an_unknown_keys_value_is_not_repeated():
    with pytest.raises(SettingsError) as caught:
        find({}, "tokn: hunter2")
    assert "hunter2" not in str(caught.value) + caught.value.hint + str(caught.value.params)


def test_of_a_database_url_only_the_password_is_hidden():
    [problem] = problems({"database_url": "oracle://ada:hunter2@db/x"})
    assert problem["value"] == "oracle://ada:********@db/x"


@pytest.mark.parametrize(
    ("given", "path"),
    [("x.db", "x.db"), ("data/x.db", "data/x.db"), ("/srv/x.db", "/srv/x.db")],
)
def test_a_database_file_is_where_the_command_was_run(given, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find({"database_url": f"sqlite:///{given}"}).settings
    assert found.server.database_url == f"sqlite:///{(tmp_path / path).as_posix()}"


def test_kubernetes_service_variables_are_explained():
    [problem] = problems(on=machine(GPUSTACK_PORT="tcp://10.0.0.1:80"))
    assert "enableServiceLinks" in problem["allowed"]


CONTRADICTIONS = [
    ({"server_url": "http://x"}, "token"),
    ({"server_url": "http://x", "token": "t", "disable_worker": "true"}, "disable_worker"),
    ({"ssl_keyfile": "/k"}, "ssl_keyfile"),
    ({"ssl_certfile": "/c"}, "ssl_certfile"),
    ({"enable_cors": "true", "allow_credentials": "true"}, "allow_credentials"),
    ({"port": "10150"}, "worker_port"),
    ({"port": "40001"}, "port"),
    ({"metrics_port": "80"}, "metrics_port"),
    ({"rpc_server_port_range": "40063-40070"}, "rpc_server_port_range"),
]


@pytest.mark.parametrize(("flags", "key"), CONTRADICTIONS)
def test_contradictions_are_refused(flags, key):
    assert [problem["key"] for problem in problems(flags)] == [key]


SERVER = {"GPUSTACK_SERVER_URL": "http://gpu-01"}


def test_a_variable_that_makes_a_worker_by_surprise_is_explained():
    """Commands read it too: whoever set it for them is told how to run a server here."""
    [problem] = problems({}, on=machine(**SERVER))
    assert problem["key"] == "token"
    assert "unset GPUSTACK_SERVER_URL" in problem["allowed"]
    [problem] = problems({"server_url": "http://gpu-01"}, on=machine())
    assert "unset" not in problem["allowed"]


def test_flags_of_a_server_beside_that_variable_are_refused():
    on = machine(**SERVER, GPUSTACK_TOKEN="t")
    assert find({}, on=on).settings.worker_only
    found = problems({"port": "8080", "bootstrap_password": "secret-word"}, on=on)
    assert {each["key"] for each in found} == {"port", "bootstrap_password"}
    assert "secret-word" not in str(found)
    assert find({"server_url": "http://gpu-02", "port": "8080"}, on=on).settings.worker_only
    assert find({}, "port: 8080", on=on).settings.worker_only, "one file for all machines is fine"


def test_contradictions_end_where_the_parts_are_not_run():
    assert find({"port": "10150", "disable_worker": "true"}).settings.server.port == 10150
    cors = {"enable_cors": "true", "allow_credentials": "true", "allow_origins": ["https://a"]}
    assert find(cors).settings.server.allow_credentials


def test_ray_and_several_gateways_need_linux():
    flags = {"enable_ray": "true", "gateway_processes": "2"}
    found = problems(flags, on=machine("darwin"))
    assert [problem["key"] for problem in found] == ["enable_ray", "gateway_processes"]
    assert find(flags).settings.ray.enable_ray


def test_a_setting_that_does_nothing_yet_warns_when_somebody_relies_on_it():
    assert find({"enable_ray": "false", "ray_port": "6379"}).warnings == ()
    [warning] = find({"enable_ray": "true"}).warnings
    assert "enable_ray (flag --enable-ray)" in warning
    assert "not active yet" in warning


def test_a_variable_that_is_nearly_one_of_ours_is_pointed_out():
    [warning] = find({}, on=machine(GPUSTACK_DATADIR="/x", GPUSTACK_API_KEY="k")).warnings
    assert "GPUSTACK_DATADIR" in warning
    assert "GPUSTACK_DATA_DIR" in warning


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port: [", "x.yaml:"),
        ("- port", "must hold keys"),
        ("port: 1\nport: 2", "line 1 has it already"),
        ("port: !!python/object:os.system {}", "is not YAML"),
    ],
)
def test_a_broken_file_says_where(text, words):
    with pytest.raises(SettingsError, match=words):
        parse_file(text, "x.yaml")


def test_numbers_where_texts_belong_must_be_quoted():
    [problem] = problems({}, "bootstrap_password: 12345678")
    assert "quotes" in problem["allowed"]
    assert find({}, "bootstrap_password: '12345678'").settings.server.bootstrap_password


def test_hardware_by_hand_is_checked():
    good = """
resources:
  memory: {total: 1000, is_unified_memory: false}
  gpu_devices:
    - {name: RTX, vendor: nvidia, index: 0, memory: {total: 24}}
"""
    assert find({}, good).settings.worker.resources is not None
    for wrong, words in [
        ("{gpus: []}", "none of them"),
        ("{gpu_devices: [{name: a, vendor: x, index: 0, memory: {total: 1}}]}", "vendor"),
        ("{gpu_devices: [{name: a, vendor: amd, memory: {total: 1}}]}", "needs index"),
        ("{memory: {}}", "needs total"),
    ]:
        [problem] = problems({}, f"resources: {wrong}")
        assert words in problem["allowed"]


def test_every_declared_default_is_a_value_of_its_form():
    settings = find().settings
    for item in declared().values():
        assert hasattr(getattr(settings, item.section), item.name)


def test_hardware_written_down_by_hand_has_types_that_everybody_knows():
    assert set(VENDOR_TYPES.values()) <= set(DEVICE_TYPES)
