"""The double-entry journal: entries that balance, and what follows from them.

Every movement of value is an entry whose postings sum to zero; an entry is never changed, and what
proved wrong is undone by another entry (invariant 3). Assets are booked positive, what the pool owes (to
miners) or has of its own negative, so the sum over all accounts is always zero.

    asset:coinbase:immature     rewards of blocks in the chain that may not be spent yet
    asset:coinbase:mature       coins that may be spent; payouts take from them
    miner:<id>:immature         a miner's part of immature rewards
    miner:<id>:payable          what a miner may be paid
    miner:<id>:paying           what is in a payout that has not been confirmed
    pool:commission:immature    the pool's part of immature rewards
    pool:commission:earned      commission of mature rewards
    pool:network_fees           what the pool paid to have payouts mined
    pool:orphan_loss:<id>       what a miner was paid for blocks that left the chain afterwards
    pool:fpps                   what shares were paid for before, or without, a block
    pool:correction             the other side of corrections

A block is booked when it is confirmed, moved when it is mature, and undone when the chain leaves it. A block
that comes back is confirmed again. What a miner has been paid of a block is not taken back from it when the
block is lost: the pool bears it, and has it back when the block returns. Statements show each account in its
own direction: what is owed is shown as a positive number, and the pool's expenses as negative ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from payouts.block_state import State
from payouts.pplns import Split

COINBASE_IMMATURE: Final = "asset:coinbase:immature"
COINBASE_MATURE: Final = "asset:coinbase:mature"
COMMISSION_IMMATURE: Final = "pool:commission:immature"
COMMISSION_EARNED: Final = "pool:commission:earned"
NETWORK_FEES: Final = "pool:network_fees"
FPPS: Final = "pool:fpps"
CORRECTION: Final = "pool:correction"
_LOSS: Final = "pool:orphan_loss:"
_OF_A_MINER: Final = re.compile(r"^(miner|pool:orphan_loss):[1-9][0-9]*(:[a-z]+|)$")
NOTHING: Final[Mapping[int, int]] = MappingProxyType({})
"""No satoshis for any miner."""
_ACCOUNT: Final = re.compile(
    r"asset:coinbase:(immature|mature)|miner:[1-9][0-9]*:(immature|payable|paying)"
    r"|pool:(commission:(immature|earned)|network_fees|orphan_loss:[1-9][0-9]*|fpps|correction)"
)


class Unbalanced(ValueError):
    """The postings of an entry do not sum to zero. The message names the entry and the difference."""


class EntryKind(StrEnum):
    """What happened."""

    BLOCK_CONFIRMED = "block_confirmed"
    BLOCK_MATURED = "block_matured"
    BLOCK_REVERSED = "block_reversed"
    PAYOUT_RESERVED = "payout_reserved"
    PAYOUT_RELEASED = "payout_released"
    PAYOUT_CONFIRMED = "payout_confirmed"
    PAYOUT_REVERSED = "payout_reversed"
    FPPS_CREDITED = "fpps_credited"
    CORRECTION = "correction"


OF_BLOCKS: Final = (EntryKind.BLOCK_CONFIRMED, EntryKind.BLOCK_MATURED, EntryKind.BLOCK_REVERSED)
OF_PAYOUTS: Final = (
    EntryKind.PAYOUT_RESERVED,
    EntryKind.PAYOUT_RELEASED,
    EntryKind.PAYOUT_CONFIRMED,
    EntryKind.PAYOUT_REVERSED,
)


class Posting(NamedTuple):
    """`amount` satoshis into an account (positive) or out of it (negative), as booked."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement; balanced by construction, each account at most once, nothing posted as zero.

    `block_hash` is given in entries of blocks alone, `payout_id` in entries of payouts alone.
    """

    kind: EntryKind
    block_hash: str | None
    memo: str
    postings: tuple[Posting, ...]
    payout_id: int | None = None

    def __post_init__(self) -> None:
        of = f"block {self.block_hash}" if self.payout_id is None else f"payout {self.payout_id}"
        what = f"entry {self.kind} of {of}"
        if (self.kind in OF_BLOCKS, self.kind in OF_PAYOUTS) != (
            self.block_hash is not None,
            self.payout_id is not None,
        ):
            raise ValueError(f"{what}: an entry names the block or the payout of its kind, and no other")
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


def miner_paying(miner_id: int) -> str:
    """The account of what is on its way to a miner."""
    return f"miner:{miner_id}:paying"


def orphan_loss(miner_id: int) -> str:
    """The account of what a miner keeps of blocks that are lost."""
    return f"{_LOSS}{miner_id}"


def block_confirmed(block_hash: str, split: Split, lost: Mapping[int, int] = NOTHING) -> Entry:
    """The block is in the main chain: its reward is owed, and not yet payable.

    `lost` is by miner what the pool has borne of this block when it was lost before (`lost_of`): that is
    the pool's again, and the rest the miner's.
    """
    recovered = [Posting(orphan_loss(miner_id), -amount) for miner_id, amount in sorted(lost.items())]
    return _entry(
        EntryKind.BLOCK_CONFIRMED, block_hash, "reward credited", [*_immature(split, lost), *recovered]
    )


def block_matured(block_hash: str, split: Split, lost: Mapping[int, int] = NOTHING) -> Entry:
    """The block is deep enough: its reward moves from immature to payable; `lost` as when confirmed."""
    moved = [*_times(_immature(split, lost), -1), *_mature(split, lost)]
    return _entry(EntryKind.BLOCK_MATURED, block_hash, "reward payable", moved)


def block_reversed(
    block_hash: str,
    split: Split,
    state: State,
    payable: Mapping[int, int] = NOTHING,
    lost: Mapping[int, int] = NOTHING,
) -> Entry:
    """The chain left the block: undoes what was booked of it in `state`, confirmed or mature.

    Of a mature one each miner gives back what it still has, `payable` by miner id; what was paid already, or
    is on its way, is the pool's loss. `lost` is what the block was confirmed with. Raises ValueError for
    another state: nothing is booked then.
    """
    if state not in (State.CONFIRMED, State.MATURE):
        raise ValueError(
            f"block {block_hash} is {state}: nothing is booked of it, so nothing can be reversed"
        )
    memo = f"left the chain when {state}"
    if state is State.CONFIRMED:
        borne = dict(lost)
        undone = _times(_immature(split, lost), -1)
    else:
        given = {
            miner_id: min(amount - lost.get(miner_id, 0), max(payable.get(miner_id, 0), 0))
            for miner_id, amount in split.amounts.items()
        }
        borne = {miner_id: amount - given[miner_id] for miner_id, amount in split.amounts.items()}
        undone = [
            Posting(COINBASE_MATURE, -split.reward),
            *(Posting(miner_payable(miner_id), amount) for miner_id, amount in sorted(given.items())),
            Posting(COMMISSION_EARNED, split.commission),
        ]
    borne = {miner_id: amount for miner_id, amount in borne.items() if amount}
    if borne:
        memo += (
            f"; {sum(borne.values())} satoshis of it that were paid, or are on their way, are the pool's loss"
        )
    losses = [Posting(orphan_loss(miner_id), amount) for miner_id, amount in sorted(borne.items())]
    return _entry(EntryKind.BLOCK_REVERSED, block_hash, memo, [*undone, *losses])


def lost_of(reversal: Entry | None) -> dict[int, int]:
    """By miner, what the pool bears of a block since its newest reversal."""
    if reversal is None:
        return {}
    return {
        int(account.removeprefix(_LOSS)): amount
        for account, amount in reversal.postings
        if account.startswith(_LOSS)
    }


def payout_reserved(payout_id: int, amounts: Mapping[int, int]) -> Entry:
    """Satoshis by miner that a payout will bring: they cannot be paid twice from now on (I5)."""
    return _payout(EntryKind.PAYOUT_RESERVED, payout_id, "on the way", _from_payable(amounts))


def payout_released(payout_id: int, amounts: Mapping[int, int]) -> Entry:
    """The payout was abandoned before anybody could sign it."""
    return _payout(
        EntryKind.PAYOUT_RELEASED, payout_id, "abandoned; payable again", _times(_from_payable(amounts), -1)
    )


def payout_cancelled(payout_id: int, amounts: Mapping[int, int], fee_sat: int) -> Entry:
    """Another transaction has taken the payout's coins back to the pool, at a fee."""
    moved = [*_times(_from_payable(amounts), -1), *_fee(fee_sat)]
    return _payout(EntryKind.PAYOUT_RELEASED, payout_id, "cancelled by a transaction; payable again", moved)


