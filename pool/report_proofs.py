"""A miner's proof out of PostgreSQL: its row of a day's report, the hours of the archive, and the place in
the log."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.log_reader import LogReader
from pool.report_facts import hours_of
from pool.reports import ReportError
from pool.tables import miner, report
from pool.tables_log import log_leaf
from register.rules import Rules
from reporting import miner_proof
from reporting.miner_proof import NoProof


async def proof_of(engine: AsyncEngine, rules: Rules, day: dt.date, account: str) -> bytes:
    """The file that proves a miner's row in the newest report of a day; raises ReportError."""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            miner_id = await connection.scalar(sa.select(miner.c.id).where(miner.c.name == account))
            if miner_id is None:
                raise ReportError(f"miner {account[:40]!r}: no such account; `dmpool miners list` shows all")
            return await proof_for(connection, rules, day, int(miner_id))


async def proof_for(connection: AsyncConnection, rules: Rules, day: dt.date, miner_id: int) -> bytes:
    """The same within the caller's transaction, which must see one moment (REPEATABLE READ)."""
    newest = sa.select(report).where(report.c.day == day).order_by(report.c.version.desc()).limit(1)
    row = (await connection.execute(newest)).one_or_none()
    if row is None:
        raise ReportError(f"no report of {day} was made; a proof is of a row of it")
    leaf = await leaf_of(connection, row.sha256)
    if leaf is None:
        raise ReportError(
            f"report of {day}: the transparency log does not tell of it; it was made before there was a log"
        )
    hours = await hours_of(connection, *rules.day_bounds(day))
    logged = await LogReader().proof(connection, leaf.index)
    try:
        proof = miner_proof.make(json.loads(row.envelope), miner_id, hours, bytes(leaf.data), logged)
    except NoProof as error:
        raise ReportError(str(error)) from error
    return miner_proof.encode(proof)


async def leaf_of(connection: AsyncConnection, sha256: str, kind: str = "report") -> Any | None:
    """The log's leaf of a report, or of a form."""
    told = sa.func.convert_from(log_leaf.c.data, "UTF8").contains(f'"sha256":"{sha256}"')
    wanted = sa.select(log_leaf.c.index, log_leaf.c.data).where(log_leaf.c.kind == kind, told)
    return (await connection.execute(wanted.order_by(log_leaf.c.index).limit(1))).one_or_none()
