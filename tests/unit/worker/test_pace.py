"""What engines say of what they have generated, and what it adds up to. Pages are not trusted."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimindserve.core.launch import Counters
from aimindserve.worker.board import Board
from aimindserve.worker.observed import Counted, Health, Pace
from aimindserve.worker.pace import SAMPLES_MAX, counted, generated, is_due, looked
from aimindserve.worker.pacer import Pacer
from aimindserve.worker.traffic import Traffic
from unit.worker.world import PROBE, process

PLAIN = Counters(tokens="x:tokens_total", seconds="x:seconds_total", first_too=True)
WITH_ANSWERS = replace(PLAIN, answers="x:answers_total")
PROBED = replace(PROBE, counters=PLAIN)


def ready(**changes):
    return process(**{"health": Health.READY, "probe": PROBED, **changes})


LLAMA_CPP = b"""# HELP x:prompt_tokens_total Number of prompt tokens processed
# TYPE x:prompt_tokens_total counter
x:prompt_tokens_total 42
x:tokens_total 135
# TYPE x:seconds_total counter
x:seconds_total 23.1266
x:tokens_total_of_others 7
"""
PYTHON = b"""# TYPE x:tokens_total counter
x:tokens_total{engine="0",model_name="a \\"}\\" # 9 b"} 1.2e+02
x:tokens_total{engine="1",model_name="m"} 30.0 1700000000000
x:seconds_total{engine="0"} 2.5
x:seconds_total{engine="1"}\t0.5
x:answers_total{engine="0"} 4.0
x:answers_total{engine="1"} 1.0
"""


def test_counters_are_read_as_engines_write_them():
    assert counted(LLAMA_CPP, PLAIN) == Counted(135.0, 23.1266)
    assert counted(PYTHON, WITH_ANSWERS) == Counted(150.0, 3.0, 5.0)
    assert counted(LLAMA_CPP.replace(b"\n", b"\r\n"), PLAIN) == Counted(135.0, 23.1266)


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"x:tokens_total 135\n",
        b"x:seconds_total 1\n",
        b"# x:tokens_total 1\n# x:seconds_total 1\n",
        b"  x:tokens_total 1\n  x:seconds_total 1\n",
        b"x:tokens_total nan\nx:seconds_total 1\n",
        b"x:tokens_total +Inf\nx:seconds_total 1\n",
        b"x:tokens_total -1\nx:seconds_total 1\n",
        b"x:tokens_total 1e400\nx:seconds_total 1\n",
        b"x:tokens_total 1e16\nx:seconds_total 1\n",
        b"x:tokens_total one\nx:seconds_total 1\n",
        b"x:tokens_total\nx:seconds_total 1\n",
        b'x:tokens_total{a="b 1\nx:seconds_total 1\n',
        b"x:tokens_total{a=b" + b'"}"' * 100_000 + b"\nx:seconds_total 1\n",
        b"x:seconds_total 1\n" + b"x:tokens_total 1\n" * (SAMPLES_MAX + 1),
        b"\x00\xff\xfe" * 1000,
        b"<html><body>x:tokens_total 1</body></html>",
    ],
    ids=lambda page: page[:30],
)
def test_a_page_that_makes_no_sense_says_nothing(page):
    assert counted(page, PLAIN) is None


def test_a_page_without_the_answers_that_it_should_count_says_nothing():
    assert counted(LLAMA_CPP, WITH_ANSWERS) is None


@given(st.binary(max_size=300))
def test_no_page_breaks_the_reading(noise):
    for page in (noise, LLAMA_CPP + noise, noise + LLAMA_CPP, b"x:tokens_total" + noise):
        found = counted(page, PLAIN)
        assert found is None or (found.tokens >= 0 and found.seconds >= 0)


def told(one, *looks):
    """`one` after its page said (tokens, seconds, requests answered) one after the other."""
    for *page, answered in looks:
        now = Counted(*page) if page else None
        one = replace(one, pace=looked(one, now, answered))
    return generated(one)


def test_the_first_token_of_each_answer_is_left_out():
    assert told(ready(), (101.0, 10.0, 1)) == (100, 10.0)
    assert told(ready(), (101.0, 10.0, 1), (112.0, 12.0, 3)) == (109, 12.0)
    # As llama.cpp 2026 counted answers of 1, 2, 32 and 100 tokens.
    assert told(ready(), (1.0, 1e-6, 1)) == (0, 0.0)
    assert told(ready(), (135.0, 23.1266, 4)) == (131, 23.127)


def test_where_it_is_not_among_the_tokens_nothing_is_left_out():
    probe = replace(PROBE, counters=replace(PLAIN, first_too=False))
    assert told(ready(probe=probe), (100.0, 10.0, 5)) == (100, 10.0)


def test_an_engine_that_counts_its_answers_knows_better_than_the_requests():
    probe = replace(PROBE, counters=WITH_ANSWERS)
    one = ready(probe=probe)
    one = replace(one, pace=looked(one, Counted(100.0, 10.0, 4.0), 90))
    assert generated(one) == (96, 10.0)


def test_more_requests_than_tokens_are_nothing():
    assert told(ready(), (3.0, 1.0, 10)) == (0, 1.0)


def test_counters_that_went_down_were_begun_anew():
    assert told(ready(), (101.0, 10.0, 1), (51.0, 5.0, 2)) == (150, 15.0)
    assert told(ready(), (101.0, 10.0, 1), (200.0, 5.0, 2)) == (299, 15.0)


def test_of_an_adopted_engine_only_what_comes_after_the_first_look_is_added_up():
    one = ready(adopted=True)
    assert told(one, (5000.0, 100.0, 0)) == (0, 0.0)
    assert told(one, (5000.0, 100.0, 0), (5101.0, 110.0, 1)) == (100, 10.0)
    # It was too busy to tell at first.
    assert told(one, (2,), (5000.0, 100.0, 3), (5101.0, 110.0, 4)) == (100, 10.0)


def test_a_look_without_an_answer_loses_nothing():
    assert told(ready(), (101.0, 10.0, 1), (2,), (202.0, 20.0, 2)) == (200, 20.0)
    one = ready(probe=replace(PROBE, counters=WITH_ANSWERS))
    for now, answered in (
        (Counted(101.0, 10.0, 1.0), 1),
        (None, 2),
        (Counted(202.0, 20.0, 2.0), 2),
    ):
        one = replace(one, pace=looked(one, now, answered))
    assert generated(one) == (200, 20.0)


def test_who_was_not_asked_yet_is_told_apart_from_who_does_not_count():
    assert generated(ready()) == (None, 0.0)
    assert generated(ready(probe=PROBE)) == (0, 0.0)
    assert told(ready(), (7,)) == (0, 0.0)


def test_only_who_has_answered_since_is_asked():
    assert not is_due(ready(), 0)
    assert is_due(ready(), 1)
    assert is_due(ready(adopted=True), 0)
    seen = ready(pace=Pace(3, Counted()))
    assert not is_due(seen, 3)
    assert is_due(seen, 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"probe": PROBE},
        {"health": Health.LOADING},
        {"health": Health.SICK},
        {"stopping": True},
    ],
    ids=str,
)
def test_nobody_is_asked_who_does_not_count_or_has_not_proven_to_be_the_engine(changes):
    assert not is_due(ready(**changes), 5)


class Pages:
    """A meter with answers prepared; remembers who was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def read(self, handle, counters):
        self.asked.append((handle.token, counters))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def pacer(meter, one):
    board, traffic = Board((40000, 40003)), Traffic()
    board.adopt(one)
    return Pacer(board, traffic, meter, None), board, traffic


