"""Triggers that refuse what must never be written, whoever writes it.

Revision 0002. Invariant 2: the parts of a split and the commission are the reward. Invariant 3: every entry
of the journal balances, and the journal only grows. Invariant 4: a block's window and split are frozen when
it is found. Invariant 7: a report never changes. Sums are checked at commit, when the rows are together.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_APPEND_ONLY = ("journal_entry", "journal_posting", "block_event", "split", "report")
_FUNCTIONS = (
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% of % refused: it is append-only; correct it by a new row', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END $$
    """,
    """
    CREATE FUNCTION block_only_changes_state() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        wanted block := NEW;
    BEGIN
        wanted.state := OLD.state;
        IF wanted IS DISTINCT FROM OLD THEN
            RAISE EXCEPTION 'UPDATE of block % refused: all but its state is frozen', OLD.hash
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE FUNCTION entry_balances() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        entry bigint := CASE TG_TABLE_NAME WHEN 'journal_entry' THEN to_jsonb(NEW) -> 'id'
                                           ELSE to_jsonb(NEW) -> 'entry_id' END;
        postings bigint;
        difference numeric;
    BEGIN
        SELECT count(*), coalesce(sum(amount), 0) INTO postings, difference
            FROM journal_posting WHERE entry_id = entry;
        IF postings < 2 OR difference <> 0 THEN
            RAISE EXCEPTION 'entry % refused: its % postings sum to % satoshis; two or more must sum to 0',
                entry, postings, difference USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION split_is_reward() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        parts numeric;
        whole numeric;
    BEGIN
        SELECT coalesce(sum(amount_sat), 0) INTO parts FROM split WHERE hash = NEW.hash;
        SELECT reward_sat - commission_sat INTO whole FROM block WHERE hash = NEW.hash;
        IF parts <> whole THEN
            RAISE EXCEPTION 'split of block % refused: parts of % satoshis, reward less commission of %',
                NEW.hash, parts, whole USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
)


def upgrade() -> None:
    """Create the functions and set them on guard."""
    for function in _FUNCTIONS:
        op.execute(function)
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(
        "CREATE TRIGGER block_frozen BEFORE UPDATE ON block "
        "FOR EACH ROW EXECUTE FUNCTION block_only_changes_state()"
    )
    op.execute(
        "CREATE TRIGGER block_kept BEFORE DELETE OR TRUNCATE ON block "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    for table, function in (
        ("journal_entry", "entry_balances"),
        ("journal_posting", "entry_balances"),
        ("block", "split_is_reward"),
        ("split", "split_is_reward"),
    ):
        op.execute(
            f"CREATE CONSTRAINT TRIGGER {table}_{function} AFTER INSERT ON {table} "
            f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {function}()"
        )


def downgrade() -> None:
    """Take the guards away, and their triggers with them."""
    for function in ("refuse_change", "block_only_changes_state", "entry_balances", "split_is_reward"):
        op.execute(f"DROP FUNCTION {function}() CASCADE")
