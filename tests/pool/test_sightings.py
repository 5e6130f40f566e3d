"""What a gateway saw: unregistered and foreign workers, refusals, duplicates; counted and bounded."""

from __future__ import annotations

import datetime as dt
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.sightings import LEFT_LIMIT, NAMES_LIMIT, RETURN_MINUTES, Sightings
from register.gate import Admission, Gate, Refusal
from register.register import Register
from register.rules import Rules
from register.sighting import Seen, Sighting, SightingKind
from stratum.interfaces import Unit, Worker
from tests.register_world import RULES, at, clerk_of, register_of, suspend, unknown_devices

DAY = dt.date(2026, 9, 1)
NOON = at(DAY, 12)


class World:
    def __init__(self, register: Register | None = None, rules: Rules = RULES) -> None:
        self.register = register or register_of("altai", "saryarqa")
        self.gate = Gate(self.register, rules)
        self.sightings = Sightings(self.register, rules)

    def ask(self, username: str, now_us: int = NOON) -> None:
        verdict = self.gate.admit(username, now_us)
        if isinstance(verdict, Refusal):
            self.sightings.refused(verdict, now_us)
        else:
            assert isinstance(verdict, Admission)
            self.sightings.let_in(verdict, now_us)

    def seen(self) -> list[tuple[str, int, str, str, int]]:
        return [
            (
                one.sighting.kind.value,
                one.sighting.miner_id,
                one.sighting.worker,
                one.sighting.detail,
                one.count,
            )
            for one in self.sightings.drain()
        ]


def test_o07_an_unregistered_device_is_seen_and_counted() -> None:
    world = World()
    for _ in range(3):
        world.ask("altai.rig99")
    world.ask("altai.s17")
    assert world.seen() == [("unregistered", 1, "rig99", "unknown_device", 3)]
    assert world.seen() == []


@pytest.mark.parametrize("mode", ["monitor", "quarantine"])
def test_o07_one_that_is_let_in_all_the_same_is_seen_too(mode: str) -> None:
    world = World(rules=unknown_devices(mode))
    world.ask("altai.rig99")
    assert world.seen() == [("unregistered", 1, "rig99", mode, 1)]


def test_o07_a_unit_of_another_account_is_told_by_its_registry_number() -> None:
    world = World(register_of("altai", "saryarqa", units={"saryarqa": ["s17", "rig1"]}))
    world.ask("altai.saryarqa-s17")
    world.ask("altai.rig1")
    assert world.seen() == [
        ("foreign", 1, "saryarqa-s17", "unknown_device", 1),
        ("unregistered", 1, "rig1", "unknown_device", 1),
    ]


def test_o07_a_unit_that_has_left_the_state_register_is_nobodys() -> None:
    world = World()
    clerk_of(world.register, NOON).exclude_device("saryarqa-s17", DAY)
    world.ask("altai.saryarqa-s17")
    world.ask("saryarqa.s17")
    assert world.seen() == [
        ("unregistered", 1, "saryarqa-s17", "unknown_device", 1),
        ("unregistered", 2, "s17", "device_not_registered", 1),
    ]


def test_o03_a_refusal_of_a_known_account_is_seen_and_one_of_a_stranger_is_not() -> None:
    world = World()
    suspend(world.register, "altai", DAY, DAY.replace(month=11), at(DAY))
    world.ask("altai.s17")
    world.ask("nobody.s17")
    world.ask("altai.no name")
    world.ask("saryarqa.no name")
    assert world.seen() == [("refused", 1, "s17", "licence_suspended", 1)]


def test_i10_names_of_an_account_are_bounded_and_the_rest_is_counted_together() -> None:
    world = World()
    for number in range(NAMES_LIMIT + 50):
        world.ask(f"altai.x{number}")
    world.ask("altai.x7")
    world.ask("saryarqa.x9999")
    seen = world.sightings.drain()
    assert len(seen) == NAMES_LIMIT + 2
    counts = {(one.sighting.miner_id, one.sighting.worker): one.count for one in seen}
    assert (counts[1, "*"], counts[1, "x7"], counts[2, "x9999"]) == (50, 2, 1)
    world.ask("altai.x5555")
    assert world.seen() == [("unregistered", 1, "*", "unknown_device", 1)], "also after a drain"
    world.ask("altai.x5555", at(DAY + dt.timedelta(days=1)))
    assert world.seen() == [("unregistered", 1, "x5555", "unknown_device", 1)], "each day anew"


def test_a_day_is_one_in_kazakhstan() -> None:
    world = World()
    midnight = at(DAY + dt.timedelta(days=1))
    world.ask("altai.x", midnight - 1)
    world.ask("altai.x", midnight)
    first, second = world.sightings.drain()
    assert (first.sighting.day, second.sighting.day) == (DAY, DAY + dt.timedelta(days=1))


