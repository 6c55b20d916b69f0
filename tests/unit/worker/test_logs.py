import asyncio
import os
from pathlib import Path

import pytest

from aimindserve.core.errors import InvalidError
from aimindserve.worker.log_reader import Wish, past
from aimindserve.worker.logs import INSTANCES_KEPT, RunLogs, clean, last_lines, rotate


@pytest.fixture
def logs(tmp_path):
    return RunLogs(tmp_path / "runs", tmp_path / "serve", size_limit=1000)


def test_what_a_crash_left_is_swept_away_and_what_lives_is_not(logs, tmp_path):
    places = [logs.place(*run)[0] for run in (("a-1", 1), ("a-1", 2), ("b-1", 1), ("c-1", 7))]
    for folder in (*places, logs.home("a-1"), logs.home("b-1"), logs.home("c-1")):
        Path(folder).mkdir(parents=True)
    asyncio.run(logs.sweep([("a-1", 2)], ["a-1", "b-1"]))
    left = {str(path.relative_to(tmp_path / "runs")) for path in (tmp_path / "runs").rglob("*")}
    assert left == {"a-1", "a-1/2", "a-1/home", "b-1", "b-1/home"}


def write(logs, instance, run, text):
    path = Path(logs.place(instance, run)[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read(path, **wish):
    return asyncio.run(past(path, Wish(**wish))).decode()


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\0", "UPPER", "a" * 64])
def test_a_name_never_becomes_a_path(logs, name):
    with pytest.raises(InvalidError):
        logs.place(name, 1)
    with pytest.raises(InvalidError):
        logs.home(name)
    assert logs.runs(name) == []
    logs.drop_run(name, 1)
    asyncio.run(logs.forget(name))


def test_what_an_instance_keeps_stays_from_run_to_run_and_goes_with_it(logs, tmp_path):
    home, run_dir = Path(logs.home("i-1")), Path(logs.place("i-1", 1)[0])
    for folder in (home, run_dir):
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
    logs.drop_run("i-1", 1)
    assert (home / "file").exists()
    assert not run_dir.exists()
    log = write(logs, "i-1", 1, "why it ended")
    asyncio.run(logs.forget("i-1"))
    assert list((tmp_path / "runs").iterdir()) == []
    assert log.exists(), "logs outlive their instance for a while"
    asyncio.run(logs.forget("i-1"))


def test_the_engine_writes_on_at_the_new_beginning(tmp_path):
    """The whole reason for appending: after the cut no hole is left."""
    path = tmp_path / "1.log"
    engine = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(engine, b"old\n" * 100)
    assert rotate(path, 399)
    os.write(engine, b"new\n")
    os.close(engine)
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "1.log.1").read_bytes() == b"old\n" * 100


def test_three_files_are_kept(tmp_path):
    path = tmp_path / "1.log"
    for number in range(5):
        path.write_text(f"{number}\n" * 10)
        assert rotate(path, 10)
    path.write_text("last\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.log", "1.log.1", "1.log.2"]
    assert (tmp_path / "1.log.2").read_text().startswith("3")
    assert not rotate(path, 10)


def test_five_runs_are_kept(logs):
    for run in range(1, 9):
        write(logs, "i1", run, "x")
    write(logs, "i1", 3, "x").with_suffix(".log.1").write_text("x")
    asyncio.run(logs.tidy([("i1", 8)]))
    assert list(logs.runs("i1")) == [4, 5, 6, 7, 8]


def test_logs_of_instances_long_gone_go(logs):
    for number in range(INSTANCES_KEPT + 3):
        path = write(logs, f"i{number}", 1, "x")
        os.utime(path.parent, (number, number))
    asyncio.run(logs.tidy([("i0", 1)]))
    left = [n for n in range(INSTANCES_KEPT + 3) if logs.runs(f"i{n}")]
    assert left == [0, *range(3, INSTANCES_KEPT + 3)]


def test_tidying_rotates_what_lives(logs):
    path = write(logs, "i1", 1, "x" * 1001)
    asyncio.run(logs.tidy([("i1", 1)]))
    assert path.stat().st_size == 0


def test_lines_are_clean():
    assert clean(b"\x1b[31mred\x1b[0m\n10%\r50%\r100%\r\nbell\x07\n\xff\n\n") == [
        "red",
        "100%",
        "bell",
        "�",
    ]


def test_the_end_of_a_long_log(tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(f"line {number}\n" for number in range(50_000)))
    assert last_lines(path, 2) == ["line 49998", "line 49999"]
    assert last_lines(path, 0) == []
    assert last_lines(tmp_path / "none", 5) == []


def test_the_past_reaches_into_rotated_files(tmp_path):
    path = tmp_path / "1.log"
    (tmp_path / "1.log.1").write_text("a\nb\n")
    path.write_text("c\nd")
    assert read(path, tail=10) == "a\nb\nc\nd\n"
    assert read(path, tail=3) == "b\nc\nd\n"
    assert read(path, tail=1) == "d\n"
    assert read(path, tail=0) == ""


def test_the_past_with_a_word(tmp_path):
    path = tmp_path / "1.log"
    path.write_text("ok\nERROR one\nok\nerror two\n")
    assert read(path, text="Error") == "ERROR one\nerror two\n"
    assert read(path, text="error", tail=1) == "error two\n"
    assert read(path, text="zzz") == ""


def test_a_tail_longer_than_the_last_block(tmp_path):
    path = tmp_path / "1.log"
    path.write_text("".join(f"{number:030}\n" for number in range(9000)))
    lines = read(path, tail=5000).splitlines()
    assert (len(lines), int(lines[0]), int(lines[-1])) == (5000, 4000, 8999)
