"""What we say vLLM needs, against what vLLM said of itself, and against what we said before."""

import pytest

from aimindserve.formats.vllm_memory import GIB, LIBRARY_BYTES
from golden.vllm import pricing

WEIGHTS = [entry for entry in pricing.PUBLISHED if entry["what"] == "weights"]
OTHERS = [entry for entry in pricing.PUBLISHED if entry["what"] in {"activations", "graphs"}]
TOKENS = [entry for entry in pricing.PUBLISHED if entry["what"] == "tokens"]


def name(entry):
    return f"{entry['model']}-tp{entry['tensor_parallel']}-{entry['what']}-{entry['gib']}"


@pytest.mark.parametrize("entry", WEIGHTS, ids=name)
def test_weights_are_within_five_percent(entry):
    ours, theirs = pricing.predicted(entry), pricing.truth(entry)
    assert ours == pytest.approx(theirs, rel=0.05)
    assert ours + LIBRARY_BYTES / GIB >= theirs, "covered by what every device is charged"


@pytest.mark.parametrize("entry", OTHERS, ids=name)
def test_peaks_and_graphs_are_never_below(entry):
    ours, theirs = pricing.predicted(entry), pricing.truth(entry)
    assert theirs <= ours <= theirs * 1.25


@pytest.mark.parametrize("entry", TOKENS, ids=name)
def test_as_many_tokens_fit(entry):
    assert pricing.predicted(entry) == pytest.approx(pricing.truth(entry), rel=0.05)


def test_the_needs_are_what_they_were():
    assert pricing.NEEDS.read_text(encoding="utf-8") == pricing.needs()


def test_the_reference_pages_are_current():
    assert pricing.PAGE.read_text(encoding="utf-8") == pricing.page()
    assert pricing.PAGE_ZH.read_text(encoding="utf-8") == pricing.page_zh()
