"""The digest of the program is what an inspector computes with the tools of any Unix."""

import subprocess
from pathlib import Path

from pool.software import PACKAGES, software_digest

HOUSE = Path(__file__).parents[2]


def test_o23_the_digest_is_that_of_the_documented_command() -> None:
    command = (
        "find native payouts pool register reporting stratum -name '*.py' "
        "| LC_ALL=C sort | xargs sha256sum | sha256sum"
    )
    assert command in (HOUSE / "docs" / "report-schema.md").read_text("utf-8")
    made = subprocess.run(["sh", "-c", command], cwd=HOUSE, capture_output=True, text=True, check=True)
    assert made.stdout.split() == [software_digest(), "-"]
    assert all((HOUSE / package / "__init__.py").exists() for package in PACKAGES)
