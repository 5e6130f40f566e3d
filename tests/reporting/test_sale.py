"""The mandatory sale (O-50 to O-52, Q-01, Q-02, Q-10): by hand, by a slow second way, by its equalities."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from register.rules import Rules
from reporting.sale import (
    MINED,
    REALISED,
    Delivery,
    Got,
    Json,
    deliveries,
    measure,
    sale_rows,
    share_of,
)
from reporting.sale_confirmation import Sale
from reporting.sale_period import Period, period_of
from tests.register_world import RULES, rules_with
from tests.reporting.sale_world import COIN, facts, rules_of, sale

Q4 = Period("2026-Q4", dt.date(2026, 10, 1), dt.date(2026, 12, 31))
NOV = dt.date(2026, 11, 24)


def row(rows: Sequence[Json], miner_id: int = 1, period: str = "2026-Q4") -> Json:
    (found,) = [one for one in rows if (one["miner_id"], one["period"]) == (miner_id, period)]
    return found


def rows_of(
    day: dt.date, got: Sequence[Got], sales: Sequence[Sale] = (), rules: Rules = RULES, **more: Any
) -> list[Json]:
    return sale_rows(facts(day, got, sales, **more), rules, day)


def test_q02_a_hundred_mined_and_seventy_four_sold_is_one_short_by_one_reading_alone() -> None:
    """The article's case: of 100 mined 75 must be sold. None of the 74 realised was sold elsewhere."""
    got = [Got(1, dt.date(2026, 10, 1), 60 * COIN, ""), Got(1, NOV, 40 * COIN, "Steppe Exchange")]
    one = row(rows_of(NOV, got, [sale(1, NOV, 74 * COIN)]))
    assert one == {
        "miner_id": 1,
        "period": "2026-Q4",
        "rule_share_bps": 7500,
        "base": "mined",
        "mode": "monitor",
        "mined_sat": 100 * COIN,
        "delivered_sat": 40 * COIN,
        "realised_sat": 74 * COIN,
        "sold_eligible_sat": 74 * COIN,
        "share_of_mined_bps": 7400,
        "share_of_realised_bps": 10_000,
        "shortfall_sat": COIN,
        "shortfall_of_mined_sat": COIN,
        "shortfall_of_realised_sat": 0,
        "parts": [
            {
                "from": "2026-10-01",
                "to": "2026-12-31",
                "share_bps": 7500,
                "licensors": ["AFSA"],
                "mined_sat": 100 * COIN,
                "realised_sat": 74 * COIN,
                "sold_eligible_sat": 74 * COIN,
            }
        ],
        "confirmations": [
            {
                "number": 1,
                "told_at": "2023-11-15T04:13:20+06:00",
                "told_by": "miner",
                "exchange": "Steppe Exchange",
                "licensor": "AFSA",
                "licence": "AFSA-A-1",
                "reference": "T-1",
                "sold_on": "2026-11-24",
                "quantity_sat": 74 * COIN,
                "currency": "KZT",
                "amount": "1000",
                "eligible": True,
                "beyond_distributed": False,
            }
        ],
    }


def test_q02_the_other_base_decides_where_the_rule_says_so() -> None:
    by_realised = rules_with(('base = "mined"', 'base = "realised"'))
    got = [Got(1, NOV, 100, "")]
    sales = [sale(1, NOV, 6), sale(1, NOV, 4, "T-2", exchange="abroad", licensor="")]
    assert [row(rows_of(NOV, got, sales, one))["shortfall_sat"] for one in (RULES, by_realised)] == [69, 2]


def test_a_sale_elsewhere_is_realised_and_no_mandatory_sale() -> None:
    """O-50: nor is one on an exchange of a licensor whom the rule of that day does not name (Q-04)."""
    sales = [
        sale(1, NOV, 10, "a", exchange="abroad", licensor=""),
        sale(1, NOV, 20, "b", exchange="Bank Exchange", licensor="NBK"),
    ]
    one = row(rows_of(NOV, [Got(1, NOV, 40, "")], sales))
    assert (one["realised_sat"], one["sold_eligible_sat"], one["share_of_realised_bps"]) == (30, 0, 0)
    assert (one["shortfall_of_mined_sat"], one["shortfall_of_realised_sat"]) == (30, 23)  # 22.5 rounded up
    both = rules_with(('licensors = ["AFSA"]    #', 'licensors = ["AFSA", "NBK"]    #'))
    assert row(rows_of(NOV, [Got(1, NOV, 40, "")], sales, both))["sold_eligible_sat"] == 20


