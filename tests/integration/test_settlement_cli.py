"""`dmpool payouts` as an operator types it, on a real bitcoind and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from pool.cli import cli
from pool.wallet import bitcoins
from tests.integration.bitcoind_process import REPOSITORY
from tests.integration.entering import made_up_address
from tests.integration.free_port import free_port
from tests.integration.pool_process import PROGRAM
from tests.integration.settlement_world import SettlementWorld, settlement_world
from tests.integration.test_settlement import cold

OWED = {1: 30_000_000, 2: 1_000}


class Desk:
    """An operator at the pool's machine."""

    def __init__(self, world: SettlementWorld, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.config = directory / "dmpool.toml"
        self.metrics_port = free_port()

    def configure(self, signer: str, more: str = "") -> None:
        world = self.world
        url = world.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self.config.write_text(
            f"""
data_dir = "{self.directory / "data"}"
[pool]
name = "Test"
bin = "230440000105"
chain = "regtest"
address = "{world.address}"
[[nodes]]
url = "{world.process.url}"
[database]
url = "{url}"
[settlement]
wallet = "{world.settings["wallet"]}"
signer = "{signer}"
threshold_sat = 100_000
{more}
[metrics]
listen = "127.0.0.1:{self.metrics_port}"
"""
        )

    def gauge(self, name: str) -> float:
        """What the process tells; 0 while it does not."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.M)
        return float(found[1]) if found else 0.0

    async def do(self, *words: str, code: int = 0) -> str:
        """Type a command; what it said on both outputs."""
        command = ["payouts", *words, "--config", str(self.config)]
        result = await asyncio.to_thread(CliRunner().invoke, cli, command)
        assert result.exit_code == code, (result.output, result.exception)
        return result.output


@pytest_asyncio.fixture
async def desk(engine: AsyncEngine, tmp_path: Path) -> AsyncIterator[Desk]:
    async with settlement_world(engine, miners=2) as world:
        yield Desk(world, tmp_path)


async def test_the_ledgers_process_pays_by_schedule_and_tells_the_wallet(desk: Desk) -> None:
    await desk.world.owe(OWED)
    desk.configure("node", 'schedule = "daily 00:00"')
    command = (PROGRAM, "ledger", "--config", str(desk.config))
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY)
    try:
        async with asyncio.timeout(120):
            while not await desk.world.rpc("getrawmempool", wallet=None):
                await asyncio.sleep(0.2)
            await desk.world.mine()
            while (await desk.world.payout(1)).state != "confirmed":
                await asyncio.sleep(0.2)
            while desk.gauge('dmpool_wallet_satoshis{kind="trusted"}') < 1:
                await asyncio.sleep(0.2)
            assert desk.gauge("dmpool_settler_up") == 1
            # A command gets the lock between two looks of the process.
            assert "cannot be taken back" in await desk.do("abandon", "1", "--reason", "x", code=2)
    finally:
        process.terminate()
        await process.wait()
    await desk.world.require_books_true({1: 30_000_000, 2: 0})


async def test_a_run_with_the_nodes_wallet_from_preview_to_confirmation(desk: Desk) -> None:
    await desk.world.owe(OWED)
    desk.configure("node")
    shown = await desk.do("preview")
    assert "to be paid: 0.30000000 BTC in 1 payments" in shown
    assert "below the payout threshold" in shown
    assert "sent" in await desk.do("run", "--reason", "monthly")
    assert "nobody is to be paid now" in await desk.do("run", "--reason", "again")
    assert "higher fee" in await desk.do("bump", "1", "--reason", "slow")
    await desk.world.mine()
    await desk.world.tick(desk.world.settler())
    shown = await desk.do("status", "1")
    assert "confirmed" in shown
    assert "monthly" in shown
    assert "confirmed" in await desk.do("list", "--all")
    assert "0.30000000" in await desk.do("status")
    await desk.world.require_books_true({1: 30_000_000, 2: 0})


async def test_a_psbt_goes_out_and_comes_back(desk: Desk) -> None:
    await cold(desk.world)
    await desk.world.owe(OWED)
    desk.configure("psbt")
    assert "waits to be signed" in await desk.do("run", "--reason", "monthly")
    unsigned, signed = desk.directory / "out.psbt", desk.directory / "in.psbt"
    await desk.do("export", "1", "--out", str(unsigned))
    assert "is there already" in str(
        (await asyncio.to_thread(CliRunner().invoke, cli, desk_command(desk, unsigned))).exception
    )
    psbt = (await desk.do("export", "1")).strip()
    signed.write_text((await desk.world.rpc("walletprocesspsbt", psbt, wallet="cold"))["psbt"])
    assert "signatures are missing" in await desk.do("import", str(unsigned), code=1)
    assert "signed, stored and sent" in await desk.do("import", str(signed))
    assert "signed, stored and sent" in await desk.do("import", str(signed))
    await desk.world.mine()
    await desk.world.tick(desk.world.settler(signer="psbt"))
    await desk.world.require_books_true({1: 30_000_000, 2: 0})


def desk_command(desk: Desk, unsigned: Path) -> list[str]:
    return ["payouts", "export", "1", "--out", str(unsigned), "--config", str(desk.config)]


async def test_what_cannot_be_is_told_in_a_line(desk: Desk) -> None:
    await desk.world.owe(OWED)
    desk.configure("psbt")
    assert "payout 7: there is none" in await desk.do("abandon", "7", "--reason", "x", code=2)
    await desk.do("run", "--reason", "monthly")
    assert "payable again" in await desk.do("abandon", "1", "--reason", "wrong")
    assert "is abandoned" in await desk.do("export", "1", code=2)
    assert "is abandoned" in await desk.do("bump", "1", "--reason", "x", code=2)
    stranger = desk.directory / "strange.psbt"
    stranger.write_text("nothing at all")
    assert "neither a PSBT" in await desk.do("import", str(stranger), code=1)
    desk.world.settings["wallet"] = "nowhere"
    desk.configure("psbt")
    assert "createwallet" in await desk.do("run", "--reason", "x", code=1)


async def test_a_payment_by_hand_keeps_runs_back_until_it_is_said_to_be_booked(desk: Desk) -> None:
    """I5: the command that is refused says the words that let it go on."""
    await desk.world.owe(OWED)
    desk.configure("node")
    to = {made_up_address("miner2"): bitcoins(OWED[2])}
    txid = (await desk.world.rpc("send", [to], None, "unset", 5))["txid"]
    said = "".join((await desk.do("run", "--reason", "monthly", code=1)).split())
    assert f"run--booked{txid}`" in said
    assert await desk.world.rows_of_payouts() == []
    assert "sent" in await desk.do("run", "--reason", "monthly", "--booked", txid)
    await desk.world.mine()
    await desk.world.tick(desk.world.settler())
    assert await desk.world.received(1) == OWED[1]
