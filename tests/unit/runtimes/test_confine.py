"""What an engine finds around itself, as values."""

import os
import site
from pathlib import Path

import pytest

from aimindserve.runtimes._confine import environment, scratch_dir

TOKEN = "a1b2c3d4e5f6g7h8"
HOME, SCRATCH = Path("/d/home"), Path("/d/tmp")


def test_secrets_and_code_of_the_agents_environment_stay_with_the_agent():
    agent = {
        "PATH": "/bin",
        "LD_LIBRARY_PATH": "/opt/lib",
        **dict.fromkeys(("GPUSTACK_TOKEN", "HF_TOKEN", "HTTPS_PROXY", "LD_PRELOAD"), "x"),
        **dict.fromkeys(("PYTHONPATH", "CUDA_VISIBLE_DEVICES", "SSH_AUTH_SOCK"), "x"),
    }
    found = environment(agent, HOME, SCRATCH)
    assert {name: value for name, value in found.items() if value in agent.values()} == {
        "PATH": "/bin",
        "LD_LIBRARY_PATH": "/opt/lib",
    }


def test_every_place_is_its_own():
    found = environment({"HOME": "/root", "TMPDIR": "/tmp"}, HOME, SCRATCH)
    places = {name: value for name, value in found.items() if name != "PYTHONUSERBASE"}
    assert places
    assert all(value.startswith("/d/") for value in places.values()), places


@pytest.mark.parametrize("enabled", [True, False])
def test_packages_installed_for_the_user_are_found_although_home_is_another(monkeypatch, enabled):
    monkeypatch.setattr(site, "ENABLE_USER_SITE", enabled)
    found = environment({}, HOME, SCRATCH)
    assert found.get("PYTHONUSERBASE") == (site.getuserbase() if enabled else None)


@pytest.mark.skipif(os.name == "nt", reason="there are no sockets with paths")
def test_sockets_fit_however_long_the_data_directory():
    short, long = scratch_dir(Path("/var/lib/x"), TOKEN), scratch_dir(Path("/" + "x" * 90), TOKEN)
    assert short == Path("/var/lib/x/tmp/a1b2c3d4e5f6")
    assert long.name == "aims-a1b2c3d4e5f6"
    # What Python's multiprocessing, and ZeroMQ in vLLM, make there; unix(7) allows 107.
    assert all(len(f"{each}/{'u' * 36}") <= 107 for each in (short, long))
