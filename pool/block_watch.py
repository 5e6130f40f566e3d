"""What became of the blocks that were found: asks a node, steps their states, books the journal.

Asking and booking are apart. `look` talks to a node and holds no transaction; what it brings is good only
if the node's tip stood still meanwhile. `settle` then takes each block through its steps
(`payouts.block_state`) and books each step in one transaction with the state, so a crash leaves nothing
half booked.

A node that is down, behind, freshly started or on another chain says nothing about a block: the watch waits.
Blocks that are far below the pool's newest are final and no longer asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal
from payouts.block_state import MATURITY, State, transition
from payouts.journal import EntryKind
from pool import journal_store
from pool import ledger_store as store
from pool.intake import DayOf
from pool.ledger_store import Watched
from pool.node import Node, NodeError

log = structlog.get_logger(__name__)

FINAL_DEPTH = 2 * MATURITY
"""How far below the pool's highest block a mature or orphaned block is no longer watched."""
LOOKS = 3
_WAITING = (State.FOUND, State.SUBMITTED)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one node said of some blocks while its tip stood still."""

    node: str
    tip: str
    height: int
    confirmations: dict[str, int | None]


class BlockWatch:
    """Remembers what was asked at which tip, so that a quiet chain costs one question."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        """Nodes are asked in this order; the first that answers counts."""
        self._nodes = nodes
        self._settled: tuple[str, str, frozenset[Watched]] | None = None
        self._silent: set[str] = set()

    async def look(self, blocks: Sequence[Watched]) -> Sighting | None:
        """What the first healthy node says of blocks that may have moved; None when there is nothing new."""
        if not blocks:
            return None
        for node in self._nodes:
            try:
                sighting = await self._ask(node, blocks)
            except NodeError as error:
                if node.name not in self._silent:
                    log.warning("block_watch_failed", node=node.name, reason=str(error))
                self._silent.add(node.name)
                continue
            self._silent.discard(node.name)
            return sighting
        return None

    def settled(self, sighting: Sighting, blocks: Sequence[Watched]) -> None:
        """All that a sighting says is booked, and the blocks now stand like this."""
        self._settled = (sighting.node, sighting.tip, frozenset(blocks))

    async def _ask(self, node: Node, blocks: Sequence[Watched]) -> Sighting | None:
        tip = await node.tip()
        for _ in range(LOOKS):
            known = self._settled == (node.name, tip, frozenset(blocks))
            # A block that no node has taken yet can appear without a new tip.
            asked = [one for one in blocks if not known or one.state in _WAITING]
            if not asked:
                return None
            await node.check()  # on another chain our blocks are unknown, and its height says nothing of them
            height = await node.height()
            confirmations = {one.hash: await node.confirmations(one.hash) for one in asked}
            before, tip = tip, await node.tip()
            if tip == before:
                return Sighting(node.name, tip, height, confirmations)
        return None


async def settle(
    connection: AsyncConnection,
    blocks: Sequence[Watched],
    sighting: Sighting,
    day_of: DayOf,
    now_us: Callable[[], int],
) -> list[Watched]:
    """Take each block as far as the sighting allows, one transaction a step; how they stand then."""
    settled: list[Watched] = []
    for one in blocks:
        watched = one
        while (state := _next_state(watched, sighting)) is not None:
            async with connection.begin():
                if not await _step(connection, watched, state, sighting, day_of, now_us):
                    break
            watched = watched._replace(state=state)
        settled.append(watched)
    return settled


def _next_state(watched: Watched, sighting: Sighting) -> State | None:
    if watched.hash not in sighting.confirmations:
        return None
    return transition(watched.state, sighting.confirmations[watched.hash], watched.height, sighting.height)


async def _step(
    connection: AsyncConnection,
    watched: Watched,
    state: State,
    sighting: Sighting,
    day_of: DayOf,
    now_us: Callable[[], int],
) -> bool:
    at_us = await journal_store.next_instant(connection, now_us(), watched.hash)
    confirmations = sighting.confirmations[watched.hash]
    note = f"node {sighting.node} at height {sighting.height}: confirmations {confirmations}"
    if not await store.set_state(connection, watched, state, at_us, note):
        return False
    entry = await entry_of(connection, watched, state)
    if entry is not None:
        await journal_store.book(connection, entry, at_us, day_of(at_us))
        if entry.kind is EntryKind.BLOCK_REVERSED and journal.lost_of(entry):
            log.error("block_lost_paid", block=watched.hash, height=watched.height, reason=entry.memo)
    log.info("block_state", block=watched.hash, height=watched.height, state=state.value, reason=note)
    return True


async def entry_of(connection: AsyncConnection, watched: Watched, state: State) -> journal.Entry | None:
    """What a step means for the journal; None for a block that was never booked."""
    if state is State.ORPHANED and watched.state in _WAITING:
        return None
    split = await store.read_split(connection, watched.hash)
    lost = journal.lost_of(
        await journal_store.newest_entry(connection, EntryKind.BLOCK_REVERSED, block_hash=watched.hash)
    )
    if state is State.CONFIRMED:
        return journal.block_confirmed(watched.hash, split, lost)
    if state is State.MATURE:
        return journal.block_matured(watched.hash, split, lost)
    payable = await journal_store.payable_of(connection, split.amounts)
    return journal.block_reversed(watched.hash, split, watched.state, payable, lost)
