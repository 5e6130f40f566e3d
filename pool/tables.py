"""The tables, in SQLAlchemy Core: they describe what `migrations/` builds, and a test keeps them equal.

PostgreSQL holds what the pool knows for good: the register as a log of events, batches and the slices cut
from them, blocks and their frozen splits, the journal, payouts, the closed hours of the archive, the reports.
Triggers live in the migrations alone: they refuse what no client may do (an unbalanced entry, a split that is
not the reward, a changed past).

Work is numeric(78,0), wide enough for 2**256, and an `int` on both sides; satoshis are bigint. Instants are
unix microseconds where a rule depends on them, and timestamptz where they only tell when a row was written.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from payouts.fpps import PARTS, PRICE_UNIT


class Work(TypeDecorator[int]):
    """numeric(78,0) as `int`, exact both ways."""

    impl = sa.Numeric(78, 0)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> Decimal | None:
        """`int` to the driver's decimal."""
        return None if value is None else Decimal(value)

    def process_result_value(self, value: Decimal | None, dialect: sa.Dialect) -> int | None:
        """The driver's decimal to `int`."""
        return None if value is None else int(value)


metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def identity() -> sa.Column[int]:
    """A number that the database gives."""
    return sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True)


def _written(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def required(name: str, kind: Any, *constraints: sa.ForeignKey) -> sa.Column[Any]:
    """A column that is never null."""
    return sa.Column(name, kind, *constraints, nullable=False)


def _counter(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


# The register

miner = sa.Table(
    "miner",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False, unique=True),
)
register_event = sa.Table(
    "register_event",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    required("at_us", sa.BigInteger),
    required("actor", sa.Text),
    required("role", sa.Text),
    required("reason", sa.Text),
    required("kind", sa.Text),
    required("key", sa.Text),
    required("action", sa.Text),
    # Text and not jsonb: the hash is over these very bytes.
    required("body", sa.Text),
    # Unique, so that the chain cannot fork.
    sa.Column("previous", sa.Text, sa.ForeignKey("register_event.sha256"), unique=True),
    sa.Column("sha256", sa.Text, nullable=False, unique=True),
    sa.CheckConstraint("seq >= 1", name="seq"),
    sa.CheckConstraint("(seq = 1) = (previous IS NULL)", name="chain"),
    sa.Index("register_event_kind_key_seq_idx", "kind", "key", "seq"),
)
sighting = sa.Table(
    "sighting",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("miner_id", sa.Integer, sa.ForeignKey("miner.id"), primary_key=True, autoincrement=False),
    sa.Column("worker", sa.Text, primary_key=True),
    required("first_us", sa.BigInteger),
    required("last_us", sa.BigInteger),
    required("count", sa.BigInteger),
    required("detail", sa.Text),
    # Whether it has become an event of the log.
    sa.Column("recorded", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint("count >= 1", name="count"),
)
sa.Index("sighting_unrecorded_idx", sighting.c.first_us, postgresql_where=sa.not_(sighting.c.recorded))

# From the gateways

gateway = sa.Table(
    "gateway",
    metadata,
    sa.Column("number", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("identity", sa.Uuid, nullable=False, unique=True),
    required("name", sa.Text),
    _counter("last_seq"),
    sa.Column("seen_at", sa.DateTime(timezone=True)),
    sa.Column("connections", sa.Integer),
    sa.Column("job_height", sa.Integer),
    sa.Column("job_at", sa.DateTime(timezone=True)),
    _counter("shares_accepted"),
    _counter("shares_rejected"),
    sa.CheckConstraint("number BETWEEN 1 AND 4095", name="number"),
)
batch = sa.Table(
    "batch",
    metadata,
    identity(),
    sa.Column(
        "received_on", sa.Date, primary_key=True, server_default=sa.text("timezone('UTC', now())::date")
    ),
    required("gateway_number", sa.SmallInteger, sa.ForeignKey("gateway.number")),
    required("first_seq", sa.BigInteger),
    required("last_seq", sa.BigInteger),
    required("records", sa.Integer),
    required("payload", sa.LargeBinary),
    _written("received_at"),
    # The place in the one order of all work, and when the ledger gave it (its clock, never backwards).
    sa.Column("position", sa.BigInteger),
    sa.Column("taken_us", sa.BigInteger),
    # Of the shares in it, by the gateway's clock; null where there are none, or where nobody looked.
    sa.Column("first_us", sa.BigInteger),
    sa.Column("last_us", sa.BigInteger),
    sa.UniqueConstraint("gateway_number", "first_seq", "received_on"),
    sa.UniqueConstraint("position", "received_on"),
    sa.CheckConstraint("first_seq BETWEEN 1 AND last_seq", name="seq"),
    sa.CheckConstraint("(position IS NULL) = (taken_us IS NULL)", name="taken"),
    postgresql_partition_by="RANGE (received_on)",
)
sa.Index("batch_unordered_idx", batch.c.id, postgresql_where=batch.c.position.is_(None))
sa.Index("batch_taken_us_idx", batch.c.taken_us)

# The ledger. `taken_on` is the UTC day of the batch's `taken_us`: partitions are cut by it.

ledger_head = sa.Table(
    "ledger_head",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    required("batch_position", sa.BigInteger),
    required("slice_position", sa.BigInteger),
    required("total", Work),
    required("taken_us", sa.BigInteger),
    sa.CheckConstraint("id = 1", name="one"),
)
slice_ = sa.Table(
    "slice",
    metadata,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("taken_on", sa.Date, primary_key=True),
    required("batch_position", sa.BigInteger),
    required("miner_id", sa.Integer, sa.ForeignKey("miner.id")),
    required("day", sa.Date),
    required("work", Work),
    required("shares", sa.Integer),
    required("first_us", sa.BigInteger),
    required("last_us", sa.BigInteger),
    # All work up to here with this slice, and this miner's: the work of any stretch is a difference.
    required("total", Work),
    required("miner_total", Work),
    sa.CheckConstraint("position >= 1", name="position"),
    sa.CheckConstraint("work >= 1", name="work"),
    sa.CheckConstraint("shares >= 1", name="shares"),
    sa.CheckConstraint("work <= miner_total AND miner_total <= total", name="total"),
    sa.Index("slice_miner_id_position_idx", "miner_id", "position"),
    sa.Index("slice_total_idx", "total"),
    postgresql_partition_by="RANGE (taken_on)",
)
miner_work = sa.Table(
    "miner_work",
    metadata,
    sa.Column("miner_id", sa.Integer, sa.ForeignKey("miner.id"), primary_key=True, autoincrement=False),
    required("total", Work),
)
miner_day = sa.Table(
    "miner_day",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("miner_id", sa.Integer, sa.ForeignKey("miner.id"), primary_key=True, autoincrement=False),
    required("shares", sa.BigInteger),
    required("work", Work),
    required("first_us", sa.BigInteger),
    required("last_us", sa.BigInteger),
)
reject = sa.Table(
    "reject",
    metadata,
    sa.Column("batch_position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("miner_id", sa.Integer, sa.ForeignKey("miner.id"), primary_key=True, autoincrement=False),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("taken_on", sa.Date, primary_key=True),
    required("count", sa.Integer),
    sa.CheckConstraint("count >= 1", name="count"),
    postgresql_partition_by="RANGE (taken_on)",
)
reject_day = sa.Table(
    "reject_day",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("miner_id", sa.Integer, sa.ForeignKey("miner.id"), primary_key=True, autoincrement=False),
    sa.Column("reason", sa.Text, primary_key=True),
    required("count", sa.BigInteger),
)
STATES = "state IN ('found', 'submitted', 'confirmed', 'mature', 'orphaned')"
block = sa.Table(
    "block",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    required("height", sa.Integer),
    required("previous_hash", sa.Text),
    required("found_us", sa.BigInteger),
    required("day", sa.Date),
    sa.Column("miner_id", sa.Integer, sa.ForeignKey("miner.id")),
    required("worker", sa.Text),
    required("network_target", sa.LargeBinary),
    required("reward_sat", sa.BigInteger),
    required("fees_sat", sa.BigInteger),
    required("coinbase_txid", sa.Text),
    required("window_multiple", sa.Integer),
    sa.Column("window_first", sa.BigInteger),
    sa.Column("window_first_work", Work),
    sa.Column("window_last", sa.BigInteger),
    required("window_work", Work),
    required("commission_bps", sa.Integer),
    required("commission_sat", sa.BigInteger),
    required("state", sa.Text),
    sa.Column("scheme", sa.Text, nullable=False, server_default="pplns"),
    sa.Column("transaction_fees", sa.Text, nullable=False, server_default="shared"),
    sa.CheckConstraint("hash ~ '^[0-9a-f]{64}$'", name="hash"),
    sa.CheckConstraint("octet_length(network_target) = 32", name="network_target"),
    sa.CheckConstraint("fees_sat BETWEEN 0 AND reward_sat", name="fees"),
    sa.CheckConstraint("commission_sat BETWEEN 0 AND reward_sat", name="commission"),
    sa.CheckConstraint("num_nulls(window_first, window_first_work, window_last) IN (0, 3)", name="window"),
    sa.CheckConstraint(STATES, name="state"),
    sa.CheckConstraint("scheme IN ('pplns', 'solo', 'fpps')", name="scheme"),
    sa.CheckConstraint("transaction_fees IN ('shared', 'pool')", name="transaction_fees"),
    sa.Index("block_day_idx", "day"),
    sa.Index("block_state_height_idx", "state", "height"),
)
block_event = sa.Table(
    "block_event",
    metadata,
    identity(),
    required("hash", sa.Text, sa.ForeignKey("block.hash")),
    required("state", sa.Text),
    required("at_us", sa.BigInteger),
    required("note", sa.Text),
    sa.CheckConstraint(STATES, name="state"),
    sa.Index("block_event_hash_idx", "hash"),
)
split = sa.Table(
    "split",
    metadata,
    sa.Column("hash", sa.Text, sa.ForeignKey("block.hash"), primary_key=True),
    sa.Column("miner_id", sa.Integer, sa.ForeignKey("miner.id"), primary_key=True),
    required("work", Work),
    required("amount_sat", sa.BigInteger),
    # What of the block's commission falls on this miner (O-32): parts of the whole, as the amounts are.
    required("commission_sat", sa.BigInteger),
    sa.CheckConstraint("work >= 1", name="work"),
    sa.CheckConstraint("amount_sat >= 0", name="amount"),
    sa.CheckConstraint("commission_sat >= 0", name="commission"),
    sa.Index("split_miner_id_idx", "miner_id"),
)

# The journal

journal_entry = sa.Table(
    "journal_entry",
    metadata,
    identity(),
    required("at_us", sa.BigInteger),
    required("day", sa.Date),
    required("kind", sa.Text),
    sa.Column("block_hash", sa.Text, sa.ForeignKey("block.hash")),
    sa.Column("round", sa.Integer),
    required("memo", sa.Text),
    required("actor", sa.Text),
    sa.Column("payout_id", sa.BigInteger, sa.ForeignKey("payout.id")),
    # `round` counts the returns to the chain, of a block or of the block that confirms a payout: nothing is
    # booked twice without a reversal between.
    sa.UniqueConstraint("block_hash", "kind", "round"),
    sa.UniqueConstraint("payout_id", "kind", "round"),
    sa.CheckConstraint("(round IS NULL) = (num_nonnulls(block_hash, payout_id) = 0)", name="round"),
    sa.CheckConstraint("num_nonnulls(block_hash, payout_id) <= 1", name="one_source"),
    sa.Index("journal_entry_day_idx", "day"),
)
journal_posting = sa.Table(
    "journal_posting",
    metadata,
    identity(),
    required("entry_id", sa.BigInteger, sa.ForeignKey("journal_entry.id")),
    required("account", sa.Text),
    required("amount", sa.BigInteger),
    sa.UniqueConstraint("entry_id", "account"),
    sa.CheckConstraint("amount <> 0", name="amount"),
    sa.Index("journal_posting_account_idx", "account"),
)

# A row for each day on which an account moved, kept by trigger; amounts as booked.
account_day = sa.Table(
    "account_day",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    required("opening", sa.BigInteger),
    required("debit", sa.BigInteger),
    required("credit", sa.BigInteger),
    required("closing", sa.BigInteger),
    sa.CheckConstraint("opening + debit - credit = closing", name="closing"),
    sa.CheckConstraint("debit >= 0 AND credit >= 0", name="sides"),
    # No miner ever owes the pool.
    sa.CheckConstraint("account NOT LIKE 'miner:%' OR closing <= 0", name="owed"),
    sa.Index("account_day_day_idx", "day"),
)

# FPPS: what a hash of a day is worth, and what was credited for it

fpps_rate = sa.Table(
    "fpps_rate",
    metadata,
    identity(),
    sa.Column("day", sa.Date, nullable=False, unique=True),
    # The blocks by whose sums the day is priced: those whose headers' times lie in it.
    required("first_height", sa.Integer),
    required("last_height", sa.Integer),
    required("blocks", sa.Integer),
    required("reward_sat", sa.BigInteger),
    required("fees_sat", sa.BigInteger),
    required("network_work", Work),
    required("transaction_fees", sa.Text),
    # Parts of 2**-128 satoshi for a hash.
    required("price", Work),
    required("commission_bps", sa.Integer),
    sa.CheckConstraint("first_height BETWEEN 0 AND last_height", name="heights"),
    sa.CheckConstraint("blocks BETWEEN 1 AND last_height - first_height + 1", name="blocks"),
    sa.CheckConstraint("fees_sat BETWEEN 0 AND reward_sat", name="fees"),
    sa.CheckConstraint("network_work >= 1", name="network_work"),
    sa.CheckConstraint("transaction_fees IN ('shared', 'pool')", name="transaction_fees"),
    sa.CheckConstraint("commission_bps BETWEEN 0 AND 10000", name="commission"),
    sa.CheckConstraint(
        f"price = div((reward_sat - CASE transaction_fees WHEN 'pool' THEN fees_sat ELSE 0 END) "
        f"* {PRICE_UNIT}::numeric, network_work)",
        name="price",
    ),
)
# A credit is checked against the one before it of the same miner: what was left there is carried on.
fpps_credit = sa.Table(
    "fpps_credit",
    metadata,
    identity(),
    required("at_us", sa.BigInteger),
    # Null where all that was credited together does not come to a satoshi for anybody.
    sa.Column("entry_id", sa.BigInteger, sa.ForeignKey("journal_entry.id")),
    required("day", sa.Date, sa.ForeignKey("fpps_rate.day")),
    required("miner_id", sa.Integer, sa.ForeignKey("miner.id")),
    required("work", Work),
    required("amount_sat", sa.BigInteger),
    required("commission_sat", sa.BigInteger),
    # Below a satoshi, in parts of 2**-128 / 10000.
    required("miner_left", Work),
    required("commission_left", Work),
    sa.UniqueConstraint("day", "miner_id", "at_us"),
    sa.CheckConstraint("work >= 1", name="work"),
    sa.CheckConstraint("amount_sat >= 0 AND commission_sat >= 0", name="amount"),
    sa.CheckConstraint(
        f"miner_left >= 0 AND miner_left < {PARTS}::numeric "
        f"AND commission_left >= 0 AND commission_left < {PARTS}::numeric",
        name="left",
    ),
    sa.Index("fpps_credit_miner_id_id_idx", "miner_id", "id"),
)

# Settlement

# The fencing token: whoever acts as the settler raises it, and writes only while it is still theirs.
settler = sa.Table(
    "settler",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    required("token", sa.BigInteger),
    sa.CheckConstraint("id = 1", name="one"),
)
payout_run = sa.Table(
    "payout_run",
    metadata,
    identity(),
    required("at_us", sa.BigInteger),
    required("day", sa.Date),
    # Which date of the schedule this run is for, so that there is one for each; null when run by hand.
    sa.Column("schedule", sa.Text, unique=True),
    required("actor", sa.Text),
    required("reason", sa.Text),
)
# One transaction to be, whichever version of it confirms.
payout = sa.Table(
    "payout",
    metadata,
    identity(),
    required("run_id", sa.BigInteger, sa.ForeignKey("payout_run.id")),
    required("number", sa.Integer),
    required("state", sa.Text),
    required("created_us", sa.BigInteger),
    required("amount_sat", sa.BigInteger),
    sa.UniqueConstraint("run_id", "number"),
    sa.CheckConstraint(
        "state IN ('reserved', 'signed', 'sent', 'confirmed', 'final', 'abandoned')", name="state"
    ),
    sa.CheckConstraint("amount_sat >= 1", name="amount"),
    sa.Index("payout_state_idx", "state"),
)
# The outputs, and what the form asks of each (O-32).
payment = sa.Table(
    "payment",
    metadata,
    sa.Column("payout_id", sa.BigInteger, sa.ForeignKey("payout.id"), primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    required("miner_id", sa.Integer, sa.ForeignKey("miner.id")),
    required("purpose", sa.Text),
    required("address", sa.Text),
    required("script", sa.LargeBinary),
    required("amount_sat", sa.BigInteger),
    required("commission_sat", sa.BigInteger),
    # By which part of the miner's payouts its exchange was paid; null when the rule was not to split.
    sa.Column("sale_share_bps", sa.Integer),
    required("exchange", sa.Text),
    required("licence", sa.Text),
    required("licence_status", sa.Text),
    sa.CheckConstraint("purpose IN ('wallet', 'exchange_deposit')", name="purpose"),
    sa.CheckConstraint("amount_sat >= 1", name="amount"),
    sa.CheckConstraint("commission_sat >= 0", name="commission"),
    sa.CheckConstraint("sale_share_bps BETWEEN 0 AND 10000", name="sale_share"),
    sa.Index("payment_miner_id_idx", "miner_id"),
)
# All versions of a payout spend the same first coin, so that one of them at most can confirm.
payout_version = sa.Table(
    "payout_version",
    metadata,
    sa.Column("payout_id", sa.BigInteger, sa.ForeignKey("payout.id"), primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    required("purpose", sa.Text),
    required("created_us", sa.BigInteger),
    required("psbt", sa.Text),
    required("inputs", sa.ARRAY(sa.Text)),
    required("fee_sat", sa.BigInteger),
    required("fee_rate_sat_kvb", sa.BigInteger),
    # When somebody outside was given the PSBT, who may have signed it since.
    sa.Column("exported_us", sa.BigInteger),
    sa.Column("signed_us", sa.BigInteger),
    sa.Column("txid", sa.Text, unique=True),
    sa.Column("raw", sa.LargeBinary),
    sa.Column("sent_us", sa.BigInteger),
    sa.CheckConstraint("purpose IN ('pay', 'cancel')", name="purpose"),
    sa.CheckConstraint("fee_sat >= 0", name="fee"),
    sa.CheckConstraint("num_nulls(signed_us, txid, raw) IN (0, 3)", name="signed"),
    sa.CheckConstraint("sent_us IS NULL OR txid IS NOT NULL", name="sent"),
)
payout_event = sa.Table(
    "payout_event",
    metadata,
    identity(),
    required("payout_id", sa.BigInteger, sa.ForeignKey("payout.id")),
    required("at_us", sa.BigInteger),
    required("state", sa.Text),
    sa.Column("version", sa.Integer),
    # The block that confirms it, where it is confirmed; its own time, by which the distribution is dated.
    sa.Column("block_hash", sa.Text),
    sa.Column("block_height", sa.Integer),
    sa.Column("block_time_us", sa.BigInteger),
    required("actor", sa.Text),
    required("note", sa.Text),
    sa.CheckConstraint("num_nulls(block_hash, block_height, block_time_us) IN (0, 3)", name="block"),
    sa.Index("payout_event_payout_id_idx", "payout_id"),
)

# The archive

archive_hour = sa.Table(
    "archive_hour",
    metadata,
    sa.Column("hour_us", sa.BigInteger, primary_key=True, autoincrement=False),
    required("first_batch", sa.BigInteger),
    required("last_batch", sa.BigInteger),
    required("first_slice", sa.BigInteger),
    required("total_before", Work),
    required("rows", sa.BigInteger),
    required("bytes", sa.BigInteger),
    required("sha256", sa.Text),
    required("manifest", sa.Text),
    sa.Column("manifest_sha256", sa.Text, nullable=False, unique=True),
    required("closed_us", sa.BigInteger),
)

# What was told

report = sa.Table(
    "report",
    metadata,
    identity(),
    sa.Column("sequence", sa.BigInteger, nullable=False, unique=True),
    required("day", sa.Date),
    required("version", sa.Integer),
    sa.Column("sha256", sa.Text, nullable=False, unique=True),
    # Unique, so that the chain of reports cannot fork.
    sa.Column("previous_sha256", sa.Text, sa.ForeignKey("report.sha256"), unique=True),
    sa.Column("replaces_sha256", sa.Text, sa.ForeignKey("report.sha256"), unique=True),
    required("envelope", sa.LargeBinary),
    required("built_at", sa.DateTime(timezone=True)),
    sa.UniqueConstraint("day", "version"),
    sa.CheckConstraint("(sequence = 1) = (previous_sha256 IS NULL)", name="chain"),
    sa.CheckConstraint("(version = 1) = (replaces_sha256 IS NULL)", name="versions"),
)
