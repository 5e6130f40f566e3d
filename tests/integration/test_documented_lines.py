"""The lines of shell that the documents give to outsiders do what is said of them, as they stand there."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from pool.reports import build_report
from tests.integration.ledger_world import DAY, World
from tests.integration.test_reports import NEXT_DAY, PUBLISHER, a_day

DOCS = Path(__file__).parents[2] / "docs"


async def test_the_bytes_that_a_state_signature_is_over_are_cut_out_of_a_report(
    world: World, tmp_path: Path
) -> None:
    await a_day(world)
    envelope = await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY)
    (tmp_path / "2026-11-23.json").write_bytes(envelope)
    lines = (DOCS / "keys.md").read_text("utf-8").splitlines()
    (line,) = [one.strip() for one in lines if one.strip().startswith("sed -E ")]
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    cut = hashlib.sha256((tmp_path / "signed-bytes").read_bytes()).hexdigest()
    assert cut == json.loads(envelope)["report_sha256"]
