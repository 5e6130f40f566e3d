"""The keys that sign reports, and signatures that stand beside a report.

Revision 0007. Both tables only grow (invariant 7). An event of a key names the one before it by hash, so that
the list of keys cannot fork; what it says, and who signed it, is checked by `reporting.keyring` before it is
written.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE report_key_event (
        seq BIGINT NOT NULL,
        at_us BIGINT NOT NULL,
        action TEXT NOT NULL,
        key_id TEXT NOT NULL,
        actor TEXT NOT NULL,
        entry BYTEA NOT NULL,
        sha256 TEXT NOT NULL,
        previous_sha256 TEXT,
        leaf_index BIGINT NOT NULL,
        CONSTRAINT report_key_event_pkey PRIMARY KEY (seq),
        CONSTRAINT report_key_event_sha256_key UNIQUE (sha256),
        CONSTRAINT report_key_event_previous_sha256_key UNIQUE (previous_sha256),
        CONSTRAINT report_key_event_leaf_index_key UNIQUE (leaf_index),
        CONSTRAINT report_key_event_action_check CHECK (action IN ('introduced', 'rotated', 'revoked')),
        CONSTRAINT report_key_event_chain_check CHECK ((seq = 1) = (previous_sha256 IS NULL)),
        CONSTRAINT report_key_event_previous_sha256_fkey
            FOREIGN KEY (previous_sha256) REFERENCES report_key_event (sha256),
        CONSTRAINT report_key_event_leaf_index_fkey FOREIGN KEY (leaf_index) REFERENCES log_leaf (index)
    )
    """,
    """
    CREATE TABLE report_signature (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        report_sha256 TEXT NOT NULL,
        type TEXT NOT NULL,
        value BYTEA NOT NULL,
        signed_us BIGINT NOT NULL,
        actor TEXT NOT NULL,
        CONSTRAINT report_signature_pkey PRIMARY KEY (id),
        CONSTRAINT report_signature_type_check CHECK (type IN ('cms')),
        CONSTRAINT report_signature_report_sha256_fkey FOREIGN KEY (report_sha256) REFERENCES report (sha256)
    )
    """,
    "CREATE INDEX report_signature_report_sha256_idx ON report_signature (report_sha256)",
)
_TRIGGERS = tuple(
    f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    for table in ("report_key_event", "report_signature")
)


def upgrade() -> None:
    """Add the tables and set them on guard."""
    for statement in (*_TABLES, *_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Take the tables away; raises RuntimeError where a key was introduced: reports hang on it."""
    if op.get_bind().exec_driver_sql("SELECT EXISTS (SELECT FROM report_key_event)").scalar():
        raise RuntimeError("there are keys that sign reports: restore a backup instead of going back")
    op.execute("DROP TABLE report_signature")
    op.execute("DROP TABLE report_key_event")
