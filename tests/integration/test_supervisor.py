"""The supervisor over real processes: what dies comes back, what stops stops in order."""

import os
import signal
import sys
import threading
import time

import psutil
import pytest

from aimindserve.boot.process import Command
from aimindserve.boot.supervisor import Role, Supervisor
from aimindserve.kit.clock import SystemClock

CHILD = """
import os, sys, time
name, journal, mode = sys.argv[1:4]
def note(word):
    with open(journal, "a") as file:
        file.write(f"{name} {word} {os.getpid()}\\n")
note("began")
if mode == "settings":
    print("no good", flush=True); sys.exit(2)
if mode == "refused":
    sys.exit(3)
print("\x1eready", flush=True)
for line in sys.stdin:
    note(line.strip())
    if mode == "slow" and line.strip() == "stop":
        continue
    if mode == "deaf":
        continue
    time.sleep(0.05)
    note("ended"); sys.exit(0)
note("orphaned")
"""


class Stage:
    """A supervisor in a thread, with children that keep a journal."""

    def __init__(self, folder, modes, *, limit_s=5.0):
        self.journal = folder / "journal"
        self.told = []
        self.folder = folder
        script = folder / "child.py"
        script.write_text(CHILD)
        roles = [
            Role(
                Command(
                    name, (sys.executable, str(script), name, str(self.journal), mode), folder, {}
                ),
                folder / f"{name}.log",
                stage,
                limit_s,
            )
            for stage, (name, mode) in enumerate(modes.items())
        ]
        self.up = threading.Event()
        self.supervisor = Supervisor(roles, SystemClock(), self.told.append, on_ready=self.up.set)
        self.code = None

    def lines(self):
        text = self.journal.read_text() if self.journal.exists() else ""
        return [line.split() for line in text.splitlines()]

    def words(self):
        return [(name, word) for name, word, _ in self.lines()]

    def pid(self, name):
        return [int(pid) for who, word, pid in self.lines() if (who, word) == (name, "began")][-1]

    def run(self, during):
        failures = []

        def act():
            try:
                assert self.up.wait(10), self.told
                during()
            except BaseException as error:  # noqa: BLE001 - handed to the test's thread
                failures.append(error)
            finally:
                self.supervisor.stop()

        thread = threading.Thread(target=act)
        thread.start()
        self.code = self.supervisor.run()
        thread.join()
        if failures:
            raise failures[0]


def until(check, what, within_s=5.0):
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_children_stop_one_stage_after_the_other(tmp_path):
    stage = Stage(tmp_path, {"first": "good", "second": "good"})
    stage.run(lambda: None)
    assert stage.code == 0
    after = [pair for pair in stage.words() if pair[1] != "began"]
    assert after == [("first", "stop"), ("first", "ended"), ("second", "stop"), ("second", "ended")]
    assert not any(psutil.pid_exists(stage.pid(name)) for name in ("first", "second"))


def test_a_child_that_dies_comes_back(tmp_path):
    stage = Stage(tmp_path, {"one": "good"})

    def during():
        before = stage.pid("one")
        os.kill(before, signal.SIGKILL)
        until(lambda: stage.pid("one") != before, "a new life")

    stage.run(during)
    assert any("signal SIGKILL" in line for line in stage.told)


def test_a_child_that_does_not_listen_is_killed(tmp_path):
    stage = Stage(tmp_path, {"deaf": "deaf", "good": "good"}, limit_s=0.3)
    stage.run(lambda: None)
    assert stage.code == 0
    assert not psutil.pid_exists(stage.pid("deaf"))
    assert ("good", "ended") in stage.words()


def test_a_second_stop_hurries(tmp_path):
    stage = Stage(tmp_path, {"slow": "slow"}, limit_s=60.0)
    began = time.monotonic()

    def during():
        stage.supervisor.stop()
        until(lambda: ("slow", "stop") in stage.words(), "the first order")

    stage.run(during)
    assert ("slow", "stop-now") in stage.words()
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(("mode", "code"), [("settings", 2), ("refused", 1)])
def test_a_child_that_can_never_work_ends_everything(tmp_path, mode, code):
    stage = Stage(tmp_path, {"bad": mode, "good": "good"})
    stage.code = stage.supervisor.run()
    assert stage.code == code
    assert not psutil.pid_exists(stage.pid("good"))


def test_output_goes_to_the_childs_log_and_what_matters_to_the_terminal(tmp_path):
    stage = Stage(tmp_path, {"bad": "settings"})
    stage.supervisor.run()
    assert (tmp_path / "bad.log").read_text() == "no good\n"
    assert "bad: no good" in stage.told


def test_children_notice_that_the_supervisor_died(tmp_path):
    program = tmp_path / "supervise.py"
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    program.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from aimindserve.boot.process import Command\n"
        "from aimindserve.boot.supervisor import Role, Supervisor\n"
        "from aimindserve.kit.clock import SystemClock\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"argv = (sys.executable, {str(script)!r}, 'one', {str(tmp_path / 'journal')!r}, 'good')\n"
        "role = Role(Command('one', argv, folder, {}), folder / 'one.log', 0, 5.0)\n"
        "Supervisor([role], SystemClock(), print).run()\n"
    )
    process = psutil.Popen([sys.executable, str(program)])
    stage = Stage(tmp_path, {})
    try:
        until(lambda: ("one", "began") in stage.words(), "the child", 10.0)
        child = psutil.Process(stage.pid("one"))
    finally:
        process.kill()
        process.wait(10)
    until(lambda: not child.is_running(), "the child's end")
    assert ("one", "orphaned") in stage.words()
