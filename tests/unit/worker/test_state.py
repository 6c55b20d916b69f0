import asyncio
import stat

import pytest

from aimindserve.core.errors import ConflictError
from aimindserve.core.launch import Probe
from aimindserve.worker.link import Identity
from aimindserve.worker.state import AgentState, KeptCourse, StateFile

IDENTITY = Identity("w1", "credential", "proxy-key")
COURSE = KeptCourse("id", "p1", 3, 2, alive=True, probe=Probe(path="/x"), grace_s=3.0)


def test_what_is_saved_is_loaded(tmp_path):
    first = StateFile(tmp_path)
    fresh = first.load()
    assert (fresh.identity, dict(fresh.courses)) == (None, {})
    assert len(fresh.machine_id) == 32
    state = AgentState(fresh.machine_id, IDENTITY, {"i1": COURSE})
    asyncio.run(first.save(state))
    assert StateFile(tmp_path).load() == state


def test_it_is_private(tmp_path):
    file = StateFile(tmp_path / "worker")
    asyncio.run(file.save(file.load()))
    for path in (tmp_path / "worker").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "worker").stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"machine_id": 5}', "\0" * 50])
def test_a_damaged_file_is_set_aside_and_the_machine_stays_the_same(tmp_path, damage):
    machine_id = StateFile(tmp_path).load().machine_id
    (tmp_path / "state.json").write_text(damage)
    state = StateFile(tmp_path).load()
    assert state == AgentState(machine_id)
    assert (tmp_path / "state.broken").read_text() == damage


def test_one_agent_at_a_time(tmp_path):
    first, second = StateFile(tmp_path), StateFile(tmp_path)
    first.lock()
    with pytest.raises(ConflictError) as caught:
        second.lock()
    assert str(tmp_path) in caught.value.message
    first.unlock()
    second.lock()
    second.unlock()
    second.unlock()


def test_secrets_do_not_print():
    assert "credential" not in repr(IDENTITY).replace("credential=", "")
    assert "proxy-key" not in repr(IDENTITY)
