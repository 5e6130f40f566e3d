"""The transparency log: leaves, signed checkpoints, cosignatures of witnesses.

Revision 0006. All three only grow (invariant 7). Leaves are numbered without a gap, and each has the hash of
its data (RFC 9162 2.1.1); a checkpoint is larger than all before it and never larger than the log.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = (
    r"""
    CREATE TABLE log_leaf (
        index BIGINT NOT NULL,
        previous BIGINT,
        kind TEXT NOT NULL,
        at_us BIGINT NOT NULL,
        data BYTEA NOT NULL,
        hash BYTEA NOT NULL,
        CONSTRAINT log_leaf_pkey PRIMARY KEY (index),
        CONSTRAINT log_leaf_previous_fkey FOREIGN KEY (previous) REFERENCES log_leaf (index),
        CONSTRAINT log_leaf_chain_check CHECK ((index = 0) = (previous IS NULL)),
        CONSTRAINT log_leaf_gap_check CHECK (previous = index - 1),
        CONSTRAINT log_leaf_data_check CHECK (octet_length(data) <= 65535),
        CONSTRAINT log_leaf_hash_check CHECK (hash = sha256('\x00'::bytea || data))
    )
    """,
    "CREATE INDEX log_leaf_kind_index_idx ON log_leaf (kind, index)",
    """
    CREATE TABLE log_checkpoint (
        size BIGINT NOT NULL,
        root BYTEA NOT NULL,
        note BYTEA NOT NULL,
        signed_us BIGINT NOT NULL,
        CONSTRAINT log_checkpoint_pkey PRIMARY KEY (size),
        CONSTRAINT log_checkpoint_size_check CHECK (size >= 1),
        CONSTRAINT log_checkpoint_root_check CHECK (octet_length(root) = 32)
    )
    """,
    """
    CREATE TABLE log_cosignature (
        size BIGINT NOT NULL,
        name TEXT NOT NULL,
        key_id TEXT NOT NULL,
        cosigned_s BIGINT NOT NULL,
        line TEXT NOT NULL,
        received_us BIGINT NOT NULL,
        CONSTRAINT log_cosignature_pkey PRIMARY KEY (size, name, key_id),
        CONSTRAINT log_cosignature_size_fkey FOREIGN KEY (size) REFERENCES log_checkpoint (size),
        CONSTRAINT log_cosignature_cosigned_check CHECK (cosigned_s >= 0)
    )
    """,
)
_FUNCTION = """
    CREATE FUNCTION log_checkpoint_grows() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        signed bigint;
        leaves bigint;
    BEGIN
        SELECT max(size) INTO signed FROM log_checkpoint WHERE size <> NEW.size;
        SELECT coalesce(max(index) + 1, 0) INTO leaves FROM log_leaf;
        IF NEW.size <= signed OR NEW.size > leaves THEN
            RAISE EXCEPTION 'checkpoint of size % refused: the last that was signed has %, the log has % '
                'leaves', NEW.size, coalesce(signed, 0), leaves USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """
_TRIGGERS = (
    "CREATE TRIGGER log_checkpoint_grows AFTER INSERT ON log_checkpoint "
    "FOR EACH ROW EXECUTE FUNCTION log_checkpoint_grows()",
    *(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in ("log_leaf", "log_checkpoint", "log_cosignature")
    ),
)


def upgrade() -> None:
    """Add the tables and set them on guard."""
    for statement in (*_TABLES, _FUNCTION, *_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Take the tables away; raises RuntimeError where the log has leaves: others may hold its checkpoints."""
    if op.get_bind().exec_driver_sql("SELECT EXISTS (SELECT FROM log_leaf)").scalar():
        raise RuntimeError("the log has leaves: restore a backup instead of going back")
    op.execute("DROP TABLE log_cosignature")
    op.execute("DROP TABLE log_checkpoint")
    op.execute("DROP TABLE log_leaf")
    op.execute("DROP FUNCTION log_checkpoint_grows()")
