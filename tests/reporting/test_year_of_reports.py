"""A year of daily reports: each is built, they follow each other, and a stranger verifies them all (I3, I7).

CI lives twelve days; `make campaign` the year, and prints what it took (benchmarks/README.md).
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from reporting.dmpool_verify import examine
from reporting.signing import SigningKey
from tests.campaign import extent
from tests.reporting.year_world import Year

KEY = SigningKey(b"\x07" * 32)

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]


def test_o43_a_year_of_reports_builds_follows_and_verifies(tmp_path: Path) -> None:
    year = Year(KEY)
    reports: dict[str, bytes] = {}
    begin = time.process_time()
    for number, (day, data) in enumerate(year.days(extent(12, 365))):
        reports[f"{day}.json"] = data
        if number == extent(6, 180):
            year.write_log(tmp_path / "kept")
    built = time.process_time() - begin
    year.write_log(tmp_path / "log")
    begin = time.process_time()
    told = examine(reports, KEY.public_key, log=tmp_path / "log", old=tmp_path / "kept" / "checkpoint")
    took = time.process_time() - begin
    assert [one for checks in told.values() for one in checks if not one.passed] == []
    largest = max(len(data) for data in reports.values())
    print(f"{len(reports)} reports, the largest of {largest} bytes: built in {built:.1f} s of CPU,")
    print(f"verified with the log in {took:.1f} s")
    missing = dict(list(reports.items())[:4] + list(reports.items())[5:])
    chain = examine(missing, KEY.public_key)["all reports"]
    assert "report 6 of 2026-01-06: sequence: 6 is not 5" in chain[0].detail
