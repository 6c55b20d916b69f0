"""No secret leaves through a log; sizes and times read as people write them."""

import pytest

from aimindserve.kit.clock import parse_rfc3339, rfc3339
from aimindserve.kit.log import MASK, mask_secrets
from aimindserve.kit.units import GIB, MIB, format_bytes, format_duration, parse_bytes


@pytest.mark.parametrize(
    "key", ["password", "api_key", "join_token", "Authorization", "cookie", "proxy_credential"]
)
def test_values_of_secret_keys_are_masked(key: str) -> None:
    assert mask_secrets(None, "info", {"event": "x", key: "hunter2"})[key] == MASK


def test_secrets_inside_texts_are_masked() -> None:
    event = mask_secrets(
        None, "info", {"event": "x", "line": "Authorization: Bearer abc123 sk-aims_0a1b_zzz"}
    )
    assert "abc123" not in event["line"]
    assert "zzz" not in event["line"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(17, "17 B"), (2048, "2 KiB"), (512 * MIB, "512 MiB"), (int(22.8 * GIB), "22.8 GiB")],
)
def test_bytes(count: int, text: str) -> None:
    assert format_bytes(count) == text
    assert abs(parse_bytes(text) - count) <= count * 0.01


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1 XB", "1..2"])
def test_bad_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_bytes(text)


def test_durations_and_times() -> None:
    assert [format_duration(s) for s in (5, 180, 7200, 200000)] == ["5 s", "3 min", "2 h", "2 d"]
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert parse_rfc3339(rfc3339(1234.5)) == 1234.5
