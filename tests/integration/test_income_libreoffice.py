"""LibreOffice opens the forms as accountants do: headings letter by letter, digits whole (O-41).

Skipped where soffice is absent. `HOME` is a folder of the test's own, so that no profile of anybody is
touched.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reporting.income_files import NOT_FINAL, table, xlsx
from tests.reporting.form_world import FORM_1, FORM_2, form_of, paid
from tests.reporting.test_income import HEADINGS_1, HEADINGS_2

START_SECONDS = 120


def converted(directory: Path, *names: str) -> None:
    """Each workbook as CSV beside it, by one start of LibreOffice."""
    program = shutil.which("soffice")
    if program is None:
        pytest.skip("soffice is not installed (Debian: libreoffice-calc)")
    subprocess.run(
        [program, "--headless", "--convert-to", "csv:Text - txt - csv (StarCalc):44,34,76", "--outdir", "."]
        + [f"{name}.xlsx" for name in names],
        cwd=directory,
        env={**os.environ, "HOME": str(directory)},
        check=True,
        capture_output=True,
        timeout=START_SECONDS,
    )


def test_the_forms_open_with_their_headings_and_digits(tmp_path: Path) -> None:
    first = form_of(paid(1, quantity_sat=100_000_000, bin="010140000385"), paid(2, 2))
    second = form_of(paid(1), form=FORM_2)
    (tmp_path / f"{FORM_1}.xlsx").write_bytes(xlsx(first, "ab" * 32))
    (tmp_path / f"{FORM_2}.xlsx").write_bytes(xlsx(second, "ab" * 32))
    converted(tmp_path, FORM_1, FORM_2)
    with (tmp_path / f"{FORM_1}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[8] == [*(HEADINGS_1[str(number)] for number in range(1, 10)), ""]
    assert rows[9] == [*[""] * 8, HEADINGS_1["9.1"], HEADINGS_1["9.2"]]
    assert rows[10] == [number for number in HEADINGS_1 if number != "9"]
    assert rows[11:] == table(first)
    with (tmp_path / f"{FORM_2}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][0] == NOT_FINAL
    assert rows[9] == list(HEADINGS_2.values())
