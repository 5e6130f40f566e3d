"""Income forms, official values and the calendar of working days, submissions and their receipts.

Revision 0009. All of them only grow (invariant 7). The database keeps by itself that a form's versions
follow each other, that a second value or word on a day has a reason, and that a receipt's file has the
hash it is told with.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE form (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        form TEXT NOT NULL,
        period TEXT NOT NULL,
        version INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        replaces_sha256 TEXT,
        envelope BYTEA NOT NULL,
        built_at TIMESTAMPTZ NOT NULL,
        CONSTRAINT form_pkey PRIMARY KEY (id),
        CONSTRAINT form_sha256_key UNIQUE (sha256),
        CONSTRAINT form_replaces_sha256_key UNIQUE (replaces_sha256),
        CONSTRAINT form_form_period_version_key UNIQUE (form, period, version),
        CONSTRAINT form_versions_check CHECK ((version = 1) = (replaces_sha256 IS NULL)),
        CONSTRAINT form_period_check CHECK (period ~ '^[0-9]{4}-[0-9]{2}$'),
        CONSTRAINT form_replaces_sha256_fkey FOREIGN KEY (replaces_sha256) REFERENCES form (sha256)
    )
    """,
    """
    CREATE TABLE price (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        day DATE NOT NULL,
        asset TEXT NOT NULL,
        value NUMERIC NOT NULL,
        currency TEXT NOT NULL,
        source TEXT NOT NULL,
        reason TEXT NOT NULL,
        entered_us BIGINT NOT NULL,
        actor TEXT NOT NULL,
        CONSTRAINT price_pkey PRIMARY KEY (id),
        CONSTRAINT price_value_check CHECK (value > 0)
    )
    """,
    "CREATE INDEX price_day_asset_idx ON price (day, asset)",
    """
    CREATE TABLE calendar_day (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        day DATE NOT NULL,
        working BOOLEAN NOT NULL,
        source TEXT NOT NULL,
        reason TEXT NOT NULL,
        entered_us BIGINT NOT NULL,
        actor TEXT NOT NULL,
        CONSTRAINT calendar_day_pkey PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX calendar_day_day_idx ON calendar_day (day)",
    """
    CREATE TABLE submission (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        form_sha256 TEXT,
        report_sha256 TEXT,
        addressee TEXT NOT NULL,
        addressee_name TEXT NOT NULL,
        sent_us BIGINT NOT NULL,
        transport TEXT NOT NULL,
        file_name TEXT NOT NULL,
        file_sha256 TEXT NOT NULL,
        note TEXT NOT NULL,
        recorded_us BIGINT NOT NULL,
        actor TEXT NOT NULL,
        CONSTRAINT submission_pkey PRIMARY KEY (id),
        CONSTRAINT submission_document_check CHECK (num_nonnulls(form_sha256, report_sha256) = 1),
        CONSTRAINT submission_addressee_check CHECK (addressee IN ('authorised_body', 'tax_authority')),
        CONSTRAINT submission_transport_check CHECK (transport IN ('file', 'hand')),
        CONSTRAINT submission_file_check CHECK ((file_name = '') = (file_sha256 = '')),
        CONSTRAINT submission_form_sha256_fkey FOREIGN KEY (form_sha256) REFERENCES form (sha256),
        CONSTRAINT submission_report_sha256_fkey FOREIGN KEY (report_sha256) REFERENCES report (sha256)
    )
    """,
    "CREATE INDEX submission_form_sha256_idx ON submission (form_sha256)",
    "CREATE INDEX submission_report_sha256_idx ON submission (report_sha256)",
    """
    CREATE TABLE receipt (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        submission_id BIGINT NOT NULL,
        text TEXT NOT NULL,
        file_name TEXT NOT NULL,
        file BYTEA,
        file_sha256 TEXT NOT NULL,
        recorded_us BIGINT NOT NULL,
        actor TEXT NOT NULL,
        CONSTRAINT receipt_pkey PRIMARY KEY (id),
        CONSTRAINT receipt_file_check CHECK (
            CASE WHEN file IS NULL THEN file_name = '' AND file_sha256 = '' AND text <> ''
            ELSE file_name <> '' AND file_sha256 = encode(sha256(file), 'hex') END),
        CONSTRAINT receipt_submission_id_fkey FOREIGN KEY (submission_id) REFERENCES submission (id)
    )
    """,
    "CREATE INDEX receipt_submission_id_idx ON receipt (submission_id)",
)
_FUNCTIONS = (
    """
    CREATE FUNCTION form_follows() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        before form;
    BEGIN
        SELECT * INTO before FROM form WHERE sha256 = NEW.replaces_sha256;
        IF NEW.version > 1 AND (before.form, before.period, before.version + 1)
                IS DISTINCT FROM (NEW.form, NEW.period, NEW.version) THEN
            RAISE EXCEPTION 'form % of %, version % refused: it does not replace the version before it',
                NEW.form, NEW.period, NEW.version USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION price_is_first_or_has_reason() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.reason = '' AND EXISTS (
                SELECT FROM price WHERE day = NEW.day AND asset = NEW.asset AND id <> NEW.id) THEN
            RAISE EXCEPTION 'value of % of % refused: there is one, and a correction has a reason', NEW.asset,
                NEW.day USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION calendar_day_is_first_or_has_reason() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.reason = '' AND EXISTS (SELECT FROM calendar_day WHERE day = NEW.day AND id <> NEW.id) THEN
            RAISE EXCEPTION 'calendar of % refused: it says something, and a correction has a reason', NEW.day
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
)
_GUARDS = {
    "form": "form_follows",
    "price": "price_is_first_or_has_reason",
    "calendar_day": "calendar_day_is_first_or_has_reason",
}
_ALL = ("receipt", "submission", "form", "price", "calendar_day")
_TRIGGERS = (
    *(
        f"CREATE TRIGGER {function} AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()"
        for table, function in _GUARDS.items()
    ),
    *(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in _ALL
    ),
)


def upgrade() -> None:
    """Add the tables and set them on guard."""
    for statement in (*_TABLES, *_FUNCTIONS, *_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Take the tables away; raises RuntimeError where a form was made or anything was submitted."""
    kept = "SELECT EXISTS (SELECT FROM form) OR EXISTS (SELECT FROM submission)"
    if op.get_bind().exec_driver_sql(kept).scalar():
        raise RuntimeError("there are income forms or submissions: restore a backup instead of going back")
    for table in _ALL:
        op.execute(f"DROP TABLE {table}")
    for function in _GUARDS.values():
        op.execute(f"DROP FUNCTION {function}()")
