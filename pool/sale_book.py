"""The book of sales in PostgreSQL: what miners and exchanges say was sold, entered, put right and taken back.

Operators and compliance officers write it, each line with a reason. Whoever writes holds the book to the end
of the transaction, so that lines are numbered without a gap, become visible in order, and no two people enter
one trade at once. What stands at an instant is what was entered before it and not replaced before it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.tables_sale import sale_confirmation
from register.fields import text_of
from register.person import Actor, Person, PersonError, Role, require_current
from register.rules import Rules
from reporting.sale_confirmation import Action, Sale, SaleError, Told, folded

WRITERS: Final = (Role.OPERATOR, Role.COMPLIANCE)
REASON_LIMIT: Final = 500
_CHUNK: Final = 5000
_SALE: Final = tuple(field.name for field in msgspec.structs.fields(Sale))
_LINE: Final = tuple(field.name for field in msgspec.structs.fields(Told) if field.name != "sale")


class Writer:
    """One change of the book by one person, on a transaction that holds it (`begin`)."""

    def __init__(
        self, connection: AsyncConnection, actor: Actor, reason: str, at_us: int, today: dt.date, last: int
    ) -> None:
        self.today = today
        self._connection = connection
        self._actor = actor
        self._reason = reason
        self._at_us = at_us
        self._last = last

    @classmethod
    async def begin(
        cls,
        connection: AsyncConnection,
        actor: Actor,
        people: Mapping[str, Person],
        reason: str,
        rules: Rules,
        now_us: int,
    ) -> Writer:
        """Take the book; raises PersonError for who may not write it, SaleError without a reason."""
        if actor.role not in WRITERS:
            raise PersonError(
                f"{actor.name}: the role {actor.role} may not confirm sales; ask an operator or an officer"
            )
        require_current(actor, people)
        text_of("change of sales", "reason", reason, SaleError, REASON_LIMIT)
        await connection.execute(sa.text("LOCK TABLE sale_confirmation IN SHARE ROW EXCLUSIVE MODE"))
        newest = sa.select(sa.func.max(sale_confirmation.c.seq), sa.func.max(sale_confirmation.c.at_us))
        last, last_us = (await connection.execute(newest)).one()
        at_us = max(now_us, last_us or 0)
        return cls(connection, actor, reason, at_us, rules.day_of(at_us), last or 0)

    async def clashes(self, sales: Sequence[Sale], besides: int | None = None) -> dict[int, Told]:
        """By place in `sales`, a line that stands for the same trade of the same exchange.

        The line `besides`, which is to be put right, is not looked at.
        """
        references = sorted({sale.reference for sale in sales})
        standing: dict[str, list[Told]] = {}
        for start in range(0, len(references), _CHUNK):
            wanted = sale_confirmation.c.reference.in_(references[start : start + _CHUNK])
            for told in await read(self._connection, wanted):
                standing.setdefault(told.sale.reference, []).append(told)
        found: dict[int, Told] = {}
        for place, sale in enumerate(sales):
            for told in standing.get(sale.reference, ()):
                if told.seq != besides and told.sale.names & sale.names:
                    found[place] = told
        return found

    async def enter(self, sales: Sequence[Sale]) -> list[Told]:
        """Enter new sales; raises SaleError for one that cannot be, or that stands already."""
        clashes = await self.clashes(sales)
        seen: dict[tuple[str, tuple[str, str]], Sale] = {}
        for place, sale in enumerate(sales):
            sale.check(self.today)
            if place in clashes:
                raise SaleError(same_trade(sale, clashes[place]))
            for name in sale.names:
                if seen.setdefault((sale.reference, name), sale) is not sale:
                    raise SaleError(f"sale {sale.reference!r} of {sale.exchange} is given twice; keep one")
        return await self._write("entered", [(sale, None) for sale in sales])

    async def correct(self, seq: int, sale: Sale) -> Told:
        """Put another sale in the place of one that stands; raises SaleError."""
        before = await self._standing(seq)
        sale.check(self.today)
        if before.sale == sale:
            raise SaleError(f"sale {seq} is just so already; nothing would change")
        if before.sale.miner_id != sale.miner_id:
            raise SaleError(
                f"sale {seq} is of another miner; withdraw it there and enter it here, each with its reason"
            )
        clash = (await self.clashes([sale], besides=seq)).get(0)
        if clash is not None:
            raise SaleError(same_trade(sale, clash))
        return (await self._write("corrected", [(sale, seq)]))[0]

    async def withdraw(self, seq: int) -> Told:
        """Take back a sale that stands; raises SaleError."""
        before = await self._standing(seq)
        return (await self._write("withdrawn", [(before.sale, seq)]))[0]

    async def _standing(self, seq: int) -> Told:
        found = await read(self._connection, sale_confirmation.c.seq == seq, all_=True)
        if not found:
            raise SaleError(f"there is no sale {seq}; `dmpool sales list` shows all")
        later = await self._connection.scalar(
            sa.select(sale_confirmation.c.seq).where(sale_confirmation.c.replaces == seq)
        )
        if found[0].action == "withdrawn" or later is not None:
            by = f"line {later} replaces it" if later is not None else "it only takes one back"
            raise SaleError(f"sale {seq} does not stand: {by}; `dmpool sales list --all` shows the book")
        return found[0]

    async def _write(self, action: Action, lines: Sequence[tuple[Sale, int | None]]) -> list[Told]:
        told = [
            Told(
                seq=self._last + place,
                at_us=self._at_us,
                actor=self._actor.name,
                role=self._actor.role,
                reason=self._reason,
                action=action,
                replaces=replaces,
                sale=sale,
            )
            for place, (sale, replaces) in enumerate(lines, 1)
        ]
        if told:
            await self._connection.execute(sa.insert(sale_confirmation), [_row(one) for one in told])
            self._last = told[-1].seq
        return told


def same_trade(sale: Sale, told: Told) -> str:
    """What is said of a trade that is in the book."""
    trade = f"trade {sale.reference!r} of {sale.exchange} stands already as sale {told.seq}"
    if told.sale == sale:
        return f"{trade}, just so; leave it out"
    return f"{trade}, with other values; put it right by `dmpool sales add --corrects {told.seq}`"


# Reading


async def read(
    connection: AsyncConnection,
    *which: sa.ColumnElement[bool],
    before_us: int | None = None,
    all_: bool = False,
) -> list[Told]:
    """Lines that stand, in order; `all_`: also those that were replaced, and that take back.

    With `before_us` (unix microseconds) the book as it was before that instant.
    """
    wanted = sa.select(sale_confirmation).where(*which).order_by(sale_confirmation.c.seq)
    if not all_:
        wanted = wanted.where(stands(before_us))
    elif before_us is not None:
        wanted = wanted.where(sale_confirmation.c.at_us < before_us)
    return [_told(row) for row in await connection.execute(wanted)]


def stands(before_us: int | None = None) -> sa.ColumnElement[bool]:
    """Whether a row of the table counts, now or before an instant."""
    one, later = sale_confirmation.c, sale_confirmation.alias("later")
    replaced = sa.select(later.c.seq).where(later.c.replaces == one.seq)
    conditions: list[sa.ColumnElement[bool]] = [one.action != "withdrawn"]
    if before_us is not None:
        replaced = replaced.where(later.c.at_us < before_us)
        conditions.append(one.at_us < before_us)
    return sa.and_(*conditions, ~replaced.exists())


def sold(
    first: dt.date | None = None, last: dt.date | None = None, miner_id: int | None = None
) -> Iterable[sa.ColumnElement[bool]]:
    """Conditions for `read`: sales from a day to a day, of a miner."""
    if first is not None:
        yield sale_confirmation.c.sold_on >= first
    if last is not None:
        yield sale_confirmation.c.sold_on <= last
    if miner_id is not None:
        yield sale_confirmation.c.miner_id == miner_id


def _row(told: Told) -> dict[str, Any]:
    own = {name: getattr(told, name) for name in _LINE}
    sale = {name: getattr(told.sale, name) for name in _SALE}
    return {**own, **sale, "exchange_key": folded(told.sale.exchange)}


def _told(row: Any) -> Told:
    sale = Sale(**{name: getattr(row, name) for name in _SALE})
    return Told(**{name: getattr(row, name) for name in _LINE}, sale=sale)
