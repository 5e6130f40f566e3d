"""The tables of notices: what people are told of by themselves, to which channels it went, what was read.

They describe what `migrations/versions/0012_notices.py` builds. A notice never changes and is there once, by
its key; the ledger sends a delivery of it to each channel that wants it (`pool.notices.courier`). Deliveries
are an outbox: what was sent stays sent, and what was given up can be tried again.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from pool.tables import identity, metadata, required

notice = sa.Table(
    "notice",
    metadata,
    identity(),
    # When it happened, and when it became a notice.
    required("at_us", sa.BigInteger),
    required("made_us", sa.BigInteger),
    required("kind", sa.Text),
    # The message of the catalogue that it is told by, in any language, with `data` filled in.
    required("event", sa.Text),
    required("severity", sa.Text),
    # A payment to a miner is for its own page only: the operator hears of the payout.
    required("audience", sa.Text),
    # Of what happened, so that it becomes a notice once; receivers know repeats by it.
    sa.Column("key", sa.Text, nullable=False, unique=True),
    required("subject", sa.Text),
    required("text", sa.Text),
    sa.Column("miner_id", sa.Integer, sa.ForeignKey("miner.id")),
    required("data", JSONB),
    sa.CheckConstraint("kind IN ('block', 'payout', 'alarm', 'licence', 'report')", name="kind"),
    sa.CheckConstraint("severity IN ('info', 'warning', 'critical')", name="severity"),
    sa.CheckConstraint("audience IN ('operator', 'miner', 'both')", name="audience"),
    sa.CheckConstraint("audience = 'operator' OR miner_id IS NOT NULL", name="miner"),
    sa.CheckConstraint("octet_length(key) <= 512 AND octet_length(text) <= 8192", name="size"),
    sa.Index("notice_miner_id_id_idx", "miner_id", "id", postgresql_where=sa.text("audience <> 'operator'")),
)
notice_delivery = sa.Table(
    "notice_delivery",
    metadata,
    sa.Column("notice_id", sa.BigInteger, sa.ForeignKey("notice.id"), primary_key=True, autoincrement=False),
    sa.Column("channel", sa.Text, primary_key=True),
    # From here its day of tries is counted; a person may begin another.
    required("created_us", sa.BigInteger),
    sa.Column("state", sa.Text, nullable=False, server_default="waiting"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("tried_us", sa.BigInteger),
    sa.Column("error", sa.Text, nullable=False, server_default=""),
    sa.CheckConstraint("state IN ('waiting', 'sent', 'given_up')", name="state"),
    sa.CheckConstraint("attempts >= 0", name="attempts"),
    sa.Index(
        "notice_delivery_waiting_idx", "channel", "notice_id", postgresql_where=sa.text("state = 'waiting'")
    ),
)
# How far notices were derived from a source, or handed to a channel.
notice_place = sa.Table(
    "notice_place",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    required("reached", sa.BigInteger),
)
