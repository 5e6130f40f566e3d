"""The demo: what `dmpool run` brings along when it has no configuration file.

Three licensed miners with made-up names, entered once into an empty register, and a simulated machine for
each. Nothing here is used when a configuration file is given.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

from embit import bech32
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.config import Listen
from pool.register_store import add_miner, list_miners
from pool.simulate import SimulatedMiner
from register.licence import Licence
from register.rules import Rules

HASHRATE = 80_000.0
"""Hashes per second of the machine of the first miner; the others have more."""


class DemoMiner(NamedTuple):
    """One licensee of the demo."""

    name: str
    title: str
    bin: str
    licence: str
    subtype: Literal[1, 2]


MINERS = (
    DemoMiner("altai", "Altai Demo Mining LLP", "940140000385", "DEMO-0001", 1),
    DemoMiner("ekibastuz", "Ekibastuz Demo Data Centre LLP", "990140004654", "DEMO-0002", 1),
    DemoMiner("saryarqa", "IE Saryarqa Demo", "061211600012", "DEMO-0003", 2),
)


def address_of(name: str) -> str:
    """A regtest address of nobody, derived from a name."""
    program = hashlib.sha256(name.encode()).digest()[:20]
    return str(bech32.encode("bcrt", 0, program))


async def enter_miners(engine: AsyncEngine, rules: Rules, today: dt.date) -> None:
    """Enter the demo's licensees into the register, unless it has miners already."""
    if await list_miners(engine):
        return
    for miner in MINERS:
        await add_miner(
            engine,
            rules,
            "regtest",
            name=miner.name,
            title=miner.title,
            bin_number=miner.bin,
            licence_held=Licence(
                miner.licence, miner.subtype, today - dt.timedelta(days=30), today + dt.timedelta(days=700)
            ),
            address=address_of(miner.name),
        )


def machines(count: int, listen: Listen) -> Sequence[SimulatedMiner]:
    """Simulated machines, one for each licensee in turn, on the pool that listens there."""
    url = f"stratum+tcp://127.0.0.1:{listen.port}" if listen.everywhere else f"stratum+tcp://{listen}"
    return [
        SimulatedMiner(url, f"{MINERS[n % len(MINERS)].name}.rig{n + 1}", HASHRATE * (1 + n % 3 * 0.25))
        for n in range(count)
    ]
