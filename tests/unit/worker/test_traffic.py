"""What a polite stop waits for."""

from aimindserve.wire.splice import End
from aimindserve.worker.traffic import Traffic
from aimindserve.worker.tunnel_door import QUIET_S, Watch


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


def test_requests_are_counted_until_they_are_answered():
    traffic = Traffic()
    traffic.begin("a")
    traffic.begin("a")
    traffic.end("a")
    assert (traffic.count("a"), traffic.handed("a")) == (1, 2)
    traffic.end("a")
    assert (traffic.count("a"), traffic.count("b")) == (0, 0)


def test_a_connection_counts_while_something_moves_on_it():
    traffic, clock, asking = Traffic(), Clock(), End()
    watch = Watch(clock, asking)
    traffic.join("a", watch.busy)
    assert traffic.count("a") == 1, "it has only just begun"
    clock.now += QUIET_S
    assert traffic.count("a") == 0
    asking.taken += 1
    assert traffic.count("a") == 1
    clock.now += QUIET_S - 0.1
    assert traffic.count("a") == 1
    asking.taken += 1
    assert traffic.count("a") == 1
    clock.now += QUIET_S - 0.1
    assert traffic.count("a") == 1
    assert traffic.handed("a") == 0, "it is no request"
    traffic.leave("a", watch.busy)
    assert traffic.count("a") == 0
