"""What people are told of by themselves: notices, their deliveries, and how far each source was read.

Revision 0012. A notice never changes and is there once, by its key. A delivery is of one notice to one
channel; it stays, and one that was sent stays sent. A place in a source never goes back.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE notice (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        at_us BIGINT NOT NULL,
        made_us BIGINT NOT NULL,
        kind TEXT NOT NULL,
        event TEXT NOT NULL,
        severity TEXT NOT NULL,
        audience TEXT NOT NULL,
        key TEXT NOT NULL,
        subject TEXT NOT NULL,
        text TEXT NOT NULL,
        miner_id INTEGER,
        data JSONB NOT NULL,
        CONSTRAINT notice_pkey PRIMARY KEY (id),
        CONSTRAINT notice_key_key UNIQUE (key),
        CONSTRAINT notice_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id),
        CONSTRAINT notice_kind_check CHECK (kind IN ('block', 'payout', 'alarm', 'licence', 'report')),
        CONSTRAINT notice_severity_check CHECK (severity IN ('info', 'warning', 'critical')),
        CONSTRAINT notice_audience_check CHECK (audience IN ('operator', 'miner', 'both')),
        CONSTRAINT notice_miner_check CHECK (audience = 'operator' OR miner_id IS NOT NULL),
        CONSTRAINT notice_size_check CHECK (octet_length(key) <= 512 AND octet_length(text) <= 8192)
    )
    """,
    "CREATE INDEX notice_miner_id_id_idx ON notice (miner_id, id) WHERE audience <> 'operator'",
    """
    CREATE TABLE notice_delivery (
        notice_id BIGINT NOT NULL,
        channel TEXT NOT NULL,
        created_us BIGINT NOT NULL,
        state TEXT DEFAULT 'waiting' NOT NULL,
        attempts INTEGER DEFAULT 0 NOT NULL,
        tried_us BIGINT,
        error TEXT DEFAULT '' NOT NULL,
        CONSTRAINT notice_delivery_pkey PRIMARY KEY (notice_id, channel),
        CONSTRAINT notice_delivery_notice_id_fkey FOREIGN KEY (notice_id) REFERENCES notice (id),
        CONSTRAINT notice_delivery_state_check CHECK (state IN ('waiting', 'sent', 'given_up')),
        CONSTRAINT notice_delivery_attempts_check CHECK (attempts >= 0)
    )
    """,
    "CREATE INDEX notice_delivery_waiting_idx ON notice_delivery (channel, notice_id) "
    "WHERE state = 'waiting'",
    """
    CREATE TABLE notice_place (
        source TEXT NOT NULL,
        reached BIGINT NOT NULL,
        CONSTRAINT notice_place_pkey PRIMARY KEY (source)
    )
    """,
)
_FUNCTIONS = (
    """
    CREATE FUNCTION notice_delivery_kept() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.state = 'sent' OR (NEW.notice_id, NEW.channel) <> (OLD.notice_id, OLD.channel) THEN
            RAISE EXCEPTION 'UPDATE of the delivery of notice % to % refused: what was sent stays sent',
                OLD.notice_id, OLD.channel USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE FUNCTION notice_place_advances() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.reached < OLD.reached THEN
            RAISE EXCEPTION 'notice source % refused to go back from % to %', OLD.source, OLD.reached,
                NEW.reached USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
)
_TRIGGERS = (
    "CREATE TRIGGER notice_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON notice "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER notice_delivery_kept BEFORE UPDATE ON notice_delivery "
    "FOR EACH ROW EXECUTE FUNCTION notice_delivery_kept()",
    "CREATE TRIGGER notice_delivery_stays BEFORE DELETE OR TRUNCATE ON notice_delivery "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER notice_place_advances BEFORE UPDATE ON notice_place "
    "FOR EACH ROW EXECUTE FUNCTION notice_place_advances()",
)


def upgrade() -> None:
    """Add the tables and set them on guard."""
    for statement in (*_TABLES, *_FUNCTIONS, *_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Take the tables away: all but alarms can be derived anew, and nothing of money or law is in them."""
    for table in ("notice_delivery", "notice_place", "notice"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION notice_delivery_kept()")
    op.execute("DROP FUNCTION notice_place_advances()")
