"""Turns: everybody has one, however little time there is."""

import pytest

from services.webhooks.round_robin import RoundRobin, each_of
from shared.contracts.errors import Stale, Unavailable


def test_what_was_not_reached_is_first_the_next_time() -> None:
    now = 0.0
    turns = RoundRobin(2.0, lambda: now)

    def look(*keys: str) -> str:
        nonlocal now
        done = ""
        for key in turns.of(keys):
            done += key
            now += 1.0
        return done

    assert look("c", "a", "b") == "ab"
    assert look("a", "b", "c") == "ca"
    assert look("b") == "b", "once each"
    assert look("a", "bb", "c", "d") == "bbc", "whoever comes has a turn in order"
    assert look() == ""
    now += 100
    assert look("a", "d") == "da"


def test_one_whose_work_fails_is_not_the_first_again() -> None:
    turns = RoundRobin(0.0, lambda: 0.0)
    for expected in ("a", "b", "a"):
        try:
            for key in turns.of(["a", "b"]):
                assert key == expected
                raise ValueError
        except ValueError:
            continue


def test_without_time_there_is_one_turn() -> None:
    turns = RoundRobin(0.0, lambda: 0.0)
    assert [list(turns.of("xyz")) for _ in range(4)] == [["x"], ["y"], ["z"], ["x"]]


def test_a_fault_of_one_holds_up_no_other_and_an_outage_ends_the_work() -> None:
    errors = {"a": ValueError("broken"), "b": Stale("changed"), "d": Unavailable("no server")}
    begun = []

    def work(key: str) -> None:
        begun.append(key)
        if key in errors:
            raise errors[key]

    with pytest.raises(Unavailable):
        each_of("abcde", work, "the work")
    assert begun == ["a", "b", "c", "d"]
