"""A miner entered whole: account, data centre, licence, wallet and hardware units."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from embit import bech32
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.config import RULES_FILE
from pool.database import create_engine, migrate
from register.centre import Centre
from register.clerk import Clerk, Terms
from register.device import Device
from register.licence import Licence
from register.miner import Miner
from register.payout_address import PayoutAddress
from register.person import Actor, Role
from register.rules import load_rules

FIRST, LAST = dt.date(2026, 1, 1), dt.date(2028, 12, 31)
ENTERED_US = int(dt.datetime(2026, 1, 2, tzinfo=dt.UTC).timestamp()) * 1_000_000
RULES = load_rules(RULES_FILE)
WORKERS = (*(f"rig{number}" for number in range(201)), "crowd", "honest")
TESTER = Actor("tester", Role.COMPLIANCE)


async def enter_miner(
    engine: AsyncEngine,
    name: str,
    bin_number: str,
    address: str | None = None,
    *,
    chain: Any = "regtest",
    title: str | None = None,
    licence: str | None = None,
    subtype: Literal[1, 2] = 1,
    last: dt.date = LAST,
    workers: Sequence[str] = WORKERS,
) -> Miner:
    terms = Terms(RULES, chain)
    async with register_store.writing(
        engine, terms, TESTER, "for a test", now_us=lambda: ENTERED_US
    ) as clerk:
        miner = clerk.enter_miner(Miner(0, name, title or f"{name} LLP", bin_number))
        clerk.enter_centre(
            Centre(f"{name}-dc", f"{name}, hall 1", "Ekibastuz", bin_number, name, "ownership", "deed 1")
        )
        number = licence or f"L-{name}"
        clerk.enter_licence(Licence(number, miner.id, subtype, FIRST, FIRST, last))
        clerk.enter_address(PayoutAddress(miner.id, 0, "wallet", address or made_up_address(name), 0))
        for worker in workers:
            enter_unit(clerk, miner, worker)
    return miner


def made_up_address(name: str, hrp: str = "bcrt") -> str:
    """An address of nobody's."""
    return str(bech32.encode(hrp, 0, hashlib.sha256(name.encode()).digest()[:20]))


def enter_unit(clerk: Clerk, miner: Miner, worker: str) -> None:
    clerk.enter_device(
        Device(
            f"{miner.name}-{worker}", "Bitmain", "S17", f"{miner.name}-{worker}", worker, 56_000, 2520,
            miner.bin, miner.id, f"{miner.name}-dc", FIRST,
        )
    )  # fmt: skip


async def enter_alone(url: str, chain: str, name: str, bin_number: str, address: str) -> None:
    """The same into a database by its URL, which need not have our schema yet."""
    engine = create_engine(url)
    try:
        await migrate(engine)
        await enter_miner(engine, name, bin_number, address, chain=chain)
    finally:
        await engine.dispose()
