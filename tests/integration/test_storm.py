"""20,000 machines connect at once, are cut off at once and come back at once, while others mine.

The gateways are real processes, as many as the limit of open files asks for. Every connection is let in, none
is refused or reset, none waits for work longer than a minute; those that come back find their extranonce1
again (Q-06, Q-56). A few honest machines hash all the while and lose nothing (I1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.campaign import extent
from tests.integration.bitcoind_process import running_bitcoind
from tests.integration.pool_process import SIGNET_ADDRESS, PoolProcess
from tests.integration.recount import recount
from tests.integration.storm import all_do, crowds, processes_for
from tests.integration.stratum_client import Farm, Firmware, Machine, at_work
from tests.integration.test_faults import drained
from tests.integration.test_river import COMMISSION_BPS, MINERS, nodes_section, until

CONNECTIONS = 20_000
STORMS = extent(1, 20)
LONGEST_WAIT = 60.0
"""What the pool promises to a machine that comes in a storm."""
HASHRATE = 2000.0
BLOCK_TARGET = 0x0377AE << 8 * (0x1E - 3)
"""Of signet at its least difficulty. The machines keep a block: its tip would make other shares stale."""


@pytest.mark.alone
@pytest.mark.campaign
@pytest.mark.timeout(3600)
async def test_a_storm_refuses_nobody(database_url: str, engine: AsyncEngine, tmp_path: Path) -> None:
    """I1, Q-06, Q-56: 20,000 connections at once, twice; all are served, and resume what they had."""
    async with running_bitcoind("signet") as node:
        pools = []
        for number, role in enumerate(["ledger"] + ["gateway"] * processes_for(CONNECTIONS)):
            directory = tmp_path / f"{role}{number}"
            directory.mkdir()
            pool = PoolProcess(
                directory,
                database_url,
                chain="signet",
                address=SIGNET_ADDRESS,
                nodes=[nodes_section(node)],
                start_difficulty=2.0**-21,
                role=role,
            )
            pools.append(pool)
        for name, bin_number in MINERS.items():
            pools[0].add_miner(name, bin_number)
        for pool in pools:
            pool.start()
        gateways = pools[1:]
        try:
            machines = [
                Machine(
                    Farm("127.0.0.1", gateway.stratum_port, BLOCK_TARGET),
                    f"{name}.honest",
                    HASHRATE,
                    Firmware.QUEUED,
                )
                for gateway in gateways
                for name in MINERS
            ]
            ports = [gateway.stratum_port for gateway in gateways]
            async with at_work(machines), crowds(ports, CONNECTIONS, "altai.crowd") as crowd:
                await _mined_more(machines)
                first = await all_do(crowd, "connect")
                _assert_all_served(first)
                extranonces = [one for report in first for one in report["extranonces"]]
                assert len(set(extranonces)) == CONNECTIONS
                for _ in range(STORMS):
                    await _mined_more(machines)
                    await all_do(crowd, "cut")
                    back = await all_do(crowd, "connect")
                    _assert_all_served(back)
                    assert sum(report["resumed"] for report in back) == CONNECTIONS
                await _mined_more(machines)
                assert not any(report["faults"] for report in await all_do(crowd, "report"))
            await until(lambda: _answered(machines), "every share answered")
            await drained(engine, *gateways)
            counted = await recount(engine, COMMISSION_BPS, 2)
            _assert_nothing_lost(machines, counted.hashes)
        finally:
            assert [pool.stop() for pool in pools] == [0] * len(pools), "\n".join(pool.log for pool in pools)


def _assert_all_served(reports: list[dict[str, Any]]) -> None:
    assert not any(report["faults"] for report in reports), [report["faults"] for report in reports]
    assert sum(report["working"] for report in reports) == CONNECTIONS
    assert max(report["waits"][-1] for report in reports) <= LONGEST_WAIT


async def _mined_more(machines: list[Machine]) -> None:
    """Every honest machine has two more shares."""
    goal = {machine: len(machine.accepted) + 2 for machine in machines}

    async def reached() -> bool:
        return all(len(machine.accepted) >= count for machine, count in goal.items())

    await until(reached, "shares of the honest machines")


async def _answered(machines: list[Machine]) -> bool:
    return not any(machine.unanswered for machine in machines)


def _assert_nothing_lost(machines: list[Machine], held: list[str]) -> None:
    acknowledged = {share.hash for machine in machines for share in machine.accepted}
    assert not any(machine.farm.broken for machine in machines)
    refused = [(machine.username, one.code, one.text) for machine in machines for one in machine.refused]
    assert not refused
    assert set(held) == acknowledged
