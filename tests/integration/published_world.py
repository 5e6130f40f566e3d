"""What a pool publishes of three days, as files: what a stranger downloads and checks on its own machine."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path

import rfc8785
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import report_keys
from pool.archive_file import hours
from pool.archive_text import write_text
from pool.config import Settings
from pool.log_keeper import LogKeeper
from pool.reports import get_report, list_reports
from tests.integration.audit_world import HOUR, KEY, MORNING, PUBLISHER, SECOND, Days
from tests.integration.ledger_world import DAY, NOON, RULES

NEXT, THIRD = DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=2)
_FAR = 2**62


@dataclass(frozen=True)
class Published:
    """Where the files lie."""

    reports: Path
    keys: Path
    log: Path
    old: Path
    """The log's checkpoint of the first day."""
    archive: Path
    """Hours as text."""


async def publish(engine: AsyncEngine, directory: Path) -> Published:
    """Three days of work, blocks, a payout, an orphan and a correction; reports, log and archive of them."""
    days = Days(engine, directory / "parquet")
    await days.settle_in()
    settings = _settings(directory)
    keeper = LogKeeper(engine, settings, lambda: days.now_us)
    log = settings.data_dir / "log"
    for _ in range(3):
        await days.mining()
        days.now_us += HOUR
    await days.block(1)
    await days.block(3, kept=False)
    days.now_us += HOUR
    await days.mining()
    await _report(days, DAY, MORNING + 20 * HOUR)
    await keeper.advance()
    old = directory / "checkpoint-kept"
    old.write_bytes((log / "checkpoint").read_bytes())
    await days.mining()
    await days.mature()
    await days.block(2)
    days.now_us += HOUR
    await days.pay({1: 1_000_000_000, 2: 70_000})
    await days.correct(5_000)
    await days.tell(days.share(3, at_us=NOON))  # from a gateway that was cut off
    await days.work()
    await _report(days, DAY, days.now_us, reason="a gateway was cut off")
    await _report(days, NEXT, MORNING + 44 * HOUR)
    await days.mining()
    days.node.reorganise(1)
    await days.work()
    await _report(days, THIRD, MORNING + 68 * HOUR)
    await keeper.advance()
    return await _files(
        engine,
        directory,
        Published(directory / "reports", directory / "keys.json", log, old, directory / "archive"),
    )


async def _report(days: Days, day: dt.date, at_us: int, reason: str = "later data") -> None:
    """The archive closes what is over, and the day is reported."""
    days.now_us = at_us + 120 * SECOND
    await days.close()
    await days.report(day, reason=reason)


def _settings(directory: Path) -> Settings:
    pool = {key: getattr(PUBLISHER.pool, key) for key in ("name", "bin", "chain", "address")}
    settings = Settings.model_validate({"data_dir": directory / "data", "pool": pool})
    file = settings.data_dir / "keys" / "report.key"
    file.parent.mkdir(parents=True, mode=0o700)
    file.write_text(KEY.secret.hex())
    file.chmod(0o600)
    return settings


async def _files(engine: AsyncEngine, directory: Path, published: Published) -> Published:
    published.reports.mkdir()
    for one in await list_reports(engine):
        data = await get_report(engine, one.day, one.version)
        (published.reports / f"{one.day}.{one.version}.json").write_bytes(data)
    async with engine.connect() as connection:
        ring = await report_keys.read(connection)
    published.keys.write_bytes(rfc8785.dumps(ring.document()))
    for hour in hours(directory / "parquet", 0, _FAR):
        place = hour.file.relative_to(directory / "parquet").with_suffix(".csv.gz")
        write_text(hour.file, published.archive / place, RULES.day_of)
    return published


def reports(published: Published) -> dict[str, bytes]:
    """The report files by name."""
    return {file.name: file.read_bytes() for file in sorted(published.reports.iterdir())}


def told(data: bytes) -> dict[str, object]:
    """The report of a file."""
    found = json.loads(data)["report"]
    assert isinstance(found, dict)
    return found
