"""What the daily report of schema 2 wants: the names that worked on a day, and the secret of its salts.

Revision 0008. `workers_from` is the first day of which all names are kept: that of the calendar's beginning
in a pool that has not worked yet, else the second day after this migration, which has begun nowhere when it
runs.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE worker_seen (
        batch_position BIGINT NOT NULL,
        miner_id INTEGER NOT NULL,
        day DATE NOT NULL,
        workers TEXT[] NOT NULL,
        CONSTRAINT worker_seen_pkey PRIMARY KEY (batch_position, miner_id, day),
        CONSTRAINT worker_seen_workers_check CHECK (cardinality(workers) >= 1),
        CONSTRAINT worker_seen_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "CREATE INDEX worker_seen_day_idx ON worker_seen (day)",
    """
    CREATE TABLE report_base (
        id SMALLINT NOT NULL,
        salt_secret BYTEA NOT NULL,
        workers_from DATE NOT NULL,
        CONSTRAINT report_base_pkey PRIMARY KEY (id),
        CONSTRAINT report_base_one_check CHECK (id = 1),
        CONSTRAINT report_base_salt_secret_check CHECK (octet_length(salt_secret) >= 16)
    )
    """,
)
_ROW = """
    INSERT INTO report_base (id, salt_secret, workers_from)
    SELECT 1, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
        CASE WHEN batch_position = 0 THEN DATE '2000-01-01'
            ELSE (now() AT TIME ZONE 'UTC')::date + 2 END
    FROM ledger_head
    """
_TRIGGERS = tuple(
    f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    for table in ("worker_seen", "report_base")
)


def upgrade() -> None:
    """Add the tables, make the secret, and set both on guard."""
    for statement in (*_TABLES, _ROW, *_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Take the tables away. Reports stay as they are: each carries its own salts."""
    op.execute("DROP TABLE report_base")
    op.execute("DROP TABLE worker_seen")
