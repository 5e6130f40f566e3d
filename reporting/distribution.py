"""What was given over to miners, payment by payment: the rows of the daily report and of the income form.

A distribution is a payment of a payout whose transaction is in the chain (O-32). It stops being one when the
chain takes that block back, and is one again, of another day perhaps, when another block has it. The day it
counts for is that of the dated rule (Q-07); the day of receipt, by which its value is taken (O-62), is always
the day of the block. Facts only: `pool.distributions` reads them, `reporting.income` makes forms of them.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal, NamedTuple


class Distribution(NamedTuple):
    """One payment that stands; amounts in satoshis, days in Kazakhstan, hashes as nodes write them."""

    miner_id: int
    account: str
    name: str
    """Legal name, as the register had it at the end of the day of distribution; so for the next four."""
    bin: str
    """BIN or IIN."""
    licence_number: str
    """Of the licence that counted when the payment was reserved; empty where the miner had none."""
    licence_issued_on: dt.date | None
    """None without a licence, as is the subtype."""
    licence_subtype: int | None
    licence_status: str
    """Where it stood when the payment was reserved (`register.licence.Status`); empty without one."""
    wallet_address: str
    purpose: Literal["wallet", "exchange_deposit"]
    exchange: str
    """Whose deposit address it is; empty for a wallet."""
    distributed_on: dt.date
    received_on: dt.date
    asset: str
    quantity_sat: int
    """What the miner got: without the commission."""
    commission_sat: int
    txid: str
    vout: int
    block_hash: str
    block_height: int
