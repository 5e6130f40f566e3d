"""One look of a settler in a process of its own, which may kill itself (`kill -9`) at a named step.

The failpoints are here and nowhere in the program.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import Callable
from typing import Any, Final

import msgspec

from pool import settlement_desk as desk
from pool import settlement_store as store
from pool.bitcoind import Bitcoind
from pool.database import create_engine
from pool.settlement_config import SettlementSection
from pool.settlement_steps import Means
from pool.settler import Settler, SettlerTask
from pool.signers import signer_of
from pool.wallet import Wallet
from tests.integration.ledger_world import RULES

STEPS: Final = (
    *("reserve", "lock_coins", "fund", "store_version", "hand_out", "sign", "store_signed", "broadcast"),
    *("store_sent", "look", "store_confirmed", "store_reversed", "store_final", "store_released", "sweep"),
)
"""Every step that matters; `hand_out` is taken with a signer that is a program."""
PLACES: Final = ("before", "after")


class Order(msgspec.Struct):
    """What the process shall do."""

    database: str
    node: str
    address: str
    now_us: int
    settings: dict[str, Any]
    run: bool = False
    """Make a run first."""
    bump: int | None = None
    """Raise the fee of this payout first."""
    abandon: int | None = None
    """Take this payout back first."""
    die_at: str = ""
    """A step, with "before " or "after "; empty to live."""


def armed(die_at: str) -> type[Settler]:
    """A settler that is killed before or after a step is done; the step is the program's own."""
    place, _, step = die_at.partition(" ")

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    return armed_with(die, place, step)


def armed_with(die: Callable[[], None], place: str, step: str) -> type[Settler]:
    """The same with another death."""
    if not step:
        return Settler
    whole = getattr(Settler, step)

    @functools.wraps(whole)
    async def deadly(*arguments: object, **more: object) -> object:
        if place == "before":
            die()
        result = await whole(*arguments, **more)
        die()
        return result

    return type("Armed", (Settler,), {step: deadly})


async def main(order: Order) -> None:
    """The look."""
    engine = create_engine(order.database)
    node = Bitcoind(order.node, "regtest")
    section = SettlementSection.model_validate(order.settings)
    wallet = Wallet(node, section.wallet)
    means = Means(
        engine,
        wallet,
        signer_of(section, wallet),
        RULES,
        section,
        "regtest",
        order.address,
        lambda: order.now_us,
    )
    settler = armed(order.die_at)(means)
    if order.run or order.bump or order.abandon:
        async with store.tenure(engine, 10) as tenure:
            if order.run:
                await settler.reserve(tenure, None, "tester", "a test")
            if order.bump:
                await desk.bump(settler, tenure, order.bump, None, "tester", "a test")
            if order.abandon:
                await desk.abandon(settler, tenure, order.abandon, "tester", "a test")
    await SettlerTask(settler).tick()
    await node.close()
    await engine.dispose()


def look_once(order: bytes) -> None:
    """What the process runs: one `Order` in JSON."""
    asyncio.run(main(msgspec.json.decode(order, type=Order)))
