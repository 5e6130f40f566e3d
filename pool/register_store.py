"""The register of licensed miners in PostgreSQL, and the snapshot of it that gateways work by.

Nothing is overwritten: a new licence or payout address is a new row, and the newest counts. What may be
written is decided by `register`; only what needs the other miners (a name taken) is decided here.

A gateway asks for the `stamp` every other second, a query of a few index look-ups, and fetches the snapshot
when the stamp has changed. It keeps the snapshot on its own disk, so that it starts with PostgreSQL away.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.database import REGISTER_LOCK, licence, miner, payout_address
from register.address import Chain, script_for
from register.gate import Gate
from register.licence import Licence
from register.miner import Miner, MinerError
from register.rules import Rules

_LARGEST_ID: Final = 2**31 - 1


class Snapshot(msgspec.Struct, frozen=True):
    """The register as it stood at one moment."""

    stamp: str
    """Differs whenever the register does."""
    miners: tuple[Miner, ...]
    """By id."""

    def gate(self, rules: Rules) -> Gate:
        """Who may mine by this snapshot."""
        return Gate({one.name: one for one in self.miners}, rules)

    def to_bytes(self) -> bytes:
        """For a gateway's own disk."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """What `to_bytes` made; raises ValueError when it is something else."""
        return msgspec.msgpack.decode(data, type=cls)


async def add_miner(
    engine: AsyncEngine,
    rules: Rules,
    chain: Chain,
    *,
    name: str,
    title: str,
    bin_number: str,
    licence_held: Licence,
    address: str,
) -> Miner:
    """Enter a miner; raises MinerError, LicenceError or InvalidAddress (each a ValueError)."""
    # Looked at before anything is written; the id is the database's to give.
    proposed = Miner(_LARGEST_ID, name, title, bin_number, licence_held, address)
    licence_held.check_term(rules)
    script_for(address, chain)
    async with engine.begin() as connection:
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(REGISTER_LOCK)))
        if await connection.scalar(sa.select(miner.c.id).where(miner.c.name == name)) is not None:
            raise MinerError(f"miner {name}: an account of that name exists; choose another name")
        miner_id = await connection.scalar(
            sa.insert(miner)
            .values(name=name, title=title, bin=bin_number, kind=proposed.kind.value)
            .returning(miner.c.id)
        )
        assert miner_id is not None  # noqa: S101 - for the type checker: RETURNING gives it
        await connection.execute(
            sa.insert(licence).values(
                miner_id=miner_id,
                number=licence_held.number,
                subtype=licence_held.subtype,
                valid_from=licence_held.valid_from,
                valid_to=licence_held.valid_to,
            )
        )
        await connection.execute(sa.insert(payout_address).values(miner_id=miner_id, address=address))
    return Miner(int(miner_id), name, title, bin_number, licence_held, address)


async def list_miners(engine: AsyncEngine) -> list[Miner]:
    """All miners, by id."""
    async with engine.connect() as connection:
        return await read_miners(connection)


async def show_miner(engine: AsyncEngine, name: str) -> Miner:
    """The miner with an account name; raises MinerError when there is none."""
    async with engine.connect() as connection:
        found = await read_miners(connection, miner.c.name == name)
    if not found:
        raise MinerError(f"miner {name[:40]!r}: no such account; `dmpool miners list` shows all of them")
    return found[0]


async def stamp(engine: AsyncEngine) -> str:
    """Changes whenever the register does; cheap."""
    async with engine.connect() as connection:
        return await _stamp(connection)


async def snapshot(engine: AsyncEngine) -> Snapshot:
    """The whole register as it stands."""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            return Snapshot(await _stamp(connection), tuple(await read_miners(connection)))


async def read_miners(
    connection: AsyncConnection, *where: sa.ColumnElement[bool], as_of: dt.datetime | None = None
) -> list[Miner]:
    """Miners that meet `where` (over the table `miner`), by id, each with its newest licence and address.

    With `as_of`, the newest that had been entered before it, or the first if none had.
    """
    held = _newest(licence, as_of)
    paid = _newest(payout_address, as_of)
    rows = await connection.execute(
        sa.select(
            miner.c.id,
            miner.c.name,
            miner.c.title,
            miner.c.bin,
            held.c.number,
            held.c.subtype,
            held.c.valid_from,
            held.c.valid_to,
            paid.c.address,
        )
        .join_from(miner, held, sa.true())
        .join(paid, sa.true())
        .where(*where)
        .order_by(miner.c.id)
    )
    return [
        Miner(
            row.id,
            row.name,
            row.title,
            row.bin,
            Licence(row.number, row.subtype, row.valid_from, row.valid_to),
            row.address,
        )
        for row in rows
    ]


def _newest(table: sa.Table, as_of: dt.datetime | None) -> Any:
    order: list[Any] = [table.c.id.desc()]
    if as_of is not None:
        known = table.c.entered_at < as_of
        order = [known.desc(), sa.case((known, -table.c.id), else_=table.c.id)]
    rows = sa.select(table).where(table.c.miner_id == miner.c.id)
    return rows.order_by(*order).limit(1).lateral(f"newest_{table.name}")


async def _stamp(connection: AsyncConnection) -> str:
    newest = [
        sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0)).scalar_subquery()
        for table in (miner, licence, payout_address)
    ]
    row = (await connection.execute(sa.select(*newest))).one()
    return ".".join(str(number) for number in row)