def test_a_busy_engine_is_asked_again_and_an_idle_one_is_not():
    one = ready()
    meter = Pages(TimeoutError("busy"), Counted(101.0, 10.0))
    looks, board, traffic = pacer(meter, one)
    asyncio.run(looks.look())
    assert meter.asked == []
    traffic.begin(one.token)
    asyncio.run(looks.look())
    assert meter.asked == [], "its answer is not over"
    traffic.end(one.token)
    for _ in range(4):
        asyncio.run(looks.look())
    assert meter.asked == [(one.token, PLAIN)] * 2
    assert generated(board.processes[one.token]) == (100, 10.0)


def test_an_engine_that_ends_while_it_is_asked_is_forgotten():
    one = ready()
    looks, board, traffic = pacer(Pages(), one)

    class Leaving(Pages):
        async def read(self, handle, counters):
            board._processes.clear()
            return Counted(101.0, 10.0)

    looks._meter = Leaving()
    traffic.begin(one.token)
    traffic.end(one.token)
    asyncio.run(looks.look())
    assert not board.processes


def test_what_a_process_counted_survives_its_health_checks():
    from aimindserve.worker.board import Checked
    from aimindserve.worker.decide import Check
    from aimindserve.worker.life import Answer
    from aimindserve.worker.observed import Moment

    one = ready(pace=Pace(1, Counted(101.0, 10.0), 101.0, 10.0, 1.0))
    board = Board((40000, 40003))
    board.adopt(one)
    board.apply(Checked(Check(one), Answer.READY), Moment(5.0, 5.0), 0.5)
    assert board.processes[one.token].pace == one.pace
