"""What every runtime promises, on a clock that passes for real for real processes."""

import ast
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from aimindserve.core.errors import AimsError
from aimindserve.core.launch import LaunchSpec
from aimindserve.kit.clock import SystemClock
from aimindserve.runtimes._all import runtimes
from aimindserve.runtimes.base import Exited, Running, RunPlace
from aimindserve.runtimes.fake import Script

LINES = "import sys, time; print('hello', flush=True); time.sleep(600)"
XDG = [f"XDG_{name}" for name in ("CACHE_HOME", "CONFIG_HOME", "DATA_HOME", "STATE_HOME")]
XDG.append("XDG_RUNTIME_DIR")
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('hello', flush=True)
time.sleep(600)
"""
FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, '-c', 'import time; time.sleep(600)']
plain = subprocess.Popen(sleep)
daemon = subprocess.Popen(sleep, start_new_session=True)
bare = subprocess.Popen(sleep, env={'PATH': os.environ['PATH']})
print('family', plain.pid, daemon.pid, bare.pid, flush=True)
time.sleep(600)
"""


def play(spec, _place):
    """The fake runtime reads its script out of the same programs."""
    source = spec.argv[-1]
    if spec.argv[0] == "/no/such/program":
        return Script(start_error="/no/such/program: no such file")
    if "SystemExit" in source:
        return Script(exit_after_s=0.0, exit_code=3)
    return Script(stop_s=0.05)


@pytest.fixture(params=["process", "fake"])
def make(request, tmp_path):
    clock = SystemClock()
    kept = {}

    def build():
        """As another agent would, after the one before it died."""
        if request.param == "fake":
            runtime = kept.setdefault("fake", runtimes()["fake"](tmp_path / "root", clock))
            runtime.play = play
            return runtime
        return runtimes()["process"](tmp_path / "root", clock)

    yield build
    kill_marked(tmp_path)


