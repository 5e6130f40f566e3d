"""The demo: what `dmpool run` brings along when it has no configuration file.

An accredited pool with three licensed miners of made-up names, each with hardware units, entered once into an
empty register, and a simulated machine for each. Nothing here is used when a configuration file is given.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

from embit import bech32
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.config import Listen
from pool.simulate import SimulatedMiner
from register.centre import Centre
from register.clerk import Clerk, Terms
from register.device import Device
from register.licence import Licence
from register.miner import Miner
from register.payout_address import PayoutAddress
from register.person import Actor, Role
from register.pool_data import Accreditation, Site

HASHRATE = 80_000.0
"""Hashes per second of the machine of the first miner; the others have more."""
RIGS = 32
"""Hardware units of each miner that the demo's own machines, or a visitor's, may use: rig1 and on."""


class DemoMiner(NamedTuple):
    """One licensee of the demo."""

    name: str
    title: str
    bin: str
    licence: str
    subtype: Literal[1, 2]
    centre: str
    contract: str


MINERS = (
    DemoMiner("altai", "Altai Demo Mining LLP", "940140000385", "DEMO-0001", 1, "altai-1", ""),
    DemoMiner(
        "ekibastuz", "Ekibastuz Demo Data Centre LLP", "990140004654", "DEMO-0002", 1, "ekibastuz-1", ""
    ),
    DemoMiner("saryarqa", "IE Saryarqa Demo", "061211600012", "DEMO-0003", 2, "ekibastuz-1", "HOST-7"),
)


def address_of(name: str) -> str:
    """A regtest address of nobody, derived from a name."""
    program = hashlib.sha256(name.encode()).digest()[:20]
    return str(bech32.encode("bcrt", 0, program))


async def enter_miners(engine: AsyncEngine, terms: Terms) -> None:
    """Enter the demo's licensees into the register, unless it has miners already."""
    if (await register_store.read(engine, ("miner",))).miners:
        return
    actor = Actor("demo", Role.COMPLIANCE)
    async with register_store.writing(engine, terms, actor, "the demo begins") as clerk:
        begun = clerk.today - dt.timedelta(days=30)
        clerk.put_accreditation(Accreditation("DEMO", begun))
        clerk.put_site(Site("demo", "this machine", "KZ", ("stratum", "database", "node", "web")))
        for one in MINERS:
            _enter(clerk, one, begun)


def _enter(clerk: Clerk, one: DemoMiner, begun: dt.date) -> None:
    miner = clerk.enter_miner(Miner(0, one.name, one.title, one.bin))
    if one.subtype == 1:
        title = f"{one.title}, hall 1"
        clerk.enter_centre(
            Centre(one.centre, title, "made up", one.bin, one.title, "ownership", "DEMO-DEED of 2024-01-09")
        )
    last = begun + dt.timedelta(days=730)
    clerk.enter_licence(Licence(one.licence, miner.id, one.subtype, begun, begun, last))
    clerk.enter_address(PayoutAddress(miner.id, 0, "wallet", address_of(one.name), 0))
    for rig in range(1, RIGS + 1):
        clerk.enter_device(
            Device(
                registry_number=f"DEMO-{miner.id}-{rig:03}",
                manufacturer="Simulated",
                model="S17",
                serial_number=f"{one.name}-{rig:03}",
                worker=f"rig{rig}",
                nominal_ghs=56_000,
                nominal_w=2520,
                owner_bin=one.bin,
                miner_id=miner.id,
                centre=one.centre,
                included_on=begun,
                place="rack 1",
                contract=one.contract,
            )
        )


def machines(count: int, listen: Listen) -> Sequence[SimulatedMiner]:
    """Simulated machines, one for each licensee in turn, on the pool that listens there."""
    url = f"stratum+tcp://127.0.0.1:{listen.port}" if listen.everywhere else f"stratum+tcp://{listen}"
    return [
        SimulatedMiner(url, f"{MINERS[n % len(MINERS)].name}.rig{n + 1}", HASHRATE * (1 + n % 3 * 0.25))
        for n in range(count)
    ]
