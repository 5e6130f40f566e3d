"""The book of a day: each row stands in exactly one, comes back as it was, and no crash or race loses it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import archive_book
from pool.archive_book import Book, BookError, Line, close_book, read_lines, row_of
from pool.tables import (
    block_event,
    gateway,
    journal_entry,
    journal_posting,
    payment,
    payout,
    payout_event,
    payout_run,
    payout_version,
    register_event,
    report,
)
from tests.integration.audit_world import HOUR, MORNING, Days
from tests.integration.ledger_world import RULES

UTC_DAY = dt.date(2026, 11, 24)
TABLES = (block_event, payment, payout_event, payout_run, payout_version, register_event, report)


@pytest_asyncio.fixture
async def days(engine: AsyncEngine, tmp_path: Path) -> AsyncIterator[Days]:
    made = Days(engine, tmp_path / "archive")
    await made.settle_in()
    yield made


async def close(days: Days, day: dt.date, now_us: int | None = None) -> Book | None:
    now = archive_book.start_of(day + dt.timedelta(days=1)) if now_us is None else now_us
    return await close_book(days.engine, days.directory, day, days.terms, RULES, now)


def lines(days: Days) -> list[Line]:
    return [line for book in days.books() for line in read_lines(book)]


async def test_every_row_is_in_one_book_and_comes_back(days: Days) -> None:
    """I3, I7: to the byte, over three days."""
    await days.live_three_days()
    told = lines(days)
    for table in TABLES:
        async with days.engine.connect() as connection:
            kept = [dict(row) for row in (await connection.execute(sa.select(table))).mappings()]
        found = [row_of(table, line) for line in told if line["table"] == table.name]
        if table is payout_version:  # told again in each book in which something became of its payout
            found = list({(row["payout_id"], row["number"]): row for row in found}.values())
        key = list(table.primary_key.columns.keys())
        assert sorted(found, key=lambda row: [row[name] for name in key]) == sorted(
            kept, key=lambda row: [row[name] for name in key]
        )
    entries = {line["id"]: line for line in told if line["table"] == "journal_entry"}
    rows = await days.rows("SELECT entry_id, account, amount FROM journal_posting ORDER BY id")
    assert [
        (id_, account, amount)
        for id_, line in sorted(entries.items())
        for account, amount in line["postings"]
    ] == rows
    assert {line["table"] for line in told} >= {"terms", gateway.name, payout.name, journal_entry.name}
    assert journal_posting.name not in {line["table"] for line in told}
    assert len(days.books()) == 3
    assert next(line for line in told if line["table"] == "terms")["window_multiple"] == 2


async def test_a_book_is_closed_once_and_not_before_its_day_is_over(days: Days) -> None:
    with pytest.raises(BookError, match="not over"):
        await close(days, UTC_DAY, MORNING + 23 * HOUR)
    book = await close(days, UTC_DAY)
    assert book is not None
    assert book.previous_sha256 is None
    assert await close(days, UTC_DAY) is None
    assert await close(days, UTC_DAY - dt.timedelta(days=1)) is None
    following = await close(days, UTC_DAY + dt.timedelta(days=1))
    assert following is not None
    assert following.previous_sha256 == book.manifest_sha256
    assert set(following.lines) == {"terms", "gateway"}


async def test_a_crash_before_the_manifest_is_repeated(days: Days) -> None:
    """I3: a file without its manifest is not a book, and is written again."""
    book = await close(days, UTC_DAY)
    assert book is not None
    before = lines(days)
    (book.directory / archive_book.MANIFEST).unlink()
    (book.directory / archive_book.DATA).write_bytes(b"half")
    (book.directory / f"{archive_book.DATA}.new").write_bytes(b"less")
    assert days.books() == []
    again = await close(days, UTC_DAY)
    assert again == book
    assert lines(days) == before


async def test_who_is_still_writing_is_waited_for(days: Days) -> None:
    """I3: an entry with a lower number that is committed later is in the book, not lost between two."""
    await days.block(1)
    insert = sa.text(
        "INSERT INTO block_event (hash, state, at_us, note) SELECT hash, state, 1, :note FROM block"
    )
    async with days.engine.connect() as slow:
        transaction = await slow.begin()
        await slow.execute(insert, {"note": "slow"})
        async with days.engine.begin() as quick:
            await quick.execute(insert, {"note": "quick"})
        closing = asyncio.create_task(close(days, UTC_DAY))
        await asyncio.sleep(0.5)
        assert not closing.done()
        await transaction.commit()
        assert await closing is not None
    notes = [line["note"] for line in lines(days) if line["table"] == "block_event"]
    assert notes[-2:] == ["slow", "quick"]


async def test_what_is_damaged_is_named(days: Days) -> None:
    """I4."""
    await close(days, UTC_DAY)
    second = await close(days, UTC_DAY + dt.timedelta(days=1))
    assert second is not None
    place = second.directory / archive_book.MANIFEST
    kept = place.read_bytes()
    place.write_bytes(json.dumps(json.loads(kept) | {"previous_sha256": "00"}).encode())
    with pytest.raises(BookError, match="as the book before"):
        days.books()
    place.write_bytes(json.dumps(json.loads(kept) | {"schema": "other"}).encode())
    with pytest.raises(BookError, match="of schema 'other'"):
        days.books()
    place.write_bytes(b"{")
    with pytest.raises(BookError, match="no manifest of a book"):
        days.books()
    place.write_bytes(kept)
    (second.directory / archive_book.DATA).unlink()
    with pytest.raises(BookError, match="restore it from the archive's backup"):
        lines(days)
