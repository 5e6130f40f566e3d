"""One turn of a ledger in a process of its own, which may kill itself (`kill -9`) at a named step.

The failpoints are here and nowhere in the program.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from typing import Any, Final

import msgspec

from payouts.terms import DatedTerms, Terms
from pool import intake, journal_store, ledger_store
from pool.database import create_engine
from pool.ledger import Ledger
from tests.integration.ledger_world import RULES, FakeNode

STEPS: Final = {
    "next_batch": ledger_store,
    "move_head": ledger_store,
    "place_batch": ledger_store,
    "append_slices": ledger_store,
    "append_rejects": ledger_store,
    "read_window": ledger_store,
    "insert_block": ledger_store,
    "mark_submitted": ledger_store,
    "set_state": ledger_store,
    "next_instant": journal_store,
    "book": journal_store,
    "_keep": intake,
    "take_batch": intake,
}
"""Every step that writes, or by which something is decided, and where it is."""
PLACES: Final = ("before", "after")


class Turn(msgspec.Struct):
    """What the process shall do: be the ledger until there is nothing left to do, or until it dies."""

    database: str
    main: list[str]
    aside: list[str]
    now_us: int
    die_at: str = ""
    """A step, with "before " or "after "; empty to live."""
    spare: int = 0
    """How many times the step is lived through first."""


def arm(die_at: str, spare: int) -> None:
    """Have a step kill this process."""
    place, _, step = die_at.partition(" ")
    module = STEPS[step]
    whole = getattr(module, step)
    left = spare

    @functools.wraps(whole)
    async def deadly(*arguments: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0 and place == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = await whole(*arguments, **more)
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, step, deadly)
    if step == "take_batch":  # the ledger has it by its own name
        import pool.ledger  # noqa: PLC0415

        pool.ledger.take_batch = deadly  # type: ignore[attr-defined]


async def turn(order: Turn) -> None:
    """The turn."""
    engine = create_engine(order.database)
    node = FakeNode()
    node.main, node.aside = order.main, set(order.aside)
    terms = DatedTerms(Terms("pplns", 2, 150, "shared"))
    ledger = Ledger(engine, [node], RULES, terms, lambda: order.now_us)
    async with engine.connect() as connection:
        while await ledger.tick(connection):
            pass
        for _ in range(3):
            await ledger.tick(connection)
    await engine.dispose()


def take_turn(order: bytes) -> None:
    """What the process runs: one `Turn` in JSON."""
    decoded = msgspec.json.decode(order, type=Turn)
    if decoded.die_at:
        arm(decoded.die_at, decoded.spare)
    asyncio.run(turn(decoded))
