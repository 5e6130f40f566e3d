"""A miner's statement over a day or a month: its work, its part of each block, and where every satoshi went.

The facts come from the ledger; here they are put together and proven. Opening plus movements is the closing
that the journal has, account by account, and every part of a block is divided anew from the block's window by
the very function that divided it; where either disagrees there is no statement but a `StatementError` that
shows both sides. Each part carries the numbers that recompute it: floor(shared * own work / window work), and
one satoshi more for those with the largest remainders.

Amounts are satoshis, work is hashes, instants are unix microseconds, days are of Kazakhstan.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from payouts.block_state import State
from payouts.journal import OF_PAYOUTS, EntryKind
from payouts.payout_plan import Held
from payouts.pplns import Split, Window
from payouts.terms import Terms

_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MONTH: Final = re.compile(r"(\d{4})-(\d\d)")
_FIRST_YEAR: Final = 2009
_LAST_YEAR: Final = 2999


class StatementError(Exception):
    """The facts contradict each other: what is compared, and both sides. No statement is made of them."""


@dataclass(frozen=True, slots=True)
class Period:
    """A day or a month of the calendar of Kazakhstan, both ends included."""

    text: str
    first: dt.date
    last: dt.date

    @classmethod
    def parse(cls, text: str) -> Period:
        """`2026-11-24` or `2026-11`; raises ValueError for anything else."""
        wrong = f"{text[:20]!r} is no day and no month; write it like 2026-11-24 or 2026-11"
        month = _MONTH.fullmatch(text)
        try:
            first = dt.date.fromisoformat(f"{text}-01" if month else text)
        except ValueError:
            raise ValueError(wrong) from None
        if not (month or _DAY.fullmatch(text)) or not _FIRST_YEAR <= first.year <= _LAST_YEAR:
            raise ValueError(wrong)
        days = calendar.monthrange(first.year, first.month)[1] if month else first.day
        return cls(text, first, first.replace(day=days))

    @property
    def of_month(self) -> bool:
        """Whether it is a month and not a day."""
        return len(self.text) == len("2026-11")

    def days(self) -> list[dt.date]:
        """Its days in order."""
        count = (self.last - self.first).days + 1
        return [self.first + dt.timedelta(days=number) for number in range(count)]

    @property
    def before(self) -> str:
        """The day before this day, or the month before this month."""
        return (self.first - dt.timedelta(days=1)).isoformat()[: len(self.text)]

    @property
    def after(self) -> str:
        """The day after this day, or the month after this month."""
        return (self.last + dt.timedelta(days=1)).isoformat()[: len(self.text)]


class Owed(NamedTuple):
    """What the pool owes a miner: of blocks that may still be lost, to be paid, and on its way."""

    immature: int = 0
    payable: int = 0
    paying: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)

    def plus(self, other: Owed) -> Owed:
        """Both together, account by account."""
        return Owed(*(one + another for one, another in zip(self, other, strict=True)))


class Movement(NamedTuple):
    """An entry of the journal as it moved what a miner is owed: positive is more of it."""

    at_us: int
    day: dt.date
    kind: EntryKind
    block_hash: str | None
    payout_id: int | None
    memo: str
    moved: Owed


class DayOfWork(NamedTuple):
    """Shares of a day: accepted, refused (by reason), and the accepted work in hashes."""

    day: dt.date
    shares: int
    rejected: Mapping[str, int]
    work: int


class Step(NamedTuple):
    """A state that a block entered, and when."""

    state: State
    at_us: int


@dataclass(frozen=True, slots=True)
class SharedBlock:
    """A block as the ledger froze it: terms, window with everybody's work, split; and what became of it."""

    height: int
    hash: str
    coinbase_txid: str
    found_us: int
    network_work: int
    reward_sat: int
    fees_sat: int
    terms: Terms
    window: Window
    split: Split
    history: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Part:
    """A miner's part of a block.

    `shared_sat` is the reward without the commission, `floor_sat` the floor of the exact part and `extra_sat`
    the satoshi (or none) by largest remainder: `remainder` is what the division left, the `rank`th largest,
    and as many as `left_sat` of them got one.
    """

    block: SharedBlock
    own_work: int
    shared_sat: int
    floor_sat: int
    remainder: int
    rank: int
    left_sat: int
    extra_sat: int
    amount_sat: int
    commission_sat: int

    @property
    def state(self) -> State:
        """Where the block stood at the end of the period."""
        return self.block.history[-1].state