def test_o52_a_deposit_is_no_sale_until_somebody_says_so() -> None:
    """Q-10: what a split payout delivers stands beside what is sold, and in none of the sums of it."""
    got = [Got(1, NOV, 75, "Steppe Exchange"), Got(1, NOV, 25, "")]
    one = row(rows_of(NOV, got))
    assert (one["delivered_sat"], one["realised_sat"], one["sold_eligible_sat"]) == (75, 0, 0)
    assert (one["mined_sat"], one["shortfall_sat"]) == (100, 75)


@pytest.mark.parametrize(
    ("day", "wanted"),
    [
        (dt.date(2023, 12, 31), []),  # LAW art. 14: not before 2024
        (dt.date(2024, 1, 1), [("2024-Q1", 5000, 10, 5)]),
        (dt.date(2024, 12, 31), [("2024-Q4", 5000, 110, 55)]),
        (dt.date(2025, 1, 1), [("2025-Q1", 7500, 10, 8)]),
    ],
)
def test_q01_each_quarter_has_the_share_of_its_year(
    day: dt.date, wanted: list[tuple[str, int, int, int]]
) -> None:
    """What was mined the day before is of the quarter that is over; of 10 satoshis 7.5 are 8."""
    got = [
        Got(1, day + dt.timedelta(days=days), amount, "") for days, amount in ((-1, 100), (0, 10), (1, 1000))
    ]
    told = rows_of(day, got)
    names = ("period", "rule_share_bps", "mined_sat", "shortfall_sat")
    assert [tuple(one[name] for name in names) for one in told] == wanted


def test_the_quarter_of_a_block_is_that_of_kazakhstans_clock() -> None:
    """Q-11: before 1 March 2024 it was six hours ahead; then the same hour of UTC is the day before."""

    def period_at(text: str) -> str | None:
        at = dt.datetime.fromisoformat(text)
        found = period_of(RULES, RULES.day_of(int(at.timestamp()) * 1_000_000))
        return found.name if found else None

    assert period_at("2023-12-31T17:59:59+00:00") is None
    assert period_at("2023-12-31T18:00:00+00:00") == "2024-Q1"
    assert period_at("2024-12-31T18:00:00+00:00") == "2024-Q4"
    assert period_at("2024-12-31T18:59:59+00:00") == "2024-Q4"
    assert period_at("2024-12-31T19:00:00+00:00") == "2025-Q1"


def test_q10_in_the_mode_off_nothing_is_told() -> None:
    off = rules_with(('mode = "monitor"\nsource = "an article', 'mode = "off"\nsource = "an article'))
    assert rows_of(NOV, [Got(1, NOV, 1, "")], rules=off) == []
    (one,) = measure(facts(NOV, [Got(1, NOV, 1, "")]), off, Q4)
    assert (one.mode, one.short_sat, one.shortfall_sat(MINED)) == ("off", 0, 1)


def test_a_change_of_the_share_inside_a_quarter_counts_by_the_day() -> None:
    """Each satoshi falls under the row of the day on which it was mined, or sold; it is rounded up once."""
    day = dt.date(2026, 11, 15)
    rules = rules_of(
        {dt.date(2024, 1, 1): (5000, ("AFSA",)), day: (7500, ("NBK",))},
        {dt.date(2024, 1, 1): ("mined", "quarter")},
    )
    before = day - dt.timedelta(days=1)
    got = [Got(1, before, 3, ""), Got(1, day, 3, "")]
    sales = [
        *(sale(1, before, 1, "a"), sale(1, day, 1, "b")),  # AFSA counts no longer
        *(sale(1, before, 1, "c", licensor="NBK"), sale(1, day, 1, "d", licensor="NBK")),  # NBK not yet
    ]
    one = row(rows_of(NOV, got, sales, rules))
    assert one["rule_share_bps"] == 7500
    assert [(part["from"], part["to"], part["mined_sat"]) for part in one["parts"]] == [
        ("2026-10-01", "2026-11-14", 3),
        ("2026-11-15", "2026-12-31", 3),
    ]
    assert (one["realised_sat"], one["sold_eligible_sat"]) == (4, 2)
    assert one["shortfall_of_mined_sat"] == 4 - 2  # 1.5 + 2.25 = 3.75
    assert one["shortfall_of_realised_sat"] == 3 - 2  # 1 + 1.5 = 2.5
    assert rows_of(before, got, sales, rules)[0]["rule_share_bps"] == 5000


def test_what_is_told_late_of_a_quarter_that_is_over_is_told_that_day() -> None:
    """O-52: or no report would ever have it. What was taken back of it is told too, as nothing."""
    august, early = dt.date(2026, 8, 3), dt.date(2023, 8, 3)
    got = [Got(1, august, 100, ""), Got(2, august, 100, ""), Got(2, NOV, 8, "")]
    told = rows_of(NOV, got, [sale(1, august, 70)], moved=[(1, august), (3, august), (1, early), (2, NOV)])
    assert [
        (one["miner_id"], one["period"], one["mined_sat"], one["realised_sat"], one["shortfall_sat"])
        for one in told
    ] == [(1, "2026-Q3", 100, 70, 5), (2, "2026-Q4", 8, 0, 6), (3, "2026-Q3", 0, 0, 0)]
    assert row(told, 3, "2026-Q3")["share_of_mined_bps"] is None


