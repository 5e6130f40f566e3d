"""The accept gate: first come, first served, at a steady rate; nobody is refused, who has gone is skipped."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.accept_gate import (
    BURST_SECONDS,
    FILES_MAX,
    FILES_RESERVED,
    VANISHED_AT_ONCE,
    AcceptGate,
    room_for_connections,
)


class Storm:
    """A gate with numbers as arrivals."""

    def __init__(self, per_second: float) -> None:
        self.gone: set[int] = set()
        self.forgotten: list[int] = []
        self.gate: AcceptGate[int] = AcceptGate(
            per_second, lambda number: number not in self.gone, self.forgotten.append
        )

    def arrive(self, count: int) -> None:
        for number in range(count):
            self.gate.arrive(number, "198.51.100.1")


def test_q56_twenty_thousand_at_once_are_let_in_within_ten_seconds_in_order() -> None:
    storm, inside = Storm(2000.0), list[int]()
    storm.arrive(20_000)
    for step in range(501):
        inside += storm.gate.let_in(100.0 + step * 0.02)
    assert inside == list(range(20_000))
    assert len(storm.gate) == 0


def test_a_few_are_let_in_at_once() -> None:
    storm = Storm(2000.0)
    storm.arrive(int(2000 * BURST_SECONDS) + 1)
    assert len(list(storm.gate.let_in(5.0))) == 2000 * BURST_SECONDS
    assert len(storm.gate) == 1
    slow = Storm(0.5)
    slow.arrive(2)
    assert list(slow.gate.let_in(5.0)) == [0], "a rate under one a second lets in one all the same"
    assert list(slow.gate.let_in(6.9)) == []
    assert list(slow.gate.let_in(7.0)) == [1]


def test_who_vanished_costs_nobody_a_turn() -> None:
    storm = Storm(50.0)
    storm.arrive(VANISHED_AT_ONCE + 2)
    storm.gone = set(range(VANISHED_AT_ONCE + 1))
    assert list(storm.gate.let_in(5.0)) == [], "so many are passed over at a time"
    assert list(storm.gate.let_in(5.0)) == [VANISHED_AT_ONCE + 1]
    assert storm.forgotten == list(range(VANISHED_AT_ONCE + 1))


def test_at_the_end_everybody_is_handed_back() -> None:
    storm = Storm(50.0)
    storm.arrive(3)
    assert list(storm.gate.empty()) == [0, 1, 2]
    assert len(storm.gate) == 0


@given(
    st.floats(0.1, 5000),
    st.lists(st.tuples(st.integers(0, 200), st.floats(0, 2), st.sets(st.integers(0, 300))), max_size=20),
)
def test_order_is_kept_and_everybody_is_let_in_or_forgotten(
    per_second: float, steps: list[tuple[int, float, set[int]]]
) -> None:
    storm, ticks, arrived, inside = Storm(per_second), 1000.0, 0, list[int]()
    for count, pause, gone in steps:
        for number in range(arrived, arrived + count):
            storm.gate.arrive(number, "198.51.100.1")
        arrived += count
        ticks += pause
        storm.gone |= gone
        inside += storm.gate.let_in(ticks)
    burst = max(1.0, per_second * BURST_SECONDS)
    assert len(inside) <= burst + per_second * (ticks - 1000.0) + 1e-6
    rest = list(storm.gate.empty())
    assert inside == sorted(inside)
    assert sorted(inside + storm.forgotten + rest) == list(range(arrived))
    assert set(storm.forgotten) <= storm.gone


class Files:
    """The limit of open files of a process that is not ours."""

    def __init__(self, soft: int, hard: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limits = (soft, hard)
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.limits)
        monkeypatch.setattr(resource, "setrlimit", self._set)

    def _set(self, _: int, limits: tuple[int, int]) -> None:
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "room"),
    [
        (1024, 65_536, 65_536, 65_536 - FILES_RESERVED),
        (65_536, 65_536, 65_536, 65_536 - FILES_RESERVED),
        (256, 256, 256, 128),
        (1024, resource.RLIM_INFINITY, FILES_MAX, FILES_MAX - FILES_RESERVED),
    ],
)
def test_room_is_what_the_limit_of_open_files_leaves_once_it_is_raised(
    soft: int, hard: int, raised: int, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(soft, hard, monkeypatch)
    assert room_for_connections(None) == room
    assert files.limits == (raised, hard)
    assert room_for_connections(100) == 100
    assert room_for_connections(10**9) == room, "no more than can be"


def test_addresses_take_turns_so_that_a_crowd_of_one_does_not_hold_up_the_others() -> None:
    storm = Storm(50.0)
    for number in range(10_000):
        storm.gate.arrive(number, f"203.0.113.{number % 2}")
    list(storm.gate.let_in(5.0))
    storm.gate.arrive(77_777, "198.51.100.1")
    inside = [arrival for step in range(1, 8) for arrival in storm.gate.let_in(5.0 + step * 0.02)]
    assert 77_777 in inside[:3]


@given(st.lists(st.integers(0, 5), max_size=60), st.lists(st.booleans(), min_size=60, max_size=60))
def test_everybody_is_let_in_or_forgotten_once_and_each_address_in_its_order(
    addresses: list[int], gone: list[bool]
) -> None:
    storm = Storm(1000.0)
    for number, address in enumerate(addresses):
        storm.gate.arrive(number, str(address))
    storm.gone = {number for number in range(len(addresses)) if gone[number]}
    inside = [arrival for step in range(200) for arrival in storm.gate.let_in(5.0 + step)]
    assert sorted(inside + storm.forgotten) == list(range(len(addresses)))
    assert len(storm.gate) == 0
    for address in set(addresses):
        own = [number for number in inside if addresses[number] == address]
        assert own == sorted(own)
