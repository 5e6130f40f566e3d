"""What a daily report is built from: the facts of a day, as the pool gathers them.

`reporting.daily` turns them into the document. All of them tell the day as it stood at its end, however
late they are read. Instants are unix microseconds, amounts satoshis, work hashes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from payouts import journal
from payouts.block_state import State
from payouts.pplns import Split, Window
from payouts.terms import Scheme, TransactionFees
from register.event import Event
from register.identity import Kind, identify
from register.payout_address import PayoutAddress
from register.pool_data import Accreditation, Site, TestProtocol
from register.rules import Rules
from reporting.distribution import Distribution
from reporting.standing import Held

Json = dict[str, Any]


class DoesNotReconcile(Exception):
    """An equality fails: `equality` names it, `detail` shows both sides. No report is built."""

    def __init__(self, equality: str, detail: str) -> None:
        super().__init__(
            f"{equality}: {detail}; no report is built until this holds: correct the journal by a new entry, "
            f"or find which facts are wrong"
        )
        self.equality = equality
        self.detail = detail


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """The pool as it is configured; its BIN is of a legal entity (O-20)."""

    name: str
    bin: str
    chain: str
    address: str
    commission_bps: int

    def __post_init__(self) -> None:
        if identify(self.bin) is not Kind.LEGAL_ENTITY:
            raise ValueError(
                f"pool BIN {self.bin} is not of a legal entity of Kazakhstan; a pool must be one (O-20)"
            )


@dataclass(frozen=True, slots=True)
class Software:
    """The program that builds the report; `digest` is that of its sources (`pool.software`, O-23)."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Edition:
    """A report's place: `sequence` counts all reports made, `version` those of this day, both from 1.

    A correction (version 2 and on) names the hash of the version it replaces and its reason.
    """

    sequence: int
    previous_sha256: str | None
    version: int = 1
    replaces_sha256: str | None = None
    correction_reason: str | None = None


@dataclass(frozen=True, slots=True)
class RegisterFacts:
    """What the register says of the pool itself, and of what was changed in it on the day.

    `seq` and `sha256` are of the newest event before the day's end, `count` tells how many the day has.
    `addresses` are all there are, as they stood at the day's end; `events` are the day's of licences and
    addresses, `units` counts those of hardware by miner and action.
    """

    accreditations: Sequence[Accreditation]
    sites: Sequence[Site]
    protocols: Sequence[TestProtocol]
    addresses: Sequence[PayoutAddress]
    events: Sequence[Event]
    units: Mapping[tuple[int, str], int]
    count: int
    seq: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Devices:
    """A miner's hardware units that are registered on the day, and which of them worked.

    `active` are those under whose names shares were accepted, `unmatched` other names with such shares;
    both None for days of which that was not kept. `centres` are the codes of the data centres where they
    stand.
    """

    registered: int
    active: int | None
    unmatched: int | None
    centres: Sequence[str]


@dataclass(frozen=True, slots=True)
class MinerFacts:
    """A miner's day: shares accepted and refused (by reason), accepted work, and when it was done.

    `first_us` and `last_us` are of the accepted shares; None where there are none.
    """

    held: Held
    accepted: int
    rejected: Mapping[str, int]
    work: int
    first_us: int | None
    last_us: int | None
    devices: Devices


class BlockEvent(NamedTuple):
    """A step of a block, at the instant (unix microseconds) at which it was also booked.

    `borne` is by miner what the pool bears of the block in this step, since the miner had been paid it.
    """

    state: State
    at_us: int
    borne: Mapping[int, int] = journal.NOTHING


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """A block with its window and split as stored, and its history from `found` on, in order of time.

    `finder_id` is None where no licensed worker found it; `window` is None where nobody had worked before.
    """

    height: int
    hash: str
    previous_hash: str
    coinbase_txid: str
    finder_id: int | None
    finder_worker: str
    reward_sat: int
    fees_sat: int
    commission_bps: int
    scheme: Scheme
    transaction_fees: TransactionFees
    network_work: int
    window_multiple: int
    window_size: int
    window: Window | None
    split: Split
    history: Sequence[BlockEvent]


class Paid(NamedTuple):
    """A payment that stands and counts for the day; the journal has it since `booked_on`.

    `credited_on` is the day of the newest reward in it, None where nothing was credited before.
    """

    distribution: Distribution
    payout_id: int
    booked_on: dt.date
    credited_on: dt.date | None


class Apart(NamedTuple):
    """What the journal booked on the day of a miner's payment that is not among the day's distributions."""

    what: Literal["paid", "taken_back"]
    payout_id: int
    miner_id: int
    quantity_sat: int
    counts_for: dt.date | None
    """The day of which it is a distribution; None for one that no longer stands."""


class HourOfMiner(NamedTuple):
    """What a closed hour of the archive says of a miner; `digest` is None in manifests of version 1."""

    shares: int
    work: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class HourFacts:
    """A closed hour of the share archive, as its manifest tells it; `hour` as there:
    "2026-11-24T07:00:00Z"."""

    hour: str
    file_sha256: str
    manifest_sha256: str
    first_batch: int
    last_batch: int
    work_before: str
    shares: int
    work: int
    miners: Mapping[int, HourOfMiner]


@dataclass(frozen=True, slots=True)
class DayFacts:
    """All that a report is built from.

    `blocks` may hold more than took a step that day. `opening` and `closing` are booked balances before and
    after the day, `entries` the journal's entries of the day; closing is read apart from entries. `hours`
    are those that begin in the day; `hours_complete` says that no batch of the day is in none. `salts` are
    in hex, by miner id. `seen` and `sale` are rows as `reporting.daily_compliance` and `reporting.sale`
    make them.
    """

    day: dt.date
    generated_at_us: int
    software: Software
    rules: Rules
    pool: PoolFacts
    edition: Edition
    register: RegisterFacts
    miners: Sequence[MinerFacts]
    blocks: Sequence[BlockFacts]
    paid: Sequence[Paid]
    apart: Sequence[Apart]
    sale: Sequence[Json]
    seen: Sequence[Json]
    opening: Mapping[str, int]
    entries: Sequence[journal.Entry]
    closing: Mapping[str, int]
    hours: Sequence[HourFacts]
    hours_complete: bool
    salts: Mapping[int, str]
