"""FPPS in an audit: the credits of the period computed again, at the prices that the books have.

A price is what the chain paid, which no share tells: it is taken as told, and the database checks that it is
what its blocks paid over their work. What was credited at it follows from the work of the day, and from what
was carried below a satoshi: so older credits come along, as they were. Of a day whose shares are not all in
the replay (late work of an earlier day) the credit is taken as told.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal
from payouts.journal import EntryKind
from pool import fpps_accrual
from pool.archive_book import Line, row_of
from pool.audit_compare import Tally
from pool.audit_sources import EARLY_US, Told
from pool.tables import fpps_credit, fpps_rate
from register.rules import Rules

_VALUES: Final = ("work", "amount_sat", "commission_sat", "miner_left", "commission_left")


@dataclass(frozen=True, slots=True)
class Credit:
    """The work of a day that was credited at one instant; without an entry when it came to no satoshi."""

    at_us: int
    day: dt.date
    rows: Sequence[dict[str, Any]]
    entry: Line | None


class Credits:
    """The credits of a replay."""

    def __init__(self, connection: AsyncConnection, told: Told, rules: Rules) -> None:
        self.tally = Tally("credit of FPPS")
        self._connection = connection
        self._told = told
        self._rules = rules

    async def begin(self) -> None:
        """Prices, and what was credited before. Miners must be entered, the transaction is the caller's."""
        # Of what was before there is a part only: it cannot be checked against work and journal again.
        await self._connection.execute(
            sa.text("ALTER TABLE fpps_credit DISABLE TRIGGER fpps_credit_is_worth")
        )
        await self._insert(fpps_rate, [row_of(fpps_rate, line) for line in self._told.rates])
        older = [row_of(fpps_credit, line) | {"entry_id": None} for line in self._told.older_credits]
        await self._insert(fpps_credit, older)

    def all(self) -> list[Credit]:
        """The credits of the period and behind it, in order."""
        entries = {line["id"]: line for line in self._told.entries if line["kind"] == EntryKind.FPPS_CREDITED}
        groups: dict[tuple[int, str, int | None], list[Line]] = defaultdict(list)
        for line in self._told.credits:
            groups[line["at_us"], line["day"], line["entry_id"]].append(line)
        return [
            Credit(
                at_us,
                dt.date.fromisoformat(day),
                [row_of(fpps_credit, line) for line in lines],
                None if entry_id is None else entries.get(entry_id),
            )
            for (at_us, day, entry_id), lines in sorted(groups.items(), key=lambda group: group[1][0]["id"])
        ]

    async def again(self, credit: Credit) -> tuple[journal.Entry, list[dict[str, Any]]]:
        """What follows from the work of the day, or what was told of a day that is not all here."""
        if self._rules.day_bounds(credit.day)[0] - EARLY_US < self._told.whole_from_us:
            return journal.fpps_credited(*self._as_told(credit)), list(credit.rows)
        entry, rows = await fpps_accrual.accrue(self._connection, credit.day)
        told = {row["miner_id"]: _shown(row) for row in credit.rows}
        found = {row["miner_id"]: _shown(row) for row in rows}
        for miner_id in sorted(told.keys() | found.keys()):
            what = f"miner {miner_id} for {credit.day} at {credit.at_us}"
            self.tally.compare(what, found.get(miner_id), told.get(miner_id))
        return entry, rows

    async def book(self, credit: Credit, entry: journal.Entry, rows: Sequence[dict[str, Any]]) -> None:
        """Into the replay's database."""
        kept = [{name: row[name] for name in ("day", "miner_id", *_VALUES)} for row in rows]
        day = self._rules.day_of(credit.at_us)
        await fpps_accrual.book(self._connection, entry, kept, credit.at_us, day)

    @staticmethod
    def _as_told(credit: Credit) -> tuple[dict[int, int], str]:
        return (
            {row["miner_id"]: row["amount_sat"] for row in credit.rows},
            credit.entry["memo"] if credit.entry is not None else "as told",
        )

    async def _insert(self, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
        """They get new numbers, in the same order."""
        if rows:
            bare = [{name: value for name, value in row.items() if name != "id"} for row in rows]
            await self._connection.execute(sa.insert(table), bare)


def _shown(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {row[name]}" for name in _VALUES)
