"""`dmpool log` as an operator and an outsider type it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from pool.cli import cli
from pool.log_keeper import log_key_file
from reporting.note import Note
from reporting.signing import load_or_create
from tests.integration.log_world import POOL, LogWorld, Witness

WITNESS = Witness("audit.example/w1")


class Desk:
    """An operator at the pool's machine."""

    def __init__(self, log: LogWorld, directory: Path) -> None:
        self.log = log
        self.config = directory / "dmpool.toml"
        url = log.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        pool = "".join(f'{key} = "{value}"\n' for key, value in POOL.items())
        self.config.write_text(
            f'data_dir = "{log.settings.data_dir}"\n[pool]\n{pool}[database]\nurl = "{url}"\n'
            f'[[log.witnesses]]\nname = "auditor"\nvkey = "{WITNESS.key}"\n'
        )

    async def asks(self, *words: str) -> Result:
        """The pool's own commands; they have a loop of their own."""
        return await asyncio.to_thread(CliRunner().invoke, cli, ["log", *words, "--config", str(self.config)])


async def outside(*words: str) -> Result:
    """Somebody without the pool's configuration."""
    return await asyncio.to_thread(CliRunner().invoke, cli, ["log", *words])


@pytest_asyncio.fixture
async def desk(engine: AsyncEngine, tmp_path: Path) -> Desk:
    return Desk(LogWorld(engine, tmp_path / "data", witnesses=[WITNESS.section(url=False)]), tmp_path)


async def test_from_the_first_entry_to_the_outsider(desk: Desk, tmp_path: Path) -> None:
    assert "the log has no entries yet" in (await desk.asks("publish")).output
    await desk.log.add(3)
    published = await desk.asks("publish")
    assert published.exit_code == 0
    assert published.output.startswith("3 entries, root ")
    [vkey, report_vkey] = (await desk.asks("key")).output.split()
    assert vkey == str(desk.log.key)
    report_key = load_or_create(desk.log.settings.data_dir / "keys" / "report.key").public_key

    kept = tmp_path / "kept"
    kept.write_bytes((desk.log.directory / "checkpoint").read_bytes())
    await desk.log.add(2)
    await desk.asks("publish")
    for key in (vkey, report_vkey, report_key):
        seen = await outside("verify", str(desk.log.directory), "--key", key, "--old", str(kept))
        assert seen.exit_code == 0, seen.output
        assert "from 3 entries to 5" in seen.output

    proof = tmp_path / "1.tlog-proof"
    assert (await desk.asks("prove", "1", "--out", str(proof))).exit_code == 0
    seen = await outside("verify", str(proof), "--key", vkey)
    assert seen.exit_code == 0
    assert 'entry 1 of 5: {"at":' in seen.output
    none = await desk.asks("prove", "5")
    assert (none.exit_code, "no such entry among the 5" in none.stderr) == (1, True)


async def test_a_witness_is_taken_in_by_hand_and_shown(desk: Desk, tmp_path: Path) -> None:
    await desk.log.add(3)
    signed = await desk.log.advance()
    file = tmp_path / "cosigned"
    stranger = Witness("stranger", bytes([3]) * 32)
    for witness, code in ((stranger, 1), (WITNESS, 0)):
        file.write_bytes(Note(signed.note.text, (witness.cosign(signed.note.text),)).encode())
        assert (await desk.asks("cosign", str(file))).exit_code == code
    shown = (await desk.asks("show")).output
    assert "dmpool/230440000105/regtest" in shown
    assert signed.checkpoint.root.hex() in shown
    assert [line.split()[-1] for line in shown.splitlines() if line.split()[:1] == ["auditor"]] == ["3"]
    seen = await outside(
        "verify", str(desk.log.directory), "--key", str(desk.log.key), "--key", str(WITNESS.key)
    )
    assert (seen.exit_code, f"cosigned by {WITNESS.name}" in seen.output) == (0, True)
    file.write_text("nonsense")
    assert (await desk.asks("cosign", str(file))).exit_code == 2


async def test_an_outsider_is_told_what_does_not_fit(desk: Desk, tmp_path: Path) -> None:
    await desk.log.add(3)
    await desk.log.advance()
    key = str(desk.log.key)
    tile = desk.log.directory / "tile" / "entries" / "000.p" / "3"
    tile.write_bytes(tile.read_bytes().replace(b"24", b"25"))
    seen = await outside("verify", str(desk.log.directory), "--key", key)
    assert seen.exit_code == 1
    assert "FAIL every tile is made of what it stands for: tile/0/000.p/3" in seen.output
    for words in ((str(tmp_path / "nowhere"), "--key", key), (str(desk.log.directory), "--key", "nonsense")):
        assert (await outside("verify", *words)).exit_code == 2


async def test_a_lost_key_is_replaced_by_a_command(desk: Desk) -> None:
    await desk.log.add()
    await desk.log.advance()
    old = str(desk.log.key)
    log_key_file(desk.log.settings).unlink()
    lost = await desk.asks("key")
    assert (lost.exit_code, "the log's key is missing" in lost.stderr) == (1, True)
    new = await desk.asks("key", "--replace", "the disk died")
    assert new.exit_code == 0
    assert new.output.strip() == str(desk.log.key) != old
