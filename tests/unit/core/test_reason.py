"""The catalogue of reasons: both languages, a fix, and braces that agree."""

import string

import pytest

from aimindserve.core.reason import CATALOGUE, Reason, render


def _braces(sentence: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(sentence) if field}


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_has_both_languages_and_a_fix(code: str) -> None:
    row = CATALOGUE[code]
    assert all((row.en, row.zh, row.fix_en, row.fix_zh))
    assert any("\u4e00" <= letter <= "\u9fff" for letter in row.zh), "the Chinese is not Chinese"
    assert (row.en[-1], row.zh[-1]) == (".", "。")


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_both_languages_name_the_same_values(code: str) -> None:
    row = CATALOGUE[code]
    assert _braces(row.zh) == _braces(row.en)
    assert _braces(row.fix_zh) <= _braces(row.fix_en) | _braces(row.en) | {"name", "worker"}


def test_a_reason_fills_its_sentence() -> None:
    reason = Reason(
        "no_fit_ram", {"worker": "w1", "need": "3 GiB", "free": "1 GiB", "total": "4 GiB"}
    )
    assert reason.message == "w1 has not enough free RAM: needs 3 GiB, 1 GiB is free of 4 GiB."
    assert "3 GiB" in render("no_fit_ram", reason.params, "zh")


def test_a_missing_value_or_unknown_code_never_raises() -> None:
    assert Reason("path_missing", {"path": "/x"}).message == "/x does not exist on ?."
    assert Reason("no-such-code").message == CATALOGUE["unknown"].en
