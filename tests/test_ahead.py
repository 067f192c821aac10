"""What threads do ahead comes in order, is bounded, and ends with whoever takes it."""

from __future__ import annotations

import threading
import time

import pytest

from lowlight_cli.ahead import ordered


def test_results_come_in_order_whichever_is_ready_first() -> None:
    assert [*ordered(lambda n: (time.sleep(0.01 * (5 - n)), n)[1], range(5), 3, 4)] == [0, 1, 2, 3, 4]
    assert [*ordered(str, [], 1, 1)] == []


def test_no_more_are_begun_than_may_be_ahead() -> None:
    given: list[int] = []

    def items():
        for number in range(9):
            given.append(number)
            yield number

    results = ordered(str, items(), 2, 3)
    assert (next(results), given) == ("0", [0, 1, 2, 3])
    assert (next(results), given) == ("1", [0, 1, 2, 3, 4])
    assert [*results] == [*map(str, range(2, 9))]


def test_items_come_from_the_thread_of_the_caller() -> None:
    seen = [*ordered(lambda thread: (thread, threading.get_ident()), (threading.get_ident() for _ in range(4)), 2, 1)]
    assert {thread for thread, _ in seen} == {threading.get_ident()}
    assert threading.get_ident() not in {worker for _, worker in seen}


def test_an_error_comes_in_its_turn_and_what_was_not_begun_is_left() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise LookupError(number)
        time.sleep(0.05)
        return number

    results = ordered(work, range(20), 1, 10)
    assert next(results) == 0
    with pytest.raises(LookupError):
        next(results)
    assert len(begun) < 5
    assert [*results] == []


def test_who_takes_no_more_waits_only_for_what_was_begun() -> None:
    begun: list[int] = []
    results = ordered(lambda n: (begun.append(n), time.sleep(0.02)), range(20), 1, 10)
    next(results)
    results.close()
    assert len(begun) < 5
