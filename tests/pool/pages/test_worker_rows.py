"""The list of an account's workers, against the plain way to make it."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from pool.pages.account_view import STATES
from pool.pages.worker_rows import SORTS, Moment, Query, counts_of, registered, rows_of, view_of
from pool.pages.workers import SPAN_SECONDS, SPAN_US, Worker
from register.device import Device

NOW = 1_795_503_600_000_000
MOMENT = Moment(NOW, NOW - 86_400_000_000, 2, lambda at_us: dt.datetime.fromtimestamp(at_us / 1e6, dt.UTC))
NAMES = st.lists(st.text("abcXYZ019", min_size=1, max_size=4), unique_by=str.lower, max_size=12)


def unit(name: str, number: str, *, included: int = 1, excluded: int | None = None) -> Device:
    day = dt.date(2026, 11, 1)
    ends = None if excluded is None else day.replace(day=excluded)
    return Device(
        number, "Bitmain", "S17", number, name, 56_000, 2_400, "x", 1, "dc", day.replace(day=included), ends
    )


def workers(names: list[str]) -> dict[str, Worker]:
    made = {}
    for number, name in enumerate(names):
        worker = made[name.lower()] = Worker(name, NOW)
        for share in range(number % 4):
            worker.accept(NOW - number * 130_000_000 - share, 2, 1000 * number)
        worker.refuse(NOW, 2, "stale")
    return made


@given(
    NAMES, NAMES, st.sampled_from(SORTS), st.booleans(), st.integers(1, 5), st.sampled_from((None, *STATES))
)
def test_pages_together_are_the_whole_list_in_order(
    names: list[str], units: list[str], sort: str, down: bool, size: int, state: str | None
) -> None:
    devices = [unit(name, f"KZ-{number}") for number, name in enumerate(units)]
    rows = rows_of(workers(names), devices, NOW, MOMENT.since_us)
    assert {one.name.lower() for one in rows} == {one.lower() for one in (*names, *units)}
    assert counts_of(rows).total() == len(rows)
    shown = []
    for page in range(1, 30):
        asked = Query(("-" if down else "") + sort, page, size, "", state)  # type: ignore[arg-type]
        view = view_of(rows, asked, MOMENT)
        if view.page < page:
            break
        shown += view.workers
    assert len(shown) == view.matching == sum(state in (None, one.state) for one in rows)
    assert len({one.name.lower() for one in shown}) == len(shown)
    value = {
        "name": lambda one: one.name.lower(),
        "state": lambda one: STATES.index(one.state),
        "last_share": lambda one: one.last_share_at.timestamp() if one.last_share_at else 0,
        "accepted": lambda one: one.shares_accepted,
        "rejected": lambda one: one.shares_rejected,
    }.get(sort, lambda one: int(getattr(one, sort)))
    values = [value(one) for one in shown]
    assert values == sorted(values, reverse=down)


def test_a_unit_answers_to_its_name_and_its_number_and_is_listed_once() -> None:
    rows = rows_of(
        workers(["RIG1", "kz-2"]),
        [unit("rig1", "KZ-1"), unit("rig2", "KZ-2"), unit("rig3", "KZ-3")],
        NOW,
        MOMENT.since_us,
    )
    found = {one.name: (one.state, one.unit.registry_number if one.unit else None) for one in rows}
    assert {name: number for name, (_, number) in found.items()} == {
        "RIG1": "KZ-1",
        "kz-2": "KZ-2",
        "rig3": "KZ-3",
    }
    assert found["rig3"][0] == "absent"


def test_units_are_those_of_the_day() -> None:
    units = [
        unit("a", "1"),
        unit("b", "2", included=24),
        unit("c", "3", excluded=24),
        unit("d", "4", included=25),
    ]
    assert [one.worker for one in registered(units, dt.date(2026, 11, 24))] == ["a", "b"]


def hashing(name: str, ghs: int, hours: int, *, lately: int | None = None) -> Worker:
    """Works for so many hours at a hashrate, and in the last 40 minutes at another one."""
    made = Worker(name, NOW)
    for spans in range(hours * 30, -1, -1):
        rate = ghs if lately is None or spans > 20 else lately
        made.accept(NOW - spans * SPAN_US, 2, rate * 10**9 * SPAN_SECONDS)
    return made


def test_machines_that_fell_behind_are_told_from_those_that_work() -> None:
    """56 TH/s are nominal; a machine that nobody registered is measured by its own day."""
    cases = {
        "well": (hashing("well", 50_000, 24), "working"),
        "half": (hashing("half", 28_000, 24), "behind"),
        "again": (hashing("again", 20_000, 24, lately=56_000), "working"),
        "fell": (hashing("fell", 56_000, 24, lately=20_000), "behind"),
        "stranger": (hashing("stranger", 28_000, 24), "working"),
        "fallen": (hashing("fallen", 56_000, 24, lately=10_000), "behind"),
    }
    units = [unit(name, name) for name in cases if name not in ("stranger", "fallen")]
    made = {name: one for name, (one, _) in cases.items()}
    wanted = {name: state for name, (_, state) in cases.items()}
    assert {one.name: one.state for one in rows_of(made, units, NOW, MOMENT.since_us)} == wanted
    young = rows_of(made, units, NOW, NOW - 30 * 60_000_000)
    assert {one.state for one in young} == {"working"}, "too little is known after half an hour"
