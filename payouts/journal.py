"""The double-entry journal: entries that balance, and what follows from them.

Every movement of value is an entry whose postings sum to zero; an entry is never changed, and what
proved wrong is undone by another entry (invariant 3). Assets are booked positive, what the pool owes (to
miners) or has earned (commission) negative, so the sum over all accounts is always zero.

    asset:coinbase:immature   rewards of blocks in the chain that may not be spent yet
    asset:coinbase:mature     rewards that may be spent
    miner:<id>:immature       a miner's part of immature rewards
    miner:<id>:payable        what a miner may be paid
    pool:commission:immature  the pool's part of immature rewards
    pool:commission:earned    commission of mature rewards

A block is booked when it is confirmed, moved when it is mature, and undone when the chain leaves it. A block
that comes back is confirmed again. Statements show each account in its own direction: what is owed is
shown as a positive number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from payouts.block_state import State
from payouts.pplns import Split

COINBASE_IMMATURE: Final = "asset:coinbase:immature"
COINBASE_MATURE: Final = "asset:coinbase:mature"
COMMISSION_IMMATURE: Final = "pool:commission:immature"
COMMISSION_EARNED: Final = "pool:commission:earned"
_ACCOUNT: Final = re.compile(
    r"asset:coinbase:(immature|mature)|miner:[1-9][0-9]*:(immature|payable)|pool:commission:(immature|earned)"
)


class Unbalanced(ValueError):
    """The postings of an entry do not sum to zero. The message names the entry and the difference."""


class EntryKind(StrEnum):
    """What happened."""

    BLOCK_CONFIRMED = "block_confirmed"
    BLOCK_MATURED = "block_matured"
    BLOCK_REVERSED = "block_reversed"


class Posting(NamedTuple):
    """`amount` satoshis into an account (positive) or out of it (negative), as booked."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement; balanced by construction, each account at most once, nothing posted as zero."""

    kind: EntryKind
    block_hash: str | None
    memo: str
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        what = f"entry {self.kind} of block {self.block_hash}"
        seen: set[str] = set()
        for account, amount in self.postings:
            if not _ACCOUNT.fullmatch(account):
                raise ValueError(f"{what}: account {account!r} is not in the chart of accounts")
            if account in seen:
                raise ValueError(f"{what}: account {account} is posted to twice; give one posting")
            if amount == 0:
                raise ValueError(f"{what}: account {account} is posted to with 0; leave the posting out")
            seen.add(account)
        difference = sum(posting.amount for posting in self.postings)
        if difference:
            raise Unbalanced(f"{what}: its postings sum to {difference} satoshis; they must sum to 0")


def miner_immature(miner_id: int) -> str:
    """The account of a miner's part of rewards that may not be spent yet."""
    return f"miner:{miner_id}:immature"


def miner_payable(miner_id: int) -> str:
    """The account of what a miner may be paid."""
    return f"miner:{miner_id}:payable"


def block_confirmed(block_hash: str, split: Split) -> Entry:
    """The block is in the main chain: its reward is owed, and not yet payable."""
    return _entry(EntryKind.BLOCK_CONFIRMED, block_hash, "reward credited", _immature(split))


def block_matured(block_hash: str, split: Split) -> Entry:
    """The block is deep enough: its reward moves from immature to payable."""
    moved = [*_times(_immature(split), -1), *_mature(split)]
    return _entry(EntryKind.BLOCK_MATURED, block_hash, "reward payable", moved)


def block_reversed(block_hash: str, split: Split, state: State) -> Entry:
    """The chain left the block: undoes what was booked of it in `state`, confirmed or mature.

    Raises ValueError for another state: nothing is booked then.
    """
    if state not in (State.CONFIRMED, State.MATURE):
        raise ValueError(
            f"block {block_hash} is {state}: nothing is booked of it, so nothing can be reversed"
        )
    booked = _immature(split) if state is State.CONFIRMED else _mature(split)
    return _entry(EntryKind.BLOCK_REVERSED, block_hash, f"left the chain when {state}", _times(booked, -1))


def balances(entries: Iterable[Entry]) -> dict[str, int]:
    """The booked balance of every account that was ever posted to."""
    totals: dict[str, int] = {}
    for entry in entries:
        for account, amount in entry.postings:
            totals[account] = totals.get(account, 0) + amount
    return totals


class Line(NamedTuple):
    """An account over a period, in its own direction: opening + into - out == closing."""

    opening: int
    into: int
    out: int
    closing: int


def statement(opening: Mapping[str, int], entries: Iterable[Entry]) -> dict[str, Line]:
    """The accounts over a period, by name: `opening` are booked balances before it, `entries` those of it.

    Debits and credits are added up apart, posting by posting, not netted.
    """
    into: dict[str, int] = {}
    out: dict[str, int] = {}
    for entry in entries:
        for account, amount in entry.postings:
            own = amount * direction(account)
            side = into if own > 0 else out
            side[account] = side.get(account, 0) + abs(own)
    lines: dict[str, Line] = {}
    for account in sorted({*opening, *into, *out}):
        start = opening.get(account, 0) * direction(account)
        more, less = into.get(account, 0), out.get(account, 0)
        lines[account] = Line(start, more, less, start + more - less)
    return lines


def direction(account: str) -> int:
    """1 for an asset, -1 for what is owed or earned: the sign that shows a usual balance as positive."""
    return 1 if account.startswith("asset:") else -1


def _immature(split: Split) -> list[Posting]:
    return [
        Posting(COINBASE_IMMATURE, split.reward),
        *(Posting(miner_immature(miner_id), -amount) for miner_id, amount in sorted(split.amounts.items())),
        Posting(COMMISSION_IMMATURE, -split.commission),
    ]


def _mature(split: Split) -> list[Posting]:
    return [
        Posting(COINBASE_MATURE, split.reward),
        *(Posting(miner_payable(miner_id), -amount) for miner_id, amount in sorted(split.amounts.items())),
        Posting(COMMISSION_EARNED, -split.commission),
    ]


def _times(postings: Iterable[Posting], factor: int) -> list[Posting]:
    return [Posting(account, amount * factor) for account, amount in postings]


def _entry(kind: EntryKind, block_hash: str, memo: str, postings: Iterable[Posting]) -> Entry:
    return Entry(kind, block_hash, memo, tuple(posting for posting in postings if posting.amount))
