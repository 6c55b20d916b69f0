"""Commands as processes: signals, pipes, and how quickly they load."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

GGUF = "/models/m.gguf"


def command(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "aimindserve", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def test_ctrl_c_while_waiting_stops_the_waiting_and_says_so(served):
    waiting = command("deploy", GGUF, "--name", "m", "--timeout", "60")
    deadline = time.monotonic() + 30
    while served.store.find("deployment", "m") is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    assert out == ""
    assert "m goes on" in err
    assert "Traceback" not in err
    assert served.store.find("deployment", "m") is not None


def test_a_closed_pipe_ends_quietly(served):
    from aimindserve.resources.user import UserSpec
    from aimindserve.store.base import Draft

    async def fill():
        for number in range(400):
            await served.store.create(Draft("user", f"u{number:03}", UserSpec()))

    served.do(fill())
    listing = command("users", "-o", "json")
    listing.stdout.read(20)
    listing.stdout.close()
    assert listing.wait(20) == 0
    assert listing.stderr.read() == ""
    listing.stderr.close()


@pytest.mark.parametrize(
    "words",
    [("config", "show"), ("config", "show", "-o", "json"), ("start", "--help"), ("--help",),
     ("version",), ("completion", "bash"), ("users",)],
    ids=" ".join,
)  # fmt: skip
def test_whoever_reads_nothing_at_all_ends_it_quietly(served, words):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "aimindserve", *words], stdout=write, stderr=subprocess.PIPE,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 0
    assert "Error" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_server_that_goes_away_while_waiting_is_waited_for(served):
    """The watch breaks and cannot be opened again: waiting still ends at its time."""
    assert served.run("deploy", GGUF, "--name", "m", "--no-wait", "-q") == 0
    timer = threading.Timer(1.0, lambda: setattr(served.server, "should_exit", True))
    timer.start()
    assert served.run("wait", "m", "--timeout", "3", "-q") == 7
    timer.join()