def payout_confirmed(payout_id: int, amounts: Mapping[int, int], fee_sat: int) -> Entry:
    """The payout is in the chain: `amounts` by miner and `fee_sat` have left the pool's coins."""
    moved = [
        *(Posting(miner_paying(miner_id), amount) for miner_id, amount in sorted(amounts.items())),
        Posting(NETWORK_FEES, fee_sat),
        Posting(COINBASE_MATURE, -sum(amounts.values()) - fee_sat),
    ]
    return _payout(EntryKind.PAYOUT_CONFIRMED, payout_id, "paid", moved)


def payout_reversed(payout_id: int, entry: Entry) -> Entry:
    """The block that confirmed the payout, or its cancelling, left the chain: undoes that `entry`.

    Raises ValueError for an entry of anything else.
    """
    undoable = (EntryKind.PAYOUT_CONFIRMED, EntryKind.PAYOUT_RELEASED)
    if entry.payout_id != payout_id or entry.kind not in undoable:
        raise ValueError(f"payout {payout_id}: {entry.kind} of payout {entry.payout_id} cannot be reversed")
    memo = "the block that confirmed it left the chain"
    return _payout(EntryKind.PAYOUT_REVERSED, payout_id, memo, _times(entry.postings, -1))


def fpps_credited(amounts: Mapping[int, int], memo: str) -> Entry:
    """Shares are paid for as they come: satoshis by miner, payable at once, out of the pool's own."""
    owed = [Posting(miner_payable(miner_id), -amount) for miner_id, amount in sorted(amounts.items())]
    return Entry(EntryKind.FPPS_CREDITED, None, memo, _nonzero([Posting(FPPS, sum(amounts.values())), *owed]))