def test_what_was_taken_back_of_the_quarter_that_runs_is_told_once_as_nothing() -> None:
    """O-52: or the row of the day before would hold for ever. What a block of tomorrow has waits for then."""
    tomorrow = NOV + dt.timedelta(days=1)
    got = [Got(2, NOV, 8, "")]
    moved = [(1, Q4.first), (3, tomorrow), (4, dt.date(2027, 1, 1))]
    told = rows_of(NOV, got, moved=moved)
    assert [(one["miner_id"], one["period"], one["mined_sat"]) for one in told] == [
        (1, "2026-Q4", 0),
        (2, "2026-Q4", 8),
    ]
    assert [one["miner_id"] for one in rows_of(tomorrow, got)] == [2]


def test_more_sold_than_was_ever_distributed_is_flagged() -> None:
    """In the order of the days of sale, and with what lies before the facts."""
    old = dt.date(2026, 2, 1)
    got = [Got(1, old, 50, ""), Got(1, NOV, 50, "Steppe Exchange")]
    sales = [
        *(sale(1, old, 40, "old"), sale(1, NOV, 30, "second")),
        sale(1, NOV - dt.timedelta(days=1), 30, "first"),
        sale(1, NOV, 1, "third"),
    ]
    for since in (Q4.first, dt.date(2023, 1, 1)):
        one = row(rows_of(NOV, got, sales, since=since))
        flags = {said["reference"]: said["beyond_distributed"] for said in one["confirmations"]}
        assert flags == {"first": False, "second": False, "third": True}
        assert one["realised_sat"] == 61


def test_deposits_are_set_against_what_is_said_to_be_sold_there() -> None:
    """Opening + delivered - sold = open, by exchange, whatever the letters of its name."""
    old = dt.date(2026, 8, 3)
    got = [
        *(Got(1, old, 100, "Steppe Exchange"), Got(1, NOV, 30, "STEPPE  exchange"), Got(1, NOV, 9, "Other")),
        *(Got(1, NOV, 1000, ""), Got(2, NOV, 5, "Other")),
        Got(1, dt.date(2026, 12, 31), 7, "Other"),
    ]
    sales = [
        sale(1, old, 60, "a"),
        *(
            sale(1, NOV, 50, "b"),
            sale(1, NOV, 11, "c", exchange="other"),
            sale(1, NOV, 3, "d", exchange="OTC"),
        ),
    ]
    for since in (Q4.first, dt.date(2023, 1, 1)):
        assert deliveries(facts(NOV, got, sales, since=since), Q4) == [
            Delivery(1, "Other", 0, 9, 11),
            Delivery(1, "Steppe Exchange", 40, 30, 50),
            Delivery(2, "Other", 0, 5, 0),
        ]
    (other, steppe, _) = deliveries(facts(NOV, got, sales), Q4)
    assert (other.open_sat, steppe.open_sat) == (-2, 20)
    third = Period("2026-Q3", dt.date(2026, 7, 1), dt.date(2026, 9, 30))
    assert deliveries(facts(NOV, got, sales), third) == [Delivery(1, "Steppe Exchange", 0, 100, 60)]


def test_facts_of_another_day_or_period_are_refused() -> None:
    with pytest.raises(ValueError, match="mandatory sale of 2026-11-25: the facts are of 2026-11-24"):
        sale_rows(facts(NOV), RULES, NOV + dt.timedelta(days=1))
    with pytest.raises(ValueError, match="period 2026-Q4: the facts are of 2026-11-01"):
        measure(facts(NOV, since=dt.date(2026, 11, 1)), RULES, Q4)


# The second way: day by day, coin by coin, in fractions; no parts, its own calendar and its own law.

DAYS = st.dates(dt.date(2024, 11, 1), dt.date(2025, 6, 1))
BPS = st.integers(0, 10_000)
SHARES = st.dictionaries(
    DAYS, st.tuples(BPS, st.sampled_from([("AFSA",), ("NBK",), ("AFSA", "NBK")])), max_size=3
)
MEASURES = st.dictionaries(
    DAYS,
    st.tuples(st.sampled_from(["mined", "realised"]), st.sampled_from(["month", "quarter", "year"])),
    max_size=2,
)
FIRST = dt.date(2024, 1, 1)
GETS = st.lists(
    st.builds(Got, st.sampled_from([1, 2]), DAYS, st.integers(1, 40), st.sampled_from(["", "Steppe"])),
    max_size=12,
)
SALES = st.lists(
    st.builds(
        sale, st.sampled_from([1, 2]), DAYS, st.integers(1, 40), licensor=st.sampled_from(["", "AFSA", "NBK"])
    ),
    max_size=12,
)


