"""The table of what was said to be sold (O-52): `migrations/versions/0010_sale.py` builds it.

It only grows. A sale is put right or taken back by another row, which names the one that it replaces; the
database keeps that each row is replaced at most once, that a row of a replaced sale is of the same miner, and
that no two sales that stand are one trade of one exchange.
"""

from __future__ import annotations

import sqlalchemy as sa

from pool.tables import metadata, required

sale_confirmation = sa.Table(
    "sale_confirmation",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    required("at_us", sa.BigInteger),
    required("actor", sa.Text),
    required("role", sa.Text),
    required("reason", sa.Text),
    required("action", sa.Text),
    # Unique, so that two rows never replace the same one.
    sa.Column("replaces", sa.BigInteger, sa.ForeignKey("sale_confirmation.seq"), unique=True),
    required("miner_id", sa.Integer, sa.ForeignKey("miner.id")),
    required("told_by", sa.Text),
    required("exchange", sa.Text),
    # The name in one case of letters, as names are compared.
    required("exchange_key", sa.Text),
    required("licensor", sa.Text),
    required("licence", sa.Text),
    required("reference", sa.Text),
    required("sold_on", sa.Date),
    required("quantity_sat", sa.BigInteger),
    required("currency", sa.Text),
    required("amount", sa.Text),
    sa.CheckConstraint("seq >= 1", name="seq"),
    sa.CheckConstraint("action IN ('entered', 'corrected', 'withdrawn')", name="action"),
    sa.CheckConstraint("(action = 'entered') = (replaces IS NULL)", name="replaces"),
    sa.CheckConstraint("replaces < seq", name="order"),
    sa.CheckConstraint("told_by IN ('miner', 'exchange')", name="told_by"),
    sa.CheckConstraint("(licensor = '') = (licence = '')", name="licence"),
    sa.CheckConstraint("quantity_sat >= 1", name="quantity"),
    sa.Index("sale_confirmation_miner_id_sold_on_idx", "miner_id", "sold_on"),
    sa.Index("sale_confirmation_reference_idx", "reference"),
    sa.Index("sale_confirmation_at_us_idx", "at_us"),
)
