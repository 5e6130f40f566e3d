"""The tables that only the daily report wants: who worked on a day, and what its commitments are salted with.

They describe what `migrations/versions/0008_daily.py` builds; both are only ever added to.
"""

from __future__ import annotations

import sqlalchemy as sa

from pool.tables import metadata, required

# The names that a batch brought of a miner's day and that the ledger had not met on it before. Who asks takes
# each name once: a ledger that has just started does not know what was met, and writes names again.
worker_seen = sa.Table(
    "worker_seen",
    metadata,
    sa.Column("batch_position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("miner_id", sa.Integer, sa.ForeignKey("miner.id"), primary_key=True, autoincrement=False),
    sa.Column("day", sa.Date, primary_key=True),
    required("workers", sa.ARRAY(sa.Text)),
    sa.CheckConstraint("cardinality(workers) >= 1", name="workers"),
    sa.Index("worker_seen_day_idx", "day"),
)
report_base = sa.Table(
    "report_base",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    # What the salts of the rows are made with; it leaves the database in no report.
    required("salt_secret", sa.LargeBinary),
    # From this day on `worker_seen` is whole.
    required("workers_from", sa.Date),
    sa.CheckConstraint("id = 1", name="one"),
    sa.CheckConstraint("octet_length(salt_secret) >= 16", name="salt_secret"),
)
