"""The mandatory sale: what each miner mined, realised and sold on eligible exchanges, and what is missing.

Mined is what the pool distributed to the miner, by its day of distribution (Q-07): that is what it got by
mining and can sell (LAW art. 8 p. 4), while what is credited may still leave with a block. Realised is all
that was sold, by the word of a miner or an exchange; of that counts as sold what went over an exchange whose
licensor the rule of the day of sale names. What a split payout sends to an exchange is delivered for sale,
and is no sale.

The law does not say of what the share is one (Q-02), so both readings are computed: of what was mined, and of
what was realised. What has to be sold is the sum over the days of a period of the day's satoshis times the
day's share, rounded up once, because the law says "not less". Shares that are shown are rounded down. So a
row shows the share of its rule, or more, exactly when nothing is missing.

Days are of Kazakhstan, amounts satoshis, shares basis points (O-50 to O-52, regulation.md 5.3).
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from payouts.pplns import BPS
from register.rules import Rules
from reporting.sale_confirmation import Sale, Told, folded
from reporting.sale_period import MEASURE, SHARE, Period, Stretch, period_of, stretches

Json = dict[str, Any]
MINED: Final = "mined"
REALISED: Final = "realised"
BASES: Final = (MINED, REALISED)
"""Both readings of Q-02; the dated rule `sale_measure` says which one decides."""
OFF: Final = "off"
"""The mode in which the pool does not watch over the sale (Q-10)."""


class Got(NamedTuple):
    """What the pool distributed to a miner on a day."""

    miner_id: int
    on: dt.date
    amount_sat: int
    exchange: str
    """Whose deposit address it went to; empty for the miner's own wallet."""


@dataclass(frozen=True, slots=True)
class SaleFacts:
    """All that was distributed and said to be sold by the end of `day`, day by day from `since` on.

    A sale that was told of after that day is not in it, however early it was made.
    """

    since: dt.date
    day: dt.date
    got: Sequence[Got]
    said: Sequence[Told]
    """Lines of the book that stand, of sales from `since` on."""
    got_before: Mapping[tuple[int, str], int]
    """What was distributed before `since`, by miner and exchange (empty: its wallet)."""
    said_before: Mapping[tuple[int, str], int]
    """What was sold before `since`, by miner and exchange."""
    moved: frozenset[tuple[int, dt.date]]
    """Miner and day of what was heard of on `day`: distributions, sales, and what was taken back of them."""


class Part(NamedTuple):
    """What a miner did in a stretch of a period."""

    stretch: Stretch
    mined_sat: int
    realised_sat: int
    sold_eligible_sat: int


