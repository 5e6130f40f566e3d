"""What the miner's page shows and its API tells of an account: plain data.

As everywhere in the API, satoshis are integers, hashes and hashrates are decimal strings, times carry the
offset of Kazakhstan at that moment.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

State = Literal["working", "behind", "silent", "absent"]
"""A share within ten minutes; the same, but too little work for the machine, or for what it did itself; no
share, but one within a day; a registered unit without a share for a day."""
STATES: tuple[State, ...] = ("silent", "behind", "absent", "working")
"""What asks for somebody stands first."""


class LicenceView(msgspec.Struct, frozen=True):
    """The licence that says most about the miner."""

    number: str
    status: str
    in_force: bool
    valid_to: dt.date


class WorkerCounts(msgspec.Struct, frozen=True):
    """Workers by state. `since` is when counting by worker began; `whole`: all is counted that there is."""

    working: int
    behind: int
    silent: int
    absent: int
    since: dt.datetime | None
    whole: bool


class UnitCounts(msgspec.Struct, frozen=True):
    """Hardware units that are registered today; nominal hashrate in 10^9 hashes a second."""

    registered: int
    nominal_ghs: int


class MoneyView(msgspec.Struct, frozen=True):
    """What was earned (credited less reversed, by days of Kazakhstan) and what is owed."""

    earned_today_sat: int
    earned_month_sat: int
    immature_sat: int
    payable_sat: int
    paying_sat: int
    held_reason: str | None
    """Why a payout run now would not pay what is payable; None when it would."""
    threshold_sat: int | None
    """From which sum it is paid, where that is the reason."""


class PreviewView(msgspec.Struct, frozen=True):
    """What a block found now would pay: its subsidy, divided by the same code as a block's reward."""

    height: int
    scheme: str
    network_work: str
    subsidy_sat: int
    own_work: str
    window_work: str
    share_bps: int | None
    """Own work of the window's, in hundredths of a percent, cut down; None without a window."""
    amount_sat: int


class PaymentView(msgspec.Struct, frozen=True):
    """A payment of a payout, the newest first."""

    payout: int
    state: str
    created_at: dt.datetime
    amount_sat: int
    address: str
    exchange: str
    txid: str | None


class NoticeView(msgspec.Struct, frozen=True):
    """Something that the miner should know."""

    at: dt.datetime
    kind: str
    severity: str
    subject: str
    text: str


class AccountView(msgspec.Struct, frozen=True):
    """All but the single workers."""

    at: dt.datetime
    account: str
    title: str
    licence: LicenceView | None
    hashrate_10m: str
    hashrate_1h: str
    hashrate_24h: str
    shares_accepted: int
    """Today, as are the refused ones."""
    rejected: dict[str, int]
    """By reason."""
    last_share_at: dt.datetime | None
    workers: WorkerCounts
    units: UnitCounts
    money: MoneyView
    preview: PreviewView | None
    """None while nobody knows how hard the network is."""
    payments: tuple[PaymentView, ...]
    notices: tuple[NoticeView, ...]


class UnitView(msgspec.Struct, frozen=True):
    """The hardware unit that a worker name belongs to."""

    registry_number: str
    manufacturer: str
    model: str
    serial_number: str
    centre: str
    place: str
    nominal_ghs: int


class WorkerView(msgspec.Struct, frozen=True):
    """A worker; its shares are those of today."""

    name: str
    state: State
    hashrate_10m: str
    hashrate_1h: str
    hashrate_24h: str
    last_share_at: dt.datetime | None
    shares_accepted: int
    shares_rejected: int
    rejected: dict[str, int]
    """By reason."""
    unit: UnitView | None
    """None for a name that is no registered unit today."""


class WorkersView(msgspec.Struct, frozen=True):
    """A page of an account's workers."""

    at: dt.datetime
    total: int
    matching: int
    """How many fit to what was asked for."""
    page: int
    pages: int
    sort: str
    workers: tuple[WorkerView, ...]