def kill_marked(tmp_path):
    """Whatever a failed test left behind."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(tmp_path) in process.environ().get("AIMS_TEST_ROOT", ""):
                process.kill()


@pytest.fixture
def place(tmp_path):
    return RunPlace(
        "i1", "id-1", "p1", 0, 1, str(tmp_path / "run" / "1"), str(tmp_path / "log" / "1.log"), "s"
    )


@pytest.fixture
def program(tmp_path):
    def build(source, **changes):
        env = (("AIMS_TEST_ROOT", str(tmp_path)), *changes.pop("env", ()))
        return LaunchSpec((sys.executable, "-c", source), env=env, port=40000, **changes)

    return build


async def until(condition, limit_s=10.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "never became so"
        await asyncio.sleep(0.01)


async def ended(runtime, handle, limit_s=10.0):
    deadline = time.monotonic() + limit_s
    while isinstance(seen := await runtime.observe(handle), Running):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return seen


def log_of(place):
    path = Path(place.log_path)
    return path.read_text() if path.exists() else ""


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# Every runtime


def test_start_observe_stop(make, place, program):
    async def main():
        runtime = make()
        handle = await runtime.start(program(LINES), place)
        assert (handle.instance, handle.placement_id, handle.run) == ("i1", "p1", 1)
        assert (handle.port, handle.secret, handle.log_path) == (40000, "s", place.log_path)
        assert handle.pid > 0
        assert isinstance(await runtime.observe(handle), Running)
        await runtime.stop(handle, 5.0)
        assert isinstance(await runtime.observe(handle), Exited)
        await runtime.stop(handle, 5.0)

    asyncio.run(main())


def test_every_start_has_its_own_token(make, place, program):
    async def main():
        runtime = make()
        handles = [await runtime.start(program(LINES), replace(place, run=n)) for n in (1, 2)]
        assert handles[0].token != handles[1].token
        await runtime.stop(handles[0], 1.0)
        assert isinstance(await runtime.observe(handles[1]), Running)
        await runtime.stop(handles[1], 1.0)

    asyncio.run(main())


def test_what_cannot_be_started_says_so(make, place):
    async def main():
        runtime = make()
        with pytest.raises(AimsError) as caught:
            await runtime.start(LaunchSpec(("/no/such/program", "x")), place)
        assert "/no/such/program" in caught.value.message
        assert list(await runtime.recover()) == []

    asyncio.run(main())


def test_an_exit_code_is_seen(make, place, program):
    async def main():
        runtime = make()
        handle = await runtime.start(program("raise SystemExit(3)"), place)
        assert await ended(runtime, handle) == Exited(code=3)
        await runtime.stop(handle, 1.0)

    asyncio.run(main())


def test_another_agent_finds_and_ends_what_runs(make, place, program):
    async def main():
        started = await make().start(program(LINES), place)
        runtime = make()
        assert list(await runtime.recover()) == [started]
        assert isinstance(await runtime.observe(started), Running)
        await runtime.stop(started, 5.0)
        assert list(await runtime.recover()) == []
        assert isinstance(await runtime.observe(started), Exited)

    asyncio.run(main())


# Real processes


@pytest.fixture
def real(tmp_path):
    clock = SystemClock()
    yield lambda: runtimes()["process"](tmp_path / "root", clock)
    kill_marked(tmp_path)


def test_the_environment_is_nothing_but_what_is_named(real, place, program, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "x")
    monkeypatch.setenv("HTTPS_PROXY", "x")
    monkeypatch.setenv("PYTHONPATH", "/tmp")
    source = "import os; print(sorted(os.environ)); print(os.getsid(0) == os.getpid())"

    async def main():
        runtime = real()
        handle = await runtime.start(program(source, env=(("A", "1"),)), place)
        await ended(runtime, handle)
        names, leads = log_of(place).splitlines()[:2]
        places = {"HOME", "TMPDIR", "TMP", "TEMP", *XDG}
        allowed = {"PATH", "LANG", "A", "AIMS_TEST_ROOT", "AIMS_RUN_TOKEN", "AIMS_MARK", *places}
        assert set(ast.literal_eval(names)) - {"LC_CTYPE", "PYTHONUSERBASE"} == allowed
        assert leads == "True"
        await runtime.stop(handle, 1.0)

    asyncio.run(main())


INHERITED = {
    "LD_LIBRARY_PATH": "/opt/vendor/lib",
    "CUDA_HOME": "/opt/cuda",
    "CUDA_VISIBLE_DEVICES": "7",
    "GPUSTACK_TOKEN": "join",
    "AWS_SECRET_ACCESS_KEY": "x",
    "HF_TOKEN": "x",
    "LD_PRELOAD": "x",
    "HOME": "/root",
    "XDG_CACHE_HOME": "/root/.cache",
    "TMPDIR": "/tmp",
    "PATH": os.environ["PATH"],
}


def test_of_the_agents_environment_only_the_allow_list_is_passed_on(tmp_path, place, program):
    source = "import os, json; print(json.dumps(dict(os.environ)))"

    async def main():
        runtime = runtimes()["process"](tmp_path / "root", SystemClock(), INHERITED)
        home = tmp_path / "home"
        handle = await runtime.start(program(source), replace(place, home_dir=str(home)))
        await ended(runtime, handle)
        seen = json.loads(log_of(place).splitlines()[0])
        kept = {name: seen.get(name) for name in INHERITED}
        assert kept == {
            **dict.fromkeys(INHERITED),
            **{n: INHERITED[n] for n in ("LD_LIBRARY_PATH", "CUDA_HOME", "PATH")},
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "TMPDIR": seen["TMP"],
        }
        assert len(seen["TMPDIR"]) < 70
        await runtime.stop(handle, 1.0)

    asyncio.run(main())
    kill_marked(tmp_path)


PLACES = """
import os, pathlib, tempfile
for name in ('HOME', 'XDG_CACHE_HOME', 'TMPDIR'):
    place = pathlib.Path(os.environ[name])
    place.mkdir(parents=True, exist_ok=True)
    (place / 'mine').write_text('x')
    (place / 'folder').mkdir(exist_ok=True)
assert tempfile.gettempdir() == os.environ['TMPDIR']
print('written', os.environ['TMPDIR'], flush=True)
import time; time.sleep(600)
"""


def test_what_it_writes_is_private_and_its_temporary_files_go_with_it(
    real, place, program, tmp_path
):
    async def main():
        runtime = real()
        home = tmp_path / "runs" / "home"
        await runtime.start(program(PLACES), replace(place, home_dir=str(home)))
        await until(lambda: "written" in log_of(place))
        scratch = Path(log_of(place).split()[1])
        for folder in (home, scratch):
            assert folder.stat().st_mode & 0o777 == 0o700
            assert (folder / "mine").stat().st_mode & 0o777 == 0o600
            assert (folder / "folder").stat().st_mode & 0o777 == 0o700
        # Another agent ends it: what this one knew is not needed.
        other = real()
        (found,) = await other.recover()
        await other.stop(found, 1.0)
        assert not scratch.exists()
        assert (home / ".cache" / "mine").exists(), "the next run of the instance finds it again"

    asyncio.run(main())


def test_temporary_files_of_a_process_that_died_alone_go_with_the_next_agent(
    real, place, program, tmp_path
):
    async def main():
        handle = await real().start(program(PLACES), place)
        await until(lambda: "written" in log_of(place))
        scratch = Path(log_of(place).split()[1])
        os.kill(handle.pid, signal.SIGKILL)
        os.waitpid(handle.pid, 0)
        assert list(await real().recover()) == []
        assert not scratch.exists()

    asyncio.run(main())


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux offers it")


@linux_only
def test_neither_it_nor_its_children_can_gain_privileges_or_leave_a_core(real, place, program):
    """As the kernel tells it, of the engine and of what it starts."""
    source = """