class SaleSaid(NamedTuple):
    """A sale as a row tells it."""

    told: Told
    eligible: bool
    beyond: bool
    """Whether the miner has sold more with it than the pool ever distributed to it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a miner stands in a period, up to the day of the facts."""

    miner_id: int
    period: Period
    share_bps: int
    """By the rule of the last day that is told of, as are `base` and `mode`."""
    base: str
    mode: str
    parts: tuple[Part, ...]
    delivered_sat: int
    """What of the mined the pool paid to the miner's exchange."""
    sales: tuple[SaleSaid, ...]

    @property
    def mined_sat(self) -> int:
        """Distributed to it."""
        return sum(part.mined_sat for part in self.parts)

    @property
    def realised_sat(self) -> int:
        """Sold anywhere."""
        return sum(part.realised_sat for part in self.parts)

    @property
    def sold_eligible_sat(self) -> int:
        """Sold on exchanges that count."""
        return sum(part.sold_eligible_sat for part in self.parts)

    def required_sat(self, base: str) -> int:
        """What had to be sold on exchanges that count, by one of the readings."""
        due = sum(
            (part.mined_sat if base == MINED else part.realised_sat) * part.stretch.share_bps
            for part in self.parts
        )
        return -(-due // BPS)

    def shortfall_sat(self, base: str) -> int:
        """What of that was not sold there."""
        return max(self.required_sat(base) - self.sold_eligible_sat, 0)

    @property
    def short_sat(self) -> int:
        """What is missing by the reading in force; nothing where the pool does not watch."""
        return 0 if self.mode == OFF else self.shortfall_sat(self.base)


def measure(facts: SaleFacts, rules: Rules, period: Period, besides: Iterable[int] = ()) -> list[Standing]:
    """Every miner that got or sold something in a period, and those `besides`, by id, up to the facts' day.

    Raises ValueError for a period that is not in the facts.
    """
    if not facts.since <= period.first <= facts.day:
        raise ValueError(f"period {period.name}: the facts are of {facts.since} to {facts.day}")
    upto = min(facts.day, period.last)
    rows = stretches(rules, period)
    sums: dict[int, list[list[int]]] = defaultdict(lambda: [[0, 0, 0] for _ in rows])
    delivered: dict[int, int] = defaultdict(int)
    sales: dict[int, list[SaleSaid]] = defaultdict(list)
    for miner_id in besides:
        sums[miner_id]  # with nothing, unless something follows
    for got in facts.got:
        place = _place(rows, got.on)
        if place is not None:
            sums[got.miner_id][place][0] += got.amount_sat
            delivered[got.miner_id] += got.amount_sat if got.exchange else 0
    beyond = beyond_distributed(facts)
    for told in sorted(facts.said, key=_in_order):
        sale = told.sale
        place = _place(rows, sale.sold_on)
        if place is not None:
            eligible = sale.eligible(rows[place].licensors)
            sums[sale.miner_id][place][1] += sale.quantity_sat
            sums[sale.miner_id][place][2] += sale.quantity_sat if eligible else 0
            sales[sale.miner_id].append(SaleSaid(told, eligible, told.seq in beyond))
    row = rules.find("sale_mode", upto)
    return [
        Standing(
            miner_id=miner_id,
            period=period,
            share_bps=next(one.share_bps for one in reversed(rows) if one.first <= upto),
            base=rules.on(MEASURE, upto).text("base"),
            mode=row.text("mode") if row is not None else OFF,
            parts=tuple(
                Part(stretch, *amounts)
                for stretch, amounts in zip(rows, sums[miner_id], strict=True)
                if stretch.first <= upto
            ),
            delivered_sat=delivered[miner_id],
            sales=tuple(sales[miner_id]),
        )
        for miner_id in sorted(sums)
    ]


def sale_rows(facts: SaleFacts, rules: Rules, day: dt.date) -> list[Json]:
    """The rows of the daily report, by miner and period.

    One for each miner that got or sold something in the period that runs, up to the end of `day`, or of which
    something of it was heard on `day`, also where nothing is left. And one for each miner and period that is
    over of which something was heard on `day`, as it stands now: so is reported what is told of late. None
    before 2024, nor in the mode `off`. Raises ValueError for facts of another day.
    """
    if facts.day != day:
        raise ValueError(f"mandatory sale of {day}: the facts are of {facts.day}")
    running = period_of(rules, day)
    mode = rules.find("sale_mode", day)
    if running is None or mode is None or mode.text("mode") == OFF:
        return []
    heard: dict[Period, set[int]] = defaultdict(set)
    for miner_id, on in facts.moved:
        # A block's clock may be in tomorrow, which tomorrow's report tells.
        period = period_of(rules, on) if on <= day else None
        if period is not None:
            heard[period].add(miner_id)
    told = measure(facts, rules, running, heard.pop(running, ()))
    for period, miners in heard.items():
        told += [one for one in measure(facts, rules, period, miners) if one.miner_id in miners]
    return [_row(one, rules) for one in sorted(told, key=lambda one: (one.miner_id, one.period.first))]


def beyond_distributed(facts: SaleFacts) -> frozenset[int]:
    """Numbers of the sales by which a miner has sold more than the pool ever distributed to it.

    Sales count in the order of their days. Such a sale may be true: the coins are of elsewhere.
    """
    had: dict[int, int] = defaultdict(int)
    for (miner_id, _), amount in facts.got_before.items():
        had[miner_id] += amount
    for got in facts.got:
        had[got.miner_id] += got.amount_sat
    for (miner_id, _), amount in facts.said_before.items():
        had[miner_id] -= amount
    found: set[int] = set()
    for told in sorted(facts.said, key=_in_order):
        had[told.sale.miner_id] -= told.sale.quantity_sat
        if had[told.sale.miner_id] < 0:
            found.add(told.seq)
    return frozenset(found)


def is_eligible(sale: Sale, rules: Rules) -> bool:
    """Whether a sale is a mandatory one by the rule of its day."""
    row = rules.find(SHARE, sale.sold_on)
    return row is not None and sale.eligible(row.texts("licensors"))


def share_of(part: int, whole: int) -> int | None:
    """A share in basis points, rounded down; None of nothing."""
    return part * BPS // whole if whole else None


# Deposits against sales


class Delivery(NamedTuple):
    """What was paid to a miner's address on an exchange, against what is said to be sold there.

    `opening_sat` + `delivered_sat` - `sold_sat` = `open_sat`. It is below zero where more was sold than the
    pool delivered: the miner brought coins of its own.
    """

    miner_id: int
    exchange: str
    opening_sat: int
    """Delivered before the period, less what was sold before it."""
    delivered_sat: int
    sold_sat: int

    @property
    def open_sat(self) -> int:
        """What waits for a confirmation at the end of the period."""
        return self.opening_sat + self.delivered_sat - self.sold_sat


def deliveries(facts: SaleFacts, period: Period) -> list[Delivery]:
    """By miner and exchange, where the pool ever delivered to by the end of a period, or of the facts."""
    names: dict[tuple[int, str], str] = {}
    opening: dict[tuple[int, str], int] = defaultdict(int)
    delivered: dict[tuple[int, str], int] = defaultdict(int)
    sold: dict[tuple[int, str], int] = defaultdict(int)
    for (miner_id, exchange), amount in facts.got_before.items():
        if exchange:
            key = miner_id, folded(exchange)
            names.setdefault(key, exchange)
            opening[key] += amount
    for (miner_id, exchange), amount in facts.said_before.items():
        opening[miner_id, folded(exchange)] -= amount
    for got in facts.got:
        if got.exchange and got.on <= period.last:
            key = got.miner_id, folded(got.exchange)
            names.setdefault(key, got.exchange)
            (delivered if got.on >= period.first else opening)[key] += got.amount_sat
    for told in facts.said:
        sale = told.sale
        key = sale.miner_id, folded(sale.exchange)
        if period.first <= sale.sold_on <= period.last:
            sold[key] += sale.quantity_sat
        elif sale.sold_on < period.first:
            opening[key] -= sale.quantity_sat
    return [
        Delivery(key[0], name, opening[key], delivered[key], sold[key]) for key, name in sorted(names.items())
    ]


# Parts


def _place(rows: Sequence[Stretch], day: dt.date) -> int | None:
    """Which stretch a day is in; None outside of all."""
    return next((place for place, one in enumerate(rows) if one.first <= day <= one.last), None)


def _in_order(told: Told) -> tuple[dt.date, int]:
    return told.sale.sold_on, told.seq


def _row(one: Standing, rules: Rules) -> Json:
    return {
        "miner_id": one.miner_id,
        "period": one.period.name,
        "rule_share_bps": one.share_bps,
        "base": one.base,
        "mode": one.mode,
        "mined_sat": one.mined_sat,
        "delivered_sat": one.delivered_sat,
        "realised_sat": one.realised_sat,
        "sold_eligible_sat": one.sold_eligible_sat,
        "share_of_mined_bps": share_of(one.sold_eligible_sat, one.mined_sat),
        "share_of_realised_bps": share_of(one.sold_eligible_sat, one.realised_sat),
        "shortfall_sat": one.shortfall_sat(one.base),
        "shortfall_of_mined_sat": one.shortfall_sat(MINED),
        "shortfall_of_realised_sat": one.shortfall_sat(REALISED),
        "parts": [_part(part) for part in one.parts],
        "confirmations": [_said(said, rules) for said in one.sales],
    }


def _part(part: Part) -> Json:
    return {
        "from": part.stretch.first.isoformat(),
        "to": part.stretch.last.isoformat(),
        "share_bps": part.stretch.share_bps,
        "licensors": list(part.stretch.licensors),
        "mined_sat": part.mined_sat,
        "realised_sat": part.realised_sat,
        "sold_eligible_sat": part.sold_eligible_sat,
    }


def _said(said: SaleSaid, rules: Rules) -> Json:
    sale = said.told.sale
    return {
        "number": said.told.seq,
        "told_at": rules.local(said.told.at_us).isoformat(),
        "told_by": sale.told_by,
        "exchange": sale.exchange,
        "licensor": sale.licensor,
        "licence": sale.licence,
        "reference": sale.reference,
        "sold_on": sale.sold_on.isoformat(),
        "quantity_sat": sale.quantity_sat,
        "currency": sale.currency,
        "amount": sale.amount,
        "eligible": said.eligible,
        "beyond_distributed": said.beyond,
    }
