"""The workers of an account as a list: counted workers and registered units, sorted, searched, paged.

Pure. The numbers of a worker are made for the page that is shown, and for the others only what they are
sorted by: 20,000 workers cost about 60 milliseconds, which is why a list is kept for some seconds.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pool.clock import HOUR_US, instant
from pool.pages.account_view import STATES, State, UnitView, WorkersView, WorkerView
from pool.pages.workers import Worker
from register.device import Device

WORKING_US: Final = 600_000_000
SORTS: Final = (
    *("name", "state", "hashrate_10m", "hashrate_1h", "hashrate_24h", "last_share", "accepted", "rejected"),
)
SORT: Final = "^-?(" + "|".join(SORTS) + ")$"
PAGE_SIZE: Final = 50
BEHIND_PERCENT: Final = 75
"""Of what a worker should do, over ten minutes and over an hour; chance alone takes a tenth at most."""
_STATE_ORDER: Final[Mapping[str, int]] = {state: number for number, state in enumerate(STATES)}


@dataclass(frozen=True, slots=True)
class Query:
    """What of a list is asked for; `sort` begins with "-" for the largest first."""

    sort: str = "name"
    page: int = 1
    size: int = PAGE_SIZE
    search: str = ""
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """When a list is made: now, when counting began, today and its number, and the clock of Kazakhstan."""

    now_us: int
    since_us: int
    today: int
    local: Callable[[int], dt.datetime]


class Row:
    """A line of the list: a worker, a unit, or both."""

    __slots__ = ("name", "state", "unit", "worker")

    def __init__(self, name: str, state: State, worker: Worker | None, unit: Device | None) -> None:
        self.name = name
        self.state: State = state
        self.worker = worker
        self.unit = unit


def rows_of(workers: Mapping[str, Worker], units: Iterable[Device], now_us: int, since_us: int) -> list[Row]:
    """All lines; `workers` by names in small letters, `units` those that are registered today.

    `since_us` is when counting began.
    """
    unit_of: dict[str, Device] = {}
    absent: list[Row] = []
    for unit in units:
        worker, number = unit.worker.lower(), unit.registry_number.lower()
        for name in (worker, number):
            if name in workers:
                unit_of[name] = unit
        if worker not in workers and number not in workers:
            absent.append(Row(unit.worker, "absent", None, unit))
    rows: list[Row] = []
    for name, one in workers.items():
        of_worker = unit_of.get(name)
        rows.append(Row(one.name, _state_of(one, of_worker, now_us, since_us), one, of_worker))
    return rows + absent


def _state_of(worker: Worker, unit: Device | None, now_us: int, since_us: int) -> State:
    """Measured by the nominal hashrate of the unit, or else by the worker's own day."""
    if worker.last_us < now_us - WORKING_US:
        return "silent"
    if since_us > now_us - HOUR_US:
        return "working"  # too little is known
    wanted = unit.nominal_ghs * 10**9 if unit else worker.over_day(now_us, since_us)
    least = wanted * BEHIND_PERCENT // 100
    if worker.over(now_us, since_us, 3600) >= least or worker.over(now_us, since_us, 600) >= least:
        return "working"
    return "behind"


def counts_of(rows: Sequence[Row]) -> Counter[str]:
    """How many there are in each state."""
    return Counter(one.state for one in rows)


def view_of(rows: Sequence[Row], query: Query, moment: Moment) -> WorkersView:
    """The page that is asked for; one behind the last is the last."""
    found = _matching(rows, query)
    key = query.sort.removeprefix("-")
    found.sort(key=lambda one: one.name.lower())
    if query.sort != "name":
        found.sort(key=_key(key, moment), reverse=query.sort.startswith("-"))
    pages = max(-(-len(found) // query.size), 1)
    page = min(query.page, pages)
    shown = found[(page - 1) * query.size : page * query.size]
    return WorkersView(
        at=moment.local(moment.now_us),
        total=len(rows),
        matching=len(found),
        page=page,
        pages=pages,
        sort=query.sort,
        workers=tuple(worker_view(one, moment) for one in shown),
    )


def worker_view(row: Row, moment: Moment) -> WorkerView:
    """A line with all its numbers."""
    worker = row.worker
    rates = worker.rates(moment.now_us, moment.since_us) if worker else (0, 0, 0)
    accepted, rejected = worker.today(moment.today) if worker else (0, Counter())
    last_us = worker.last_us if worker else 0
    return WorkerView(
        name=row.name,
        state=row.state,
        hashrate_10m=str(rates[0]),
        hashrate_1h=str(rates[1]),
        hashrate_24h=str(rates[2]),
        last_share_at=moment.local(last_us) if last_us else None,
        shares_accepted=accepted,
        shares_rejected=rejected.total(),
        rejected=dict(rejected.most_common()),
        unit=_unit_view(row.unit) if row.unit else None,
    )


def _matching(rows: Iterable[Row], query: Query) -> list[Row]:
    wanted = query.search.lower()
    return [
        one
        for one in rows
        if (query.state is None or one.state == query.state)
        and (
            not wanted
            or wanted in one.name.lower()
            or (one.unit is not None and wanted in one.unit.registry_number.lower())
        )
    ]


def _key(name: str, moment: Moment) -> Callable[[Row], Any]:
    now_us, since_us, today = moment.now_us, moment.since_us, moment.today

    def of_worker(value: Callable[[Worker], int]) -> Callable[[Row], int]:
        return lambda row: value(row.worker) if row.worker else 0

    match name:
        case "state":
            return lambda row: _STATE_ORDER[row.state]
        case "hashrate_10m":
            return of_worker(lambda one: one.over(now_us, since_us, 600))
        case "hashrate_1h":
            return of_worker(lambda one: one.over(now_us, since_us, 3600))
        case "hashrate_24h":
            return of_worker(lambda one: one.over_day(now_us, since_us))
        case "last_share":
            return of_worker(lambda one: one.last_us)
        case "accepted":
            return of_worker(lambda one: one.today(today)[0])
        case "rejected":
            return of_worker(lambda one: one.today(today)[1].total())
        case _:
            return lambda row: row.name.lower()


def _unit_view(unit: Device) -> UnitView:
    return UnitView(
        registry_number=unit.registry_number,
        manufacturer=unit.manufacturer,
        model=unit.model,
        serial_number=unit.serial_number,
        centre=unit.centre,
        place=unit.place,
        nominal_ghs=unit.nominal_ghs,
    )


def registered(devices: Iterable[Device], day: dt.date) -> tuple[Device, ...]:
    """The units among them that are registered on a day."""
    return tuple(
        one
        for one in devices
        if one.included_on <= day and (one.excluded_on is None or day < one.excluded_on)
    )


def seconds_since(at: dt.datetime | None, now_us: int) -> int | None:
    """How long ago a moment was; None where there was none."""
    return None if at is None else max(int((instant(now_us) - at).total_seconds()), 0)
