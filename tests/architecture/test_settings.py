"""Settings cannot drift: documents, flags, environment, YAML, `config show` and pages agree."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from aimindserve.boot.declared._setting import Form
from aimindserve.boot.file import parse_file
from aimindserve.boot.forms import parse, plain
from aimindserve.boot.reference import PAGES, example_file, page
from aimindserve.boot.resolve import Sources, resolve
from aimindserve.boot.settings import Machine, declared, value_of
from aimindserve.cli import app
from aimindserve.cli.start import COMMAND as START

ROOT = Path(__file__).resolve().parents[2]
MACHINE = Machine("linux", True, Path("/root"), {})

PROMISED = [
    "config-file",
    "debug",
    "data-dir",
    "cache-dir",
    "token",
    "huggingface-token",
    "ollama-library-base-url",
    "enable-ray",
    "ray-args",
    "host",
    "port",
    "disable-worker",
    "bootstrap-password",
    "database-url",
    "ssl-keyfile",
    "ssl-certfile",
    "force-auth-localhost",
    "disable-update-check",
    "disable-openapi-docs",
    "model-catalog-file",
    "ray-port",
    "ray-client-server-port",
    "enable_cors",
    "allow-origins",
    "allow-credentials",
    "allow-methods",
    "allow-headers",
    "server-url",
    "worker-name",
    "worker-ip",
    "disable-metrics",
    "disable-rpc-servers",
    "metrics-port",
    "worker-port",
    "service-port-range",
    "rpc-server-port-range",
    "ray-node-manager-port",
    "ray-object-manager-port",
    "ray-worker-port-range",
    "log-dir",
    "rpc-server-args",
    "system-reserved",
    "tools-download-base-url",
    "enable-hf-transfer",
    "ray-dashboard-port",
    "ray-runtime-env-agent-port",
    "ray-dashboard-agent-grpc-port",
    "ray-dashboard-agent-listen-port",
    "ray-metrics-export-port",
    "bin-dir",
    "pipx-path",
    "enable-hf-xet",
    "enable-cors",
    "update-check-url",
    "external-auth-name",
    "external-auth-full-name",
    "external-auth-avatar-url",
    "oidc-issuer",
    "oidc-client-id",
    "oidc-client-secret",
    "oidc-redirect-uri",
    "saml-idp-server-url",
    "saml-idp-entity-id",
    "saml-idp-x509-cert",
    "saml-sp-entity-id",
    "saml-sp-acs-url",
    "saml-sp-x509-cert",
    "saml-sp-private-key",
    "saml-sp-attribute-prefix",
    "saml-security",
]
"""Every flag of the product's documents."""

DEFAULTS = {
    "port": "80",
    "metrics_port": "10151",
    "worker_port": "10150",
    "server_metrics_port": "10161",
    "service_port_range": "40000-40063",
    "rpc_server_port_range": "40064-40095",
    "ray_port": "40096",
    "ray_client_server_port": "40097",
    "ray_node_manager_port": "40098",
    "ray_object_manager_port": "40099",
    "ray_runtime_env_agent_port": "40100",
    "ray_dashboard_agent_grpc_port": "40101",
    "ray_metrics_export_port": "40103",
    "ray_dashboard_agent_listen_port": "52365",
    "ray_dashboard_port": "8265",
    "ray_worker_port_range": "40200-40999",
    "host": "0.0.0.0",
    "ollama_library_base_url": "https://registry.ollama.ai",
    "system_reserved": "{'ram': 2.0, 'vram': 1.0}",
    "allow_methods": "['GET', 'POST']",
}


def start_flags():
    return {name for option in START.params for name in option.opts}


def test_every_promised_flag_is_there():
    missing = [f"--{name}" for name in PROMISED if f"--{name}" not in start_flags()]
    assert not missing
    assert {"-d", "-t", "-s"} <= start_flags()


def test_defaults_are_those_of_the_documents():
    settings = resolve(Sources({}, [], MACHINE)).settings
    found = {name: str(plain(value_of(settings, declared()[name]))) for name in DEFAULTS}
    assert found == DEFAULTS


@pytest.mark.parametrize("name", list(declared()))
def test_a_setting_has_all_its_names_and_texts_in_both_languages(name):
    item = declared()[name]
    assert item.setting.help.endswith(".") or "." in item.setting.help
    assert re.search(r"[一-鿿]", item.setting.help_zh)
    assert item.setting.file_only or item.flag in start_flags()
    assert item.setting.file_only or re.fullmatch(r"GPUSTACK_[A-Z0-9_]+|HF_[A-Z]+", item.env)


@pytest.mark.parametrize("name", list(declared()))
def test_a_value_survives_being_written_and_read(name):
    item = declared()[name]
    if item.default is not None:
        assert parse(item.setting, plain(item.default)) == item.default


@pytest.mark.parametrize("language", list(PAGES))
def test_the_reference_page_is_as_declared(language):
    written = (ROOT / "docs" / PAGES[language]).read_text(encoding="utf-8")
    assert written == page(language), "run `make docs`"


def test_the_example_file_is_accepted_and_complete():
    text = example_file()
    keys = set(yaml.safe_load(text))
    assert keys == {name for name, item in declared().items() if not item.setting.no_file}
    found = resolve(Sources({}, parse_file(text, "example.yaml"), MACHINE))
    assert found.settings.worker.worker_name == "myworker"


def test_config_show_lists_every_setting():
    done = subprocess.run(
        [sys.executable, "-m", "aimindserve", "config", "show", "--token", "hunter2", "-o", "yaml"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert "hunter2" not in done.stdout
    for name, item in declared().items():
        if item.default is not None and item.setting.form is not Form.OBJECT:
            assert f"{name}:" in done.stdout


def test_commands_have_a_first_line_and_export_a_command():
    for name in app.command_names():
        assert len(app.short_help(name)) > 10, f"cli/{name}.py needs a docstring's first line"
        assert isinstance(app.load(name), click.Command)


def test_the_version_is_told_without_loading_anything():
    code = (
        "import sys; sys.argv = ['aimindserve', '--version']\n"
        "from aimindserve.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: print(len(sys.modules), 'click' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, click_loaded = done.stdout.split()[-2:]
    assert int(count) < 120
    assert click_loaded == "False"


def tracked_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("this is not a checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


FOREIGN = re.compile(
    rb"(?i)\b(?:"
    + rb"|".join(
        part.replace(b"_", rb"\.")
        for part in (
            b"pypi_org", b"files_pythonhosted_org", b"pythonhosted_org", b"registry_npmjs_org",
            b"mirrors_aliyun_com", b"pypi_tuna_tsinghua_edu_cn", b"index_crates_io",
        )
    )
    + rb")\b|file://" + rb"/opt|(?<![\w./-])/(?:work|opt/pypi|opt/wheels)/|/tmp/" + rb"w/"
)  # fmt: skip
"""Hosts of package registries, and paths of somebody's machine: neither belongs in a file."""


def test_no_file_names_a_package_registry_or_somebodys_machine():
    found = []
    for path in tracked_files():
        if path == Path(__file__) or not path.is_file():
            continue
        match = FOREIGN.search(path.read_bytes())
        if match:
            found.append(f"{path.relative_to(ROOT)}: {match.group().decode()}")
    assert not found
