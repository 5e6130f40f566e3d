"""The tables of the transparency log: its leaves, the checkpoints that were signed, and what witnesses added.

They describe what `migrations/versions/0006_log.py` builds. All three only grow. The database keeps by itself
that leaves are numbered without a gap, that a leaf's hash is that of its data, that a checkpoint is larger
than any signed before and has all its leaves; that its root is theirs is checked by `pool.log_store`.
"""

from __future__ import annotations

import sqlalchemy as sa

from pool.tables import metadata, required

log_leaf = sa.Table(
    "log_leaf",
    metadata,
    sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
    # The one before, so that no number is left out.
    sa.Column("previous", sa.BigInteger, sa.ForeignKey("log_leaf.index")),
    required("kind", sa.Text),
    required("at_us", sa.BigInteger),
    required("data", sa.LargeBinary),
    required("hash", sa.LargeBinary),
    sa.CheckConstraint("(index = 0) = (previous IS NULL)", name="chain"),
    sa.CheckConstraint("previous = index - 1", name="gap"),
    # An entry bundle has two bytes for a length (C2SP tlog-tiles).
    sa.CheckConstraint("octet_length(data) <= 65535", name="data"),
    sa.CheckConstraint("hash = sha256('\\x00'::bytea || data)", name="hash"),
    sa.Index("log_leaf_kind_index_idx", "kind", "index"),
)
log_checkpoint = sa.Table(
    "log_checkpoint",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    required("root", sa.LargeBinary),
    # The signed note, byte for byte, without cosignatures.
    required("note", sa.LargeBinary),
    required("signed_us", sa.BigInteger),
    sa.CheckConstraint("size >= 1", name="size"),
    sa.CheckConstraint("octet_length(root) = 32", name="root"),
)
log_cosignature = sa.Table(
    "log_cosignature",
    metadata,
    sa.Column(
        "size", sa.BigInteger, sa.ForeignKey("log_checkpoint.size"), primary_key=True, autoincrement=False
    ),
    sa.Column("name", sa.Text, primary_key=True),
    # The key's id in a signed note, eight hex digits.
    sa.Column("key_id", sa.Text, primary_key=True),
    required("cosigned_s", sa.BigInteger),
    required("line", sa.Text),
    required("received_us", sa.BigInteger),
    sa.CheckConstraint("cosigned_s >= 0", name="cosigned"),
)
