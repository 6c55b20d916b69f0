"""Which addresses a worker may claim for itself."""

import pytest

from aimindserve.core.errors import InvalidError
from aimindserve.server.addresses import authority, check_host


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "192.168.1.4", "127.0.0.1", "::1", "fd00::5", "8.8.8.8", "gpu-07", "a.b.lan"],
)
def test_good(host):
    check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "2852039166",
        "0x7f.1",
        "127.1",
        "metadata.google.internal",
        "a b",
        "a/b",
        "a@b",
        "a:80",
        "-a",
        "a..b",
        "x" * 254,
        "ex\nample",
    ],
)
def test_bad(host):
    with pytest.raises(InvalidError):
        check_host(host)


def test_authorities():
    assert authority("10.0.0.1", 80) == "10.0.0.1:80"
    assert authority("::1", 80) == "[::1]:80"
