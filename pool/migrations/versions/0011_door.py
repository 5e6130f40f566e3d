"""The regulator's door: the chain of access events (regulation.md 2.3), and the portal's sessions.

Revision 0011. The chain only grows, numbered without a gap, each event after the one that it names. Sessions
are forgotten when they end.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE regulator_access_event (
        seq BIGINT NOT NULL,
        at_us BIGINT NOT NULL,
        actor TEXT NOT NULL,
        role TEXT NOT NULL,
        reason TEXT NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        action TEXT NOT NULL,
        body TEXT NOT NULL,
        previous TEXT,
        sha256 TEXT NOT NULL,
        CONSTRAINT regulator_access_event_pkey PRIMARY KEY (seq),
        CONSTRAINT regulator_access_event_at_us_key UNIQUE (at_us),
        CONSTRAINT regulator_access_event_sha256_key UNIQUE (sha256),
        CONSTRAINT regulator_access_event_previous_key UNIQUE (previous),
        CONSTRAINT regulator_access_event_previous_fkey
            FOREIGN KEY (previous) REFERENCES regulator_access_event (sha256),
        CONSTRAINT regulator_access_event_chain_check CHECK ((seq = 1) = (previous IS NULL)),
        CONSTRAINT regulator_access_event_kind_check
            CHECK (kind IN ('regulator', 'token', 'access', 'refusal')),
        CONSTRAINT regulator_access_event_body_check CHECK (octet_length(body) <= 4096)
    )
    """,
    "CREATE INDEX regulator_access_event_change_idx ON regulator_access_event (seq) "
    "WHERE kind IN ('regulator', 'token')",
    "CREATE INDEX regulator_access_event_actor_idx ON regulator_access_event (actor, seq)",
    """
    CREATE TABLE regulator_session (
        session_sha256 TEXT NOT NULL,
        token_sha256 TEXT NOT NULL,
        started_us BIGINT NOT NULL,
        ends_us BIGINT NOT NULL,
        CONSTRAINT regulator_session_pkey PRIMARY KEY (session_sha256),
        CONSTRAINT regulator_session_ends_check CHECK (started_us < ends_us)
    )
    """,
    "CREATE INDEX regulator_session_token_sha256_idx ON regulator_session (token_sha256)",
)
_FUNCTION = """
    CREATE FUNCTION regulator_access_event_follows() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        before regulator_access_event;
    BEGIN
        IF NEW.seq > 1 THEN
            SELECT * INTO before FROM regulator_access_event WHERE sha256 = NEW.previous;
            IF before.seq IS DISTINCT FROM NEW.seq - 1 OR before.at_us >= NEW.at_us THEN
                RAISE EXCEPTION 'access event % refused: it does not follow the one that it names', NEW.seq
                    USING ERRCODE = 'check_violation';
            END IF;
        END IF;
        RETURN NULL;
    END $$
    """
_TRIGGERS = (
    "CREATE TRIGGER regulator_access_event_follows AFTER INSERT ON regulator_access_event "
    "FOR EACH ROW EXECUTE FUNCTION regulator_access_event_follows()",
    "CREATE TRIGGER regulator_access_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
    "ON regulator_access_event FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
)


def upgrade() -> None:
    """Add the tables and set the chain on guard."""
    for statement in (*_TABLES, _FUNCTION, *_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Take the tables away; raises RuntimeError where the chain has begun: nothing else knows it."""
    if op.get_bind().exec_driver_sql("SELECT EXISTS (SELECT FROM regulator_access_event)").scalar():
        raise RuntimeError("regulators were here: restore a backup instead of going back")
    op.execute("DROP TABLE regulator_session")
    op.execute("DROP TABLE regulator_access_event")
    op.execute("DROP FUNCTION regulator_access_event_follows()")
