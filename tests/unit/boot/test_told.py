"""What of the children's output reaches the terminal."""

import json

import pytest

from aimindserve.boot.log_file import KEPT, LogFile
from aimindserve.boot.told import how_ended, told

WARNING = json.dumps({"event": "disk.low", "level": "warning", "free": "1 GiB", "part": "x"})


@pytest.mark.parametrize(
    ("line", "least", "shown"),
    [
        (WARNING, "warning", "disk.low free=1 GiB"),
        (WARNING, "error", ""),
        (json.dumps({"event": "a", "level": "info"}), "warning", ""),
        (json.dumps({"event": "a", "level": "info"}), "debug", "a"),
        (
            json.dumps({"event": "start.failed", "level": "error", "error": "No.", "hint": "Do."}),
            "error",
            "No. Do.",
        ),
        ("Traceback (most recent call last):", "error", "Traceback (most recent call last):"),
        ("{broken", "error", "{broken"),
    ],
)
def test_what_people_see(line, least, shown):
    assert told(line, least) == shown


def test_how_a_child_ended():
    assert how_ended(1) == "exit code 1"
    assert how_ended(-9) == "signal SIGKILL"
    assert how_ended(-250) == "signal 250"


def test_a_log_is_rotated_and_the_newest_are_kept(tmp_path):
    log = LogFile(tmp_path / "a.log", size_max_bytes=20)
    for number in range(20):
        log.write(b"line %04d\n" % number)
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["a.log", *(f"a.log.{number}" for number in range(1, KEPT + 1))]
    assert (tmp_path / "a.log").read_bytes() == b"line 0018\nline 0019\n"
    assert (tmp_path / "a.log.1").read_bytes() == b"line 0016\nline 0017\n"


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "a.log").mkdir()
    LogFile(tmp_path / "a.log").write(b"x\n")
