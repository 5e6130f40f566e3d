"""The tables of the keys that sign reports, and of signatures that stand beside a report.

They describe what `migrations/versions/0007_report_keys.py` builds; both only grow. `entry` is an event of a
key byte for byte as it is published, with its signatures; the other columns repeat of it what is asked for.
"""

from __future__ import annotations

import sqlalchemy as sa

from pool.tables import metadata, required

report_key_event = sa.Table(
    "report_key_event",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    required("at_us", sa.BigInteger),
    required("action", sa.Text),
    required("key_id", sa.Text),
    # Who asked for it; not published.
    required("actor", sa.Text),
    required("entry", sa.LargeBinary),
    sa.Column("sha256", sa.Text, nullable=False, unique=True),
    # Unique, so that the list of keys cannot fork.
    sa.Column("previous_sha256", sa.Text, sa.ForeignKey("report_key_event.sha256"), unique=True),
    # Where the log tells of it.
    sa.Column("leaf_index", sa.BigInteger, sa.ForeignKey("log_leaf.index"), nullable=False, unique=True),
    sa.CheckConstraint("action IN ('introduced', 'rotated', 'revoked')", name="action"),
    sa.CheckConstraint("(seq = 1) = (previous_sha256 IS NULL)", name="chain"),
)
report_signature = sa.Table(
    "report_signature",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    required("report_sha256", sa.Text, sa.ForeignKey("report.sha256")),
    required("type", sa.Text),
    required("value", sa.LargeBinary),
    required("signed_us", sa.BigInteger),
    required("actor", sa.Text),
    sa.CheckConstraint("type IN ('cms')", name="type"),
    sa.Index("report_signature_report_sha256_idx", "report_sha256"),
)