@dataclass(frozen=True, slots=True)
class Payment:
    """An output of a payout to the miner.

    `txid` is of the transaction that confirmed, or of the newest that was signed; None before. A payment that
    confirmed tells its block and the day of distribution by the dated rule (Q-07).
    """

    payout_id: int
    number: int
    state: str
    purpose: str
    address: str
    exchange: str
    amount_sat: int
    commission_sat: int
    sale_share_bps: int | None
    txid: str | None
    block_hash: str | None
    block_height: int | None
    distributed_on: dt.date | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a block found at this moment would pay the miner, without transaction fees."""

    height: int
    network_work: int
    terms: Terms
    reward_sat: int
    window: Window | None
    own_work: int
    amount_sat: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a statement is made of. `held` and `preview` are of this moment: for periods that go on.

    `until_us` is up to when the facts tell.
    """

    miner_id: int
    account: str
    title: str
    bin: str
    period: Period
    complete: bool
    until_us: int
    opening: Owed
    closing: Owed
    movements: Sequence[Movement]
    days: Sequence[DayOfWork]
    blocks: Sequence[SharedBlock]
    payments: Sequence[Payment]
    held: Held | None = None
    preview: Preview | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """The facts, proven; `credited_sat` and its kin are sums over the period.

    opening + credited - reversed - paid + corrected = closing; what matured moved from immature to payable.
    """

    facts: Facts
    parts: Sequence[Part]
    credited_sat: int
    matured_sat: int
    reversed_sat: int
    paid_sat: int
    corrected_sat: int
    shares: int
    work: int
    rejected: Mapping[str, int] = field(default_factory=dict)


_CREDITS: Final = (EntryKind.BLOCK_CONFIRMED, EntryKind.FPPS_CREDITED)


def make(facts: Facts) -> Statement:
    """The statement of a miner over a period; raises StatementError."""
    _require_closing(facts)
    rejected: dict[str, int] = {}
    for one in facts.days:
        for reason, count in one.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
    return Statement(
        facts=facts,
        parts=tuple(part_of(one, facts.miner_id) for one in facts.blocks),
        credited_sat=_moved(facts.movements, _CREDITS),
        matured_sat=sum(one.moved.payable for one in facts.movements if one.kind is EntryKind.BLOCK_MATURED),
        reversed_sat=-_moved(facts.movements, (EntryKind.BLOCK_REVERSED,)),
        paid_sat=-_moved(facts.movements, OF_PAYOUTS),
        corrected_sat=_moved(facts.movements, (EntryKind.CORRECTION,)),
        shares=sum(one.shares for one in facts.days),
        work=sum(one.work for one in facts.days),
        rejected=rejected,
    )


def part_of(block: SharedBlock, miner_id: int) -> Part:
    """A miner's part of a block, divided anew; raises StatementError where the ledger has another split."""
    anew = block.terms.divide(block.reward_sat, block.fees_sat, block.window)
    if anew != block.split:
        raise StatementError(
            f"split of block {block.hash}: the ledger has {block.split}, its window gives {anew}"
        )
    works, total = block.window.by_miner, block.window.work_total
    shared = block.reward_sat - anew.commission
    exact = {one: divmod(shared * work, total) for one, work in works.items()}
    floor, remainder = exact[miner_id]
    ranked = sorted(exact, key=lambda one: (-exact[one][1], one))
    return Part(
        block=block,
        own_work=works[miner_id],
        shared_sat=shared,
        floor_sat=floor,
        remainder=remainder,
        rank=ranked.index(miner_id) + 1,
        left_sat=shared - sum(whole for whole, _ in exact.values()),
        extra_sat=anew.amounts[miner_id] - floor,
        amount_sat=anew.amounts[miner_id],
        commission_sat=anew.commissions[miner_id],
    )


def preview(
    terms: Terms, height: int, network_work: int, subsidy_sat: int, window: Window | None, miner_id: int
) -> Preview:
    """What a block of this height would pay now; a miner without work in `window` gets nothing."""
    split = terms.divide(subsidy_sat, 0, window)
    return Preview(
        height=height,
        network_work=network_work,
        terms=terms,
        reward_sat=subsidy_sat,
        window=window,
        own_work=window.by_miner.get(miner_id, 0) if window else 0,
        amount_sat=split.amounts.get(miner_id, 0),
    )


def _require_closing(facts: Facts) -> None:
    stated = facts.opening
    for one in facts.movements:
        stated = stated.plus(one.moved)
    if stated != facts.closing:
        raise StatementError(
            f"statement of {facts.account} for {facts.period.text}: opening and movements make {stated}, "
            f"the journal closes with {facts.closing}"
        )


def _moved(movements: Sequence[Movement], kinds: Sequence[EntryKind]) -> int:
    return sum(one.moved.total for one in movements if one.kind in kinds)
