"""The life of a found block, as a table and one pure step.

A block is `found` when its share is in the ledger; `submitted` when its gateway has told that a node took it;
`confirmed` when the node has it in the main chain, and its reward is then booked as immature; `mature` at 100
confirmations, when the reward becomes payable; `orphaned` when the chain has gone another way. An orphan may
come back, and then begins again at `confirmed`, so that every booking it needs is made once more.

`transition` moves one step; ask again until it answers None.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

MATURITY: Final = 100  # confirmations before a coinbase may be spent (consensus)


class State(StrEnum):
    """Where a block stands."""

    FOUND = "found"
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"
    MATURE = "mature"
    ORPHANED = "orphaned"


NEXT: Final[Mapping[State, frozenset[State]]] = {
    State.FOUND: frozenset({State.SUBMITTED, State.CONFIRMED, State.ORPHANED}),
    State.SUBMITTED: frozenset({State.CONFIRMED, State.ORPHANED}),
    State.CONFIRMED: frozenset({State.MATURE, State.ORPHANED}),
    State.MATURE: frozenset({State.ORPHANED}),
    State.ORPHANED: frozenset({State.CONFIRMED}),
}


def transition(
    state: State, confirmations: int | None, height: int, tip_height: int, maturity: int = MATURITY
) -> State | None:
    """The next state of a block at `height`, or None to stay.

    `confirmations` is the node's word: at least 1 in the main chain (the tip has 1), -1 known but off it,
    None unknown to this node. Off the chain is an orphan as soon as the chain has another block of its
    height. Unknown is weaker (another node, a lost data directory): only a chain a whole maturity above
    the block is believed to have left it behind. Raises ValueError for any other number.
    """
    if confirmations is not None and confirmations != -1 and confirmations < 1:
        raise ValueError(
            f"block at {height} has {confirmations} confirmations; they are -1, None or at least 1"
        )
    if confirmations is not None and confirmations >= 1:
        if state in (State.FOUND, State.SUBMITTED, State.ORPHANED):
            return State.CONFIRMED
        return State.MATURE if state is State.CONFIRMED and confirmations >= maturity else None
    left_behind = tip_height >= (height if confirmations == -1 else height + maturity)
    return State.ORPHANED if left_behind and state is not State.ORPHANED else None
