"""Who is short of the mandatory sale: in the period that ended last, and in the one that runs (O-52).

What a compliance officer is told of it (`register.digest` knows the register alone), and what metrics count.
A period that runs is told in the calendar month in which it ends: before that everybody has yet to sell. In
the mode `off` nothing is told.

A quarter's payments and sales are many, and a page may be asked for often: who serves keeps a `SaleWatch`,
which works it out anew only when something has come.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.sale_store import sale_facts
from pool.tables import payout_event
from pool.tables_sale import sale_confirmation
from pool.wording import bitcoin, percent
from register.digest import Note, NoteKind
from register.rules import Rules
from reporting.sale import MINED, OFF, Standing, measure, share_of
from reporting.sale_period import period_before, period_of


class Watch(NamedTuple):
    """The miners that are short, with their standing in a period."""

    ended: list[Standing]
    running: list[Standing]


async def watch(connection: AsyncConnection, rules: Rules, day: dt.date) -> Watch:
    """Who was short when the last period ended, as is known on a day; and who would be if this one ended."""
    running, mode = period_of(rules, day), rules.find("sale_mode", day)
    if running is None or mode is None or mode.text("mode") == OFF:
        return Watch([], [])
    facts = await sale_facts(connection, rules, day)
    ended = period_before(rules, running)
    return Watch(
        *(
            [one for one in measure(facts, rules, period) if one.short_sat] if period is not None else []
            for period in (ended, running)
        )
    )


class SaleWatch:
    """Who is short, worked out anew only when a day, a payout or a sale has come; for one process."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._seen: tuple[dt.date, int | None, int | None] | None = None
        self._watch = Watch([], [])

    async def look(self, connection: AsyncConnection, day: dt.date) -> Watch:
        """As `watch` says it; the caller's transaction must see one moment (REPEATABLE READ)."""
        seen = (
            day,
            await connection.scalar(sa.select(sa.func.max(payout_event.c.id))),
            await connection.scalar(sa.select(sa.func.max(sale_confirmation.c.seq))),
        )
        if seen != self._seen:
            found = await watch(connection, self._rules, day)
            self._seen, self._watch = seen, found
        return self._watch

    async def notes(self, connection: AsyncConnection, day: dt.date) -> list[Note]:
        """What of it a compliance officer should know on a day."""
        return notes(await self.look(connection, day), day)


def notes(found: Watch, day: dt.date) -> list[Note]:
    """What of it a compliance officer should know on a day; the digest adds the names of the miners."""
    told = [_note(NoteKind.SALE_SHORT, one) for one in found.ended]
    for one in found.running:
        last = one.period.last
        if (day.year, day.month) == (last.year, last.month):
            told.append(_note(NoteKind.SALE_BEHIND, one, (last - day).days))
    return told


def _note(kind: NoteKind, one: Standing, days_left: int | None = None) -> Note:
    share = share_of(one.sold_eligible_sat, one.mined_sat if one.base == MINED else one.realised_sat)
    return Note(
        kind,
        one.period.name,
        miner_id=one.miner_id,
        since=one.period.first,
        until=one.period.last,
        days_left=days_left,
        detail=f"{bitcoin(one.short_sat)} BTC short: of what was {one.base} {percent(share or 0)} is sold, "
        f"{percent(one.share_bps)} has to be",
    )
