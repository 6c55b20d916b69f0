"""Names that may name a resource."""

import pytest

from aimindserve.core.ids import device_id, is_name


@pytest.mark.parametrize("text", ["a", "smollm2", "qwen2.5-7b", "a_b", "0", "x" * 63])
def test_good_names(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize(
    "text", ["", "A", "-a", "a-", ".", "..", "a/b", "a b", "x" * 64, "a\n", "ä", "a%2e", "a\u200b"]
)
def test_bad_names(text: str) -> None:
    assert not is_name(text)


def test_device_ids_have_the_form_users_write() -> None:
    assert device_id("gpu-07", "cuda", 1) == "gpu-07:cuda:1"