import subprocess, sys
status = 'import re; t = open("/proc/self/status").read() + open("/proc/self/limits").read(); '
status += 'print(*re.findall(r"NoNewPrivs:.(.)|Umask:.(....)|Max core file size +(\\S+ +\\S+)", t))'
subprocess.run([sys.executable, '-c', status])
print('told', flush=True)
"""

    async def main():
        runtime = real()
        handle = await runtime.start(program(source), place)
        await ended(runtime, handle)
        said = log_of(place)
        assert "'1'" in said, said
        assert "'0077'" in said, said
        assert re.search(r"'0 +0'", said), said
        await runtime.stop(handle, 1.0)

    asyncio.run(main())
    own = Path("/proc/self/status").read_text()
    assert "NoNewPrivs:\t0" in own, "the agent itself keeps what it has"


def test_standard_input_is_empty_and_the_log_is_private(real, place, program):
    async def main():
        runtime = real()
        source = "import sys; print(repr(sys.stdin.read())); print('err', file=sys.stderr)"
        handle = await runtime.start(program(source), place)
        await ended(runtime, handle)
        assert sorted(log_of(place).splitlines()) == ["''", "err"]
        assert Path(place.log_path).stat().st_mode & 0o777 == 0o600
        await runtime.stop(handle, 1.0)

    asyncio.run(main())


def test_files_are_private_and_the_secret_is_in_no_argument(real, place, program):
    async def main():
        runtime = real()
        spec = program(LINES, files=(("engine.json", "top-secret"),))
        handle = await runtime.start(spec, place)
        path = Path(place.run_dir) / "engine.json"
        assert path.read_text() == "top-secret"
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        words = psutil.Process(handle.pid).cmdline()
        assert not any(handle.token in word for word in words)
        await runtime.stop(handle, 1.0)

    asyncio.run(main())


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "/etc/x"])
def test_a_file_stays_in_its_run_directory(real, place, program, name):
    async def main():
        runtime = real()
        with pytest.raises(AimsError):
            await runtime.start(program(LINES, files=((name, "x"),)), place)
        assert list(await runtime.recover()) == []

    asyncio.run(main())


def test_a_signal_from_outside_is_seen(real, place, program):
    async def main():
        runtime = real()
        handle = await runtime.start(program(LINES), place)
        os.kill(handle.pid, signal.SIGKILL)
        assert await ended(runtime, handle) == Exited(signal="SIGKILL")
        await runtime.stop(handle, 1.0)
        assert not psutil.pid_exists(handle.pid)

    asyncio.run(main())


def test_who_ignores_a_polite_stop_is_killed(real, place, program):
    async def main():
        runtime = real()
        handle = await runtime.start(program(STUBBORN), place)
        await until(lambda: "hello" in log_of(place))
        began = time.monotonic()
        await runtime.stop(handle, 0.3)
        assert 0.3 <= time.monotonic() - began < 5
        assert not alive(handle.pid)

    asyncio.run(main())


def test_a_frozen_process_is_killed_too(real, place, program):
    async def main():
        runtime = real()
        handle = await runtime.start(program(LINES), place)
        os.kill(handle.pid, signal.SIGSTOP)
        await runtime.stop(handle, 0.2)
        assert not alive(handle.pid)

    asyncio.run(main())


@pytest.mark.parametrize("leader", ["alive", "killed", "killed, new agent"])
def test_the_whole_tree_ends(real, place, program, leader):
    """Also a daemon with its own session, and what is left when the engine itself was killed."""

    async def main():
        runtime = real()
        handle = await runtime.start(program(FAMILY), place)
        await until(lambda: "family" in log_of(place))
        pids = [int(word) for word in log_of(place).split()[1:4]]
        known = pids if leader == "alive" else pids[:2]
        if leader != "alive":
            os.kill(handle.pid, signal.SIGKILL)
            await ended(runtime, handle)
        if leader == "killed, new agent":
            runtime = real()
            assert [one.token for one in await runtime.recover()] == [handle.token]
        await runtime.stop(handle, 1.0)
        await until(lambda: not any(alive(pid) for pid in known))
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    asyncio.run(main())


def test_a_process_whose_record_was_never_completed_is_found(real, place, program, tmp_path):
    """The agent died between the start and writing down the pid."""

    async def main():
        started = await real().start(program(LINES), place)
        (record,) = (tmp_path / "root" / "processes").iterdir()
        import json

        document = json.loads(record.read_text())
        document["birth"] = None
        document["handle"]["pid"] = 0
        record.write_text(json.dumps(document))
        runtime = real()
        (found,) = await runtime.recover()
        assert (found.pid, found.token, found.instance) == (started.pid, started.token, "i1")
        await runtime.stop(found, 1.0)
        assert not alive(started.pid)
        os.waitpid(started.pid, os.WNOHANG) if psutil.pid_exists(started.pid) else None

    asyncio.run(main())


@pytest.mark.parametrize("damage", ["lost", "broken"])
def test_a_process_with_our_mark_and_no_record_is_found(real, place, program, tmp_path, damage):
    async def main():
        started = await real().start(program(LINES), place)
        (record,) = (tmp_path / "root" / "processes").iterdir()
        record.unlink() if damage == "lost" else record.write_text("{")
        runtime = real()
        (stray,) = await runtime.recover()
        assert (stray.instance, stray.pid) == ("", started.pid)
        await runtime.stop(stray, 1.0)
        assert not alive(started.pid)

    asyncio.run(main())


def test_a_record_of_a_process_that_never_was_is_dropped(real, place, program, tmp_path):
    async def main():
        runtime = real()
        handle = await runtime.start(program(LINES), place)
        await runtime.stop(handle, 1.0)
        assert list((tmp_path / "root" / "processes").iterdir()) == []

    asyncio.run(main())


def test_a_later_owner_of_the_pid_is_never_touched(real, place, program, tmp_path):
    """The record names a pid that now belongs to somebody else."""

    async def main():
        import json
        import subprocess

        stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        # Start times are told in ticks of 10 ms; no pid is used again within one.
        await asyncio.sleep(0.05)
        started = await real().start(program(LINES), place)
        (record,) = (tmp_path / "root" / "processes").iterdir()
        document = json.loads(record.read_text())
        await real().stop(started, 1.0)
        document["birth"]["pid"] = document["handle"]["pid"] = stranger.pid
        record.write_text(json.dumps(document))
        runtime = real()
        wrong = replace(started, pid=stranger.pid)
        assert isinstance(await runtime.observe(wrong), Exited)
        await runtime.stop(wrong, 0.1)
        assert stranger.poll() is None
        assert list(await runtime.recover()) == []
        stranger.kill()
        stranger.wait()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(started.pid, 0)

    asyncio.run(main())


def test_another_agents_engines_are_not_ours(real, place, program, tmp_path):
    async def main():
        mine = real()
        handle = await mine.start(program(LINES), place)
        other = runtimes()["process"](tmp_path / "elsewhere", SystemClock())
        assert list(await other.recover()) == []
        await mine.stop(handle, 1.0)

    asyncio.run(main())


def test_a_start_that_is_cancelled_leaves_no_unknown_process(real, place, program):
    async def main():
        runtime = real()
        task = asyncio.ensure_future(runtime.start(program(LINES), place))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for handle in await runtime.recover():
            assert handle.instance == "i1"
            await runtime.stop(handle, 1.0)
        assert list(await runtime.recover()) == []

    asyncio.run(main())


def test_the_memory_of_the_whole_tree_is_measured(real, place, program):
    async def main():
        runtime = real()
        handle = await runtime.start(program(FAMILY), place)
        await until(lambda: "family" in log_of(place))
        seen = await real().observe(handle)
        assert seen.rss_bytes > 4 * 5_000_000
        assert runtime.owns(handle, int(log_of(place).split()[1]))
        assert not runtime.owns(handle, os.getpid())
        await runtime.stop(handle, 1.0)
        for pid in log_of(place).split()[1:4]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    asyncio.run(main())


def test_every_runtime_is_tested_here():
    assert set(runtimes()) == {"process", "fake"}