def test_what_could_not_be_stored_is_added_to_what_came_since() -> None:
    world = World()
    world.ask("altai.x", NOON)
    drained = world.sightings.drain()
    world.ask("altai.x", NOON + 5)
    world.sightings.put_back(drained)
    sighting = Sighting(SightingKind.UNREGISTERED, DAY, 1, "x", NOON, "unknown_device")
    assert world.sightings.drain() == [Seen(sighting, NOON + 5, 2)]


# Duplicates


MINUTE = 60_000_000


def share(sightings: Sightings, unit: Unit, connection: int, now_us: int) -> None:
    """A credited share, as the gateway's recorder tells it."""
    if unit.connection != connection:
        worker = Worker("altai.S17", 1, "s17", 0, 1, "altai", unit=unit, connection=connection)
        sightings.moved(unit, worker, now_us)


def shares(sightings: Sightings, unit: Unit, connections: list[int], step_us: int = MINUTE) -> int:
    """Shares over these connections, one after the other from noon on; how often that was a duplicate."""
    for number, connection in enumerate(connections):
        share(sightings, unit, connection, NOON + number * step_us)
    return sum(one.count for one in sightings.drain() if one.sighting.kind is SightingKind.DUPLICATE)


@pytest.mark.parametrize(
    ("connections", "duplicates"),
    [
        ([1, 1, 1], 0),
        ([1, 1, 2, 2, 3, 3], 0),
        ([1, 2, 1], 0),
        ([1, 2, 1, 2, 1], 0),
        ([1, 2, 1, 2, 1, 2, 1, 2], 1),
        ([1, 2, 1, 2, 1, 2, 1, 2, 1], 2),
        ([1, 2, 2, 3, 3, 1, 2, 3, 1, 3, 2], 1),
    ],
    ids=["at work", "reconnects", "comes back", "twice", "flip-flop", "on and on", "three"],
)
def test_o07_one_unit_in_two_sessions(connections: list[int], duplicates: int) -> None:
    world = World()
    assert shares(world.sightings, world.sightings.unit("altai-s17"), connections) == duplicates


@given(st.lists(st.integers(1, LEFT_LIMIT), max_size=100), st.sampled_from([1, MINUTE // 3, MINUTE]))
def test_o07_returns_to_older_sessions_in_three_minutes_of_an_hour_are_a_duplicate(
    connections: list[int], step_us: int
) -> None:
    """Reckoned anew from all shares: at which minutes a session went on that a newer one had followed."""
    returns = [
        (NOON + number * step_us) // MINUTE
        for number, connection in enumerate(connections)
        if connection in connections[:number] and connections[number - 1] > connection
    ]
    expected = sum(
        len({one for one in returns[: number + 1] if one // 60 == minute // 60}) >= RETURN_MINUTES
        for number, minute in enumerate(returns)
    )
    world = World()
    assert shares(world.sightings, world.sightings.unit("altai-s17"), connections, step_us) == expected


def test_o07_a_late_share_of_the_old_session_after_an_outage_is_no_duplicate() -> None:
    """The machine sends again what it had sent before the network was away; twice an hour, too."""
    world = World()
    unit = world.sightings.unit("altai-s17")
    for number in range(2):
        at_us = NOON + number * 20 * MINUTE - 1
        share(world.sightings, unit, 2 * number + 1, at_us)
        share(world.sightings, unit, 2 * number + 2, at_us)
        share(world.sightings, unit, 2 * number + 1, at_us)
        share(world.sightings, unit, 2 * number + 2, at_us + 1)
    assert world.seen() == []


def test_o07_two_machines_of_one_name_are_told_however_many_names_were_tried() -> None:
    world = World()
    for number in range(NAMES_LIMIT + 1):
        world.ask(f"altai.x{number}")
    world.seen()
    assert shares(world.sightings, world.sightings.unit("altai-s17"), [1, 2] * 4) == 1


def test_a_duplicate_is_noted_under_the_units_worker_name() -> None:
    world = World()
    unit = world.sightings.unit("altai-s17")
    for number in range(8):
        share(world.sightings, unit, number % 2 + 1, NOON + number * MINUTE)
    assert world.seen() == [("duplicate", 1, "s17", "altai-s17", 1)]


def test_a_unit_is_kept_while_somebody_works_as_it() -> None:
    world = World()
    unit = world.sightings.unit("altai-s17")
    assert world.sightings.unit("altai-s17") is unit
    unit.connection = 5
    del unit
    gc.collect()
    assert world.sightings.unit("altai-s17").connection == 0


def test_the_connections_that_a_unit_left_are_bounded() -> None:
    world = World()
    unit = world.sightings.unit("altai-s17")
    assert shares(world.sightings, unit, list(range(1, 100))) == 0
    assert len(unit.left) == LEFT_LIMIT
