"""What help and messages promise is so."""

import re

import pytest

from aimindserve.boot.resolve import Sources, resolve
from aimindserve.boot.settings import Machine
from aimindserve.cli import app as cli
from aimindserve.cli._invocation import Invocation
from aimindserve.cli._model import _HUBS
from aimindserve.cli._output import _sorted
from aimindserve.cli._welcome import welcome
from aimindserve.core.happening import EVENTS, tell
from aimindserve.sources._all import sources


@pytest.fixture(params=["en_US.UTF-8", "zh_CN.UTF-8"])
def pages(request, monkeypatch, capsys):
    """The help of every command, in each language."""
    monkeypatch.setenv("GPUSTACK_LANG", request.param)
    told = {}
    for name in cli.command_names():
        assert cli.run([name, "--help"]) == 0
        told[name] = capsys.readouterr().out
    return told


HAN = re.compile(r"[\u4e00-\u9fff]")


def test_help_points_to_nothing_that_is_not_there(pages):
    for name, told in pages.items():
        assert not re.search(r"see below|见下文", told), name


def test_no_source_is_offered_from_which_nothing_is_fetched(pages):
    offered = {source for word, source in _HUBS.items() if re.search(rf"\b{word}:", str(pages))}
    offered |= {"ollama"} if re.search(r"\bollama:", str(pages)) else set()
    assert offered <= set(sources())


def test_ages_are_sorted_as_they_are_read():
    rows = [
        {"metadata": {"name": name, "created_at": f"2026-01-0{day}T00:00:00Z"}}
        for name, day in (("old", 1), ("new", 3), ("middle", 2))
    ]

    def names(sort):
        return [one["metadata"]["name"] for one in _sorted("deployment", list(rows), sort)]

    assert names("age") == names("存在时间") == ["new", "middle", "old"]
    assert names("-age") == ["old", "middle", "new"]
    assert names("metadata.created_at") == ["old", "middle", "new"]


def told_at(folder, host):
    flags = {"host": host, "port": "8080", "data_dir": str(folder)}
    lines = []
    settings = resolve(Sources(flags, [], Machine("linux", True, folder, {}))).settings
    welcome(settings, lines.append, "en")
    assert not HAN.search("".join(lines))
    chinese = []
    welcome(settings, chinese.append, "zh")
    assert len(chinese) == len(lines)
    assert all(HAN.search(line) for line in chinese)
    return "\n".join(lines)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.0.1.7"])
def test_nobody_is_told_to_join_a_server_that_listens_on_its_own_machine_alone(tmp_path, host):
    told = told_at(tmp_path, host)
    assert "--server-url" not in told
    assert f"cannot join: it listens on {host} alone" in told


def test_machines_join_at_the_address_that_is_listened_on(tmp_path):
    assert "--server-url http://192.0.2.9:8080 " in told_at(tmp_path, "192.0.2.9")
    assert "--server-url http://" in told_at(tmp_path, "0.0.0.0")


def test_events_are_sentences_whatever_the_count():
    told = tell("deployed", "", {"after": 1}, "en")
    assert told == "Wanted replicas: 1."
    for code, row in EVENTS.items():
        for text in (row.en, row.zh):
            assert text == "{why}" or text[-1] in ".。", code


def test_who_is_signed_in_nowhere_is_told_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("GPUSTACK_SERVER_URL", raising=False)
    assert cli.run(["logout"]) == 0
    assert capsys.readouterr().err == "Not signed in to any server.\n"
    assert Invocation(None, None, "text", quiet=False, language="zh").text("signed_in_nowhere")
