"""What a statement says of this moment: what is held and why, and what a block found now would pay.

The network's target is read where every share has it, in the header of the newest one, so that whoever has
the database can tell without asking a node; before there is a share, the newest block of the pool tells it.
The reward that the preview divides is the subsidy of the height that is being mined: which transaction fees a
block will bring is known when it is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.payout_plan import Held, PlanSettings, plan
from payouts.pplns import Window
from payouts.statement import Preview, preview
from payouts.terms import DatedTerms, Terms
from pool.config import Settings
from pool.empty_template import subsidy
from pool.intake import work_of
from pool.ledger_store import read_head, read_window
from pool.node import target_of
from pool.payout_facts import payees
from pool.records import Found, Record, Share, decode_batch
from pool.tables import batch, block, gateway
from register.address import Chain
from register.register import Register
from register.rules import Rules

_BITS: Final = slice(72, 76)
"""Where a header of 80 bytes has the network's target in its compact form."""
_HEADER_LENGTH: Final = 80
_BATCHES_READ: Final = 5
"""The newest ones; one of them has a share unless nobody mines."""


@dataclass(frozen=True, slots=True)
class Office:
    """By what statements are made."""

    rules: Rules
    terms: DatedTerms
    chain: Chain
    threshold_sat: int
    """The pool's own, for miners that have not chosen another; 0 where the program pays nobody."""


def office_of(settings: Settings, rules: Rules) -> Office:
    """By what this pool makes statements."""
    threshold = settings.settlement.threshold_sat if settings.settlement else 0
    return Office(rules, settings.pool.dated_terms, settings.pool.chain, threshold)


async def held_of(
    connection: AsyncConnection, office: Office, register: Register, miner_id: int, now_us: int
) -> Held | None:
    """Why a payout run at this moment would not pay a miner; None when it would, or nothing is payable."""
    owed = await payees(connection, register, office.rules, now_us, office.threshold_sat)
    mine = [one for one in owed if one.miner_id == miner_id]
    held = plan(mine, PlanSettings(office.chain), now_us, office.rules).held
    return held[0] if held else None


@dataclass(frozen=True, slots=True)
class NextBlock:
    """A block as if it were found at this moment."""

    height: int
    network_work: int
    subsidy_sat: int
    terms: Terms
    window: Window | None
    """Of everybody; a solo block has one for each finder instead."""
    last_order: int
    """The newest slice; 0 before there is one."""

    def for_miner(self, miner_id: int) -> Preview:
        """What it would pay a miner; a solo block is the finder's, which this miner would be."""
        window = self.window
        if self.terms.scheme == "solo" and self.last_order:
            window = Window(self.last_order, 1, self.last_order, 1, {miner_id: 1})
        return preview(self.terms, self.height, self.network_work, self.subsidy_sat, window, miner_id)


async def preview_of(
    connection: AsyncConnection, office: Office, miner_id: int, now_us: int
) -> Preview | None:
    """What a block found at this moment would pay a miner; None while nobody knows the network's target."""
    found = await next_block(connection, office, now_us)
    return found.for_miner(miner_id) if found else None


async def next_block(connection: AsyncConnection, office: Office, now_us: int) -> NextBlock | None:
    """A block found at this moment; None while nobody knows the network's target."""
    target = await network_target(connection, office.chain)
    if target is None:
        return None
    terms = office.terms.on(office.rules.day_of(now_us))
    network_work = work_of(target)
    head = await read_head(connection)
    window = None
    if terms.scheme != "solo":
        size = terms.window_size(network_work, credited=True)
        window = await read_window(connection, head.slice_position, size)
    height = await _next_height(connection)
    return NextBlock(height, network_work, subsidy(office.chain, height), terms, window, head.slice_position)


async def network_target(connection: AsyncConnection, chain: Chain) -> bytes | None:
    """The target of a block as the newest share, or else the newest block of the pool, has it: 32 bytes.

    Regtest never changes it, and the embedded chain asks for more than its headers say, so that there a block
    tells it before a share does.
    """
    last: bytes | None = await connection.scalar(
        sa.select(block.c.network_target).order_by(block.c.found_us.desc()).limit(1)
    )
    if last is not None and chain == "regtest":
        return last
    newest = sa.select(batch.c.payload).order_by(batch.c.id.desc()).limit(_BATCHES_READ)
    for payload in (await connection.execute(newest)).scalars().all():
        for record in reversed(decode_batch(payload)):
            target = _target_of(record)
            if target is not None:
                return target
    return last


def _target_of(record: Record) -> bytes | None:
    if isinstance(record, Found):
        return record.network_target
    if isinstance(record, Share) and len(record.header) == _HEADER_LENGTH:
        target = target_of(int.from_bytes(record.header[_BITS], "little"))
        return target.to_bytes(32, "big") if target else None
    return None


async def _next_height(connection: AsyncConnection) -> int:
    """The height that the gateways work on, or else the one after the pool's newest block."""
    working = await connection.scalar(sa.select(sa.func.max(gateway.c.job_height)))
    if working is not None:
        return int(working)
    return int(await connection.scalar(sa.select(sa.func.max(block.c.height))) or 0) + 1