def in_force(rows: dict[dt.date, Any], day: dt.date) -> Any:
    return rows[max(on for on in rows if on <= day)]


def together(kind: str, day: dt.date) -> tuple[int, int]:
    """What days of one month, quarter or year have in common."""
    return day.year, {"month": day.month, "quarter": (day.month + 2) // 3, "year": 0}[kind]


def days_of_the_period(measures: dict[dt.date, tuple[str, str]], today: dt.date) -> list[dt.date]:
    """From today back to where the month (quarter, year) began, or where it began to be the measure."""
    kind = in_force(measures, today)[1]
    days = [today]
    while (day := days[-1] - dt.timedelta(days=1)) >= FIRST:
        if in_force(measures, day)[1] != kind or together(kind, day) != together(kind, today):
            break
        days.append(day)
    return days


@given(SHARES, MEASURES, GETS, SALES, DAYS)
def test_a_second_way_of_computing_agrees(
    shares: dict[dt.date, Any],
    measures: dict[dt.date, tuple[str, str]],
    got: list[Got],
    sales: list[Sale],
    today: dt.date,
) -> None:
    """O-50, Q-02, I2: both readings, rule changes inside of periods, and changes of the period itself."""
    shares = {FIRST: (5000, ("AFSA",))} | shares
    measures = {FIRST: ("mined", "quarter")} | measures
    told = {
        one["miner_id"]: one for one in sale_rows(facts(today, got, sales), rules_of(shares, measures), today)
    }
    for miner_id in (1, 2):
        mined = realised = eligible = 0
        due = {MINED: Fraction(), REALISED: Fraction()}
        seen = False
        for day in days_of_the_period(measures, today):
            bps, whose = in_force(shares, day)
            for one in got:
                if (one.miner_id, one.on) == (miner_id, day):
                    seen = True
                    for _ in range(one.amount_sat):
                        mined += 1
                        due[MINED] += Fraction(bps, 10_000)
            for sold in sales:
                if (sold.miner_id, sold.sold_on) == (miner_id, day):
                    seen = True
                    for _ in range(sold.quantity_sat):
                        realised += 1
                        due[REALISED] += Fraction(bps, 10_000)
                        eligible += sold.licensor in whose
        if not seen:
            assert miner_id not in told
            continue
        short = {base: max(math.ceil(due[base] - eligible), 0) for base in due}
        base = in_force(measures, today)[0]
        one = told[miner_id]
        assert (one["mined_sat"], one["realised_sat"], one["sold_eligible_sat"]) == (
            mined,
            realised,
            eligible,
        )
        assert (one["shortfall_of_mined_sat"], one["shortfall_of_realised_sat"]) == (
            short[MINED],
            short[REALISED],
        )
        assert (one["base"], one["shortfall_sat"]) == (base, short[base])
        assert one["rule_share_bps"] == in_force(shares, today)[0]


@given(GETS, SALES, st.integers(1, 10**13), DAYS)
def test_a_row_proves_itself(got: list[Got], sales: list[Sale], times: int, today: dt.date) -> None:
    """What docs/mandatory-sale.md says must hold, whatever of the past is told in sums alone.

    With a share that never changes the flag is the share shown.
    """
    got = [one._replace(amount_sat=one.amount_sat * times) for one in got]
    running = period_of(RULES, today)
    assert running is not None
    told = rows_of(today, got, sales)
    assert rows_of(today, got, sales, since=running.first) == told
    for one in told:
        for name in ("mined_sat", "realised_sat", "sold_eligible_sat"):
            assert one[name] == sum(part[name] for part in one["parts"])
        confirmed = one["confirmations"]
        assert one["realised_sat"] == sum(said["quantity_sat"] for said in confirmed)
        eligible = sum(said["quantity_sat"] for said in confirmed if said["eligible"])
        assert one["sold_eligible_sat"] == eligible
        assert one["delivered_sat"] <= one["mined_sat"]
        for base in (MINED, REALISED):
            share = share_of(one["sold_eligible_sat"], one[f"{base}_sat"])
            assert one[f"share_of_{base}_bps"] == share
            enough = share is None or share >= one["rule_share_bps"]
            assert enough == (one[f"shortfall_of_{base}_sat"] == 0)
        assert one["shortfall_sat"] == one[f"shortfall_of_{one['base']}_sat"]