def correction(postings: Iterable[Posting], reason: str) -> Entry:
    """What a person puts right, and why; raises ValueError without a reason."""
    if not reason.strip():
        raise ValueError("a correction needs a reason; it stands in the journal for good")
    return Entry(EntryKind.CORRECTION, None, reason, _nonzero(postings))


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


def class_of(account: str) -> str:
    """What an account is added up with: those of one kind, of all miners."""
    return _OF_A_MINER.sub(r"\1\2", account)


def direction(account: str) -> int:
    """1 for an asset, -1 for what is owed or earned: the sign that shows a usual balance as positive."""
    return 1 if account.startswith("asset:") else -1


def _immature(split: Split, lost: Mapping[int, int]) -> list[Posting]:
    owed = [Posting(miner_immature(miner_id), -amount) for miner_id, amount in _credited(split, lost)]
    return [Posting(COINBASE_IMMATURE, split.reward), *owed, Posting(COMMISSION_IMMATURE, -split.commission)]


def _mature(split: Split, lost: Mapping[int, int]) -> list[Posting]:
    owed = [Posting(miner_payable(miner_id), -amount) for miner_id, amount in _credited(split, lost)]
    return [Posting(COINBASE_MATURE, split.reward), *owed, Posting(COMMISSION_EARNED, -split.commission)]


def _credited(split: Split, lost: Mapping[int, int]) -> list[tuple[int, int]]:
    return [(miner_id, amount - lost.get(miner_id, 0)) for miner_id, amount in sorted(split.amounts.items())]


def _from_payable(amounts: Mapping[int, int]) -> list[Posting]:
    miners = sorted(amounts.items())
    return [
        *(Posting(miner_payable(miner_id), amount) for miner_id, amount in miners),
        *(Posting(miner_paying(miner_id), -amount) for miner_id, amount in miners),
    ]


def _fee(fee_sat: int) -> list[Posting]:
    return [Posting(NETWORK_FEES, fee_sat), Posting(COINBASE_MATURE, -fee_sat)]


def _times(postings: Iterable[Posting], factor: int) -> list[Posting]:
    return [Posting(account, amount * factor) for account, amount in postings]


def _nonzero(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    return tuple(posting for posting in postings if posting.amount)


def _entry(kind: EntryKind, block_hash: str, memo: str, postings: Iterable[Posting]) -> Entry:
    return Entry(kind, block_hash, memo, _nonzero(postings))


def _payout(kind: EntryKind, payout_id: int, memo: str, postings: Iterable[Posting]) -> Entry:
    return Entry(kind, None, memo, _nonzero(postings), payout_id)
