"""One refusal by many workers, in words of either language."""

import pytest

from aimindserve.core.reason import CATALOGUE, render
from aimindserve.core.tally import PHRASES, summed_up

GIB = 1024**3
PARAMS = {
    "name": "chat-1",
    "workers": 5,
    "counts": {"no_fit_ram": 3, "worker_not_ready": 2},
    "closest": "w1",
    "need_bytes": 8 * GIB,
    "free_bytes": 5 * GIB,
}


def test_the_sentence_is_in_one_language() -> None:
    assert render("no_fit", PARAMS, "en") == (
        "No worker can take this instance: 3 of 5 with too little free RAM; 2 of 5 not ready; "
        "the closest is w1, which has 5.0 GiB free of the 8.0 GiB needed."
    )
    assert render("no_fit", PARAMS, "zh") == (
        "没有工作节点可以运行该实例：5 个节点中 3 个空闲内存不足；5 个节点中 2 个尚未就绪；"
        "最接近的是 w1，空闲 5.0 GiB，需要 8.0 GiB。"
    )


def test_nothing_counted_means_that_there_is_no_way() -> None:
    assert summed_up({"counts": {}, "workers": 3}, "en") == "there is no way to run it"
    assert summed_up({}, "zh") == "没有可行的运行方式"


def test_a_reason_of_another_version_keeps_its_code() -> None:
    assert summed_up({"counts": {"no_such": 1}, "workers": 1}, "zh") == "1 个节点中 1 个no_such"


@pytest.mark.parametrize("code", sorted(PHRASES))
def test_every_phrase_belongs_to_a_reason_and_is_in_both_languages(code: str) -> None:
    assert code in CATALOGUE
    english, chinese = PHRASES[code]
    assert english.isascii()
    assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese)
