"""Equal values as one object."""

from aimindserve.kit.intern import Interner


def fresh(number: int) -> tuple[int, ...]:
    return tuple([number, number])  # noqa: C409 - a new object each time


def test_equal_values_become_one_object() -> None:
    one_of = Interner[tuple[int, ...]](8)
    first, second = fresh(1), fresh(1)
    assert first is not second
    assert one_of(first) is one_of(second) is one_of(first) is first
    assert one_of(fresh(2)) == (2, 2)


def test_it_remembers_no_more_than_it_may() -> None:
    one_of = Interner[tuple[int, ...]](4)
    kept = [one_of(fresh(number)) for number in range(100)]
    assert kept == [(number, number) for number in range(100)]
    assert len(one_of._seen) <= 4
