"""Sales, distributions and dated rules in a few words, for tests of the mandatory sale."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from register.rules import Row, Rules
from register.rules_schema import Value
from reporting.sale import Got, SaleFacts
from reporting.sale_confirmation import Sale, Told
from tests.register_world import RULES

BEGINNING = dt.date(2023, 1, 1)
COIN = 100_000_000
TOLD_US = 1_700_000_000_000_000
"""2023-11-15 04:13:20 in Kazakhstan."""


def sale(
    miner_id: int,
    on: dt.date,
    quantity_sat: int,
    reference: str = "T-1",
    *,
    exchange: str = "Steppe Exchange",
    licensor: str = "AFSA",
) -> Sale:
    licence = f"{licensor}-A-1" if licensor else ""
    return Sale(miner_id, "miner", exchange, licensor, licence, reference, on, quantity_sat, "KZT", "1000")


def said(seq: int, sold: Sale, *, at_us: int = TOLD_US) -> Told:
    return Told(seq, at_us, "oleg", "operator", "by letter", "entered", None, sold)


def standing(book: Iterable[Told]) -> list[Told]:
    """The lines of a book whose sales count: those that no later line replaces."""
    lines = list(book)
    replaced = {one.replaces for one in lines}
    return [one for one in lines if one.action != "withdrawn" and one.seq not in replaced]


def facts(
    day: dt.date,
    got: Iterable[Got] = (),
    sales: Iterable[Sale] = (),
    *,
    since: dt.date = BEGINNING,
    moved: Iterable[tuple[int, dt.date]] = (),
) -> SaleFacts:
    """What is older than `since` goes into the sums of before."""
    gets, tolds = list(got), [said(seq, one) for seq, one in enumerate(sales, 1)]
    got_before: dict[tuple[int, str], int] = {}
    said_before: dict[tuple[int, str], int] = {}
    for one in gets:
        if one.on < since:
            key = one.miner_id, one.exchange
            got_before[key] = got_before.get(key, 0) + one.amount_sat
    for told in tolds:
        if told.sale.sold_on < since:
            key = told.sale.miner_id, told.sale.exchange
            said_before[key] = said_before.get(key, 0) + told.sale.quantity_sat
    return SaleFacts(
        since=since,
        day=day,
        got=[one for one in gets if since <= one.on <= day],
        said=[told for told in tolds if since <= told.sale.sold_on <= day],
        got_before=got_before,
        said_before=said_before,
        moved=frozenset(moved),
    )


def rules_of(
    shares: Mapping[dt.date, tuple[int, tuple[str, ...]]],
    measures: Mapping[dt.date, tuple[str, str]],
    mode: str = "monitor",
) -> Rules:
    """The shipped rules with these rows of `mandatory_sale` and of `sale_measure` (base, period)."""
    given: list[tuple[str, dt.date, dict[str, Value]]] = [
        *(
            ("mandatory_sale", on, {"min_share_bps": bps, "licensors": list(whose)})
            for on, (bps, whose) in shares.items()
        ),
        *(("sale_measure", on, {"base": base, "period": period}) for on, (base, period) in measures.items()),
        ("sale_mode", dt.date(2024, 1, 1), {"mode": mode}),
    ]
    replaced = {rule for rule, _, _ in given}
    kept = [row for rule, rows in RULES._rows.items() if rule not in replaced for row in rows]
    made = [
        Row(rule, on, values, "a test", "assumed")
        for rule, on, values in sorted(given, key=lambda one: one[:2])
    ]
    return Rules([*kept, *made])
