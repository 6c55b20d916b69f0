from types import SimpleNamespace

import pytest

from aimindserve.core.errors import ThrottledError
from aimindserve.gateway.misses import ADDRESSES_MAX, FREE_MISSES, WINDOW_S, Misses


class Watch:
    def __init__(self):
        self.now = 100.0
        self.misses = Misses(SimpleNamespace(monotonic=lambda: self.now))

    def use_up(self, peer):
        for _ in range(FREE_MISSES):
            self.misses.add(peer)

    def is_refused(self, peer):
        try:
            self.misses.add(peer)
        except ThrottledError:
            return True
        return False


@pytest.fixture
def watch():
    return Watch()


def test_so_many_are_free_and_then_one_has_to_wait(watch):
    watch.use_up("10.0.0.1")
    watch.now += 20.5
    with pytest.raises(ThrottledError) as refused:
        watch.misses.add("10.0.0.1")
    assert refused.value.params["retry_after_s"] == 40
    assert not watch.is_refused("10.0.0.2")
    watch.now += WINDOW_S - 20.5
    assert not watch.is_refused("10.0.0.1")


def test_waiting_is_not_made_longer_by_trying(watch):
    watch.use_up("10.0.0.1")
    for _ in range(59):
        watch.now += 1
        assert watch.is_refused("10.0.0.1")
    watch.now += 1
    assert not watch.is_refused("10.0.0.1")


def test_a_miss_that_was_none_is_taken_back(watch):
    for _ in range(3 * FREE_MISSES):
        watch.misses.add("10.0.0.1")
        watch.misses.take_back("10.0.0.1")
    watch.misses.take_back("10.0.0.9")
    assert not watch.is_refused("10.0.0.9")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("", "10.0.0.1", False),
    ],
)
def test_whose_address_it_is(watch, first, second, same):
    watch.use_up(first)
    assert watch.is_refused(second) == same


def test_memory_is_bounded_and_those_who_go_on_are_remembered(watch):
    watch.use_up("guesser")
    for number in range(ADDRESSES_MAX + 50):
        watch.misses.add(f"address-{number}")
        if not number % 1000:
            assert watch.is_refused("guesser")
    assert len(watch.misses) == ADDRESSES_MAX
    assert watch.is_refused("guesser")
