"""The tables of the income forms: the forms, values and calendar, what was submitted to whom, and
receipts.

They describe what `migrations/versions/0009_income.py` builds. All of them only grow: a correction of a
form is a new version, of a value or a day a new row with a reason; a receipt is a row beside its
submission.
"""

from __future__ import annotations

import sqlalchemy as sa

from pool.tables import identity, metadata, required

form = sa.Table(
    "form",
    metadata,
    identity(),
    required("form", sa.Text),
    # The month, like 2026-11.
    required("period", sa.Text),
    required("version", sa.Integer),
    sa.Column("sha256", sa.Text, nullable=False, unique=True),
    sa.Column("replaces_sha256", sa.Text, sa.ForeignKey("form.sha256"), unique=True),
    required("envelope", sa.LargeBinary),
    required("built_at", sa.DateTime(timezone=True)),
    sa.UniqueConstraint("form", "period", "version"),
    sa.CheckConstraint("(version = 1) = (replaces_sha256 IS NULL)", name="versions"),
    sa.CheckConstraint("period ~ '^[0-9]{4}-[0-9]{2}$'", name="period"),
)
# What one unit of an asset was worth; of a currency, the rate of the National Bank in tenge.
price = sa.Table(
    "price",
    metadata,
    identity(),
    required("day", sa.Date),
    required("asset", sa.Text),
    required("value", sa.Numeric),
    required("currency", sa.Text),
    required("source", sa.Text),
    required("reason", sa.Text),
    required("entered_us", sa.BigInteger),
    required("actor", sa.Text),
    sa.CheckConstraint("value > 0", name="value"),
    sa.Index("price_day_asset_idx", "day", "asset"),
)
calendar_day = sa.Table(
    "calendar_day",
    metadata,
    identity(),
    required("day", sa.Date),
    required("working", sa.Boolean),
    required("source", sa.Text),
    required("reason", sa.Text),
    required("entered_us", sa.BigInteger),
    required("actor", sa.Text),
    sa.Index("calendar_day_day_idx", "day"),
)
# A version of a form or of a daily report that went to one addressee (O-40).
submission = sa.Table(
    "submission",
    metadata,
    identity(),
    sa.Column("form_sha256", sa.Text, sa.ForeignKey("form.sha256")),
    sa.Column("report_sha256", sa.Text, sa.ForeignKey("report.sha256")),
    required("addressee", sa.Text),
    # As it was called on the day.
    required("addressee_name", sa.Text),
    required("sent_us", sa.BigInteger),
    required("transport", sa.Text),
    # Of the export that was sent, where the program made it; empty where a person sent one.
    required("file_name", sa.Text),
    required("file_sha256", sa.Text),
    required("note", sa.Text),
    required("recorded_us", sa.BigInteger),
    required("actor", sa.Text),
    sa.CheckConstraint("num_nonnulls(form_sha256, report_sha256) = 1", name="document"),
    sa.CheckConstraint("addressee IN ('authorised_body', 'tax_authority')", name="addressee"),
    sa.CheckConstraint("transport IN ('file', 'hand')", name="transport"),
    sa.CheckConstraint("(file_name = '') = (file_sha256 = '')", name="file"),
    sa.Index("submission_form_sha256_idx", "form_sha256"),
    sa.Index("submission_report_sha256_idx", "report_sha256"),
)
receipt = sa.Table(
    "receipt",
    metadata,
    identity(),
    required("submission_id", sa.BigInteger, sa.ForeignKey("submission.id")),
    required("text", sa.Text),
    required("file_name", sa.Text),
    sa.Column("file", sa.LargeBinary),
    required("file_sha256", sa.Text),
    required("recorded_us", sa.BigInteger),
    required("actor", sa.Text),
    sa.CheckConstraint(
        "CASE WHEN file IS NULL THEN file_name = '' AND file_sha256 = '' AND text <> '' "
        "ELSE file_name <> '' AND file_sha256 = encode(sha256(file), 'hex') END",
        name="file",
    ),
    sa.Index("receipt_submission_id_idx", "submission_id"),
)
