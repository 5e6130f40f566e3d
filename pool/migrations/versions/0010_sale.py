"""What miners and exchanges say was sold (O-52).

Revision 0010. The table only grows: a sale is put right or taken back by a row that names the one it
replaces. No two sales that stand are one trade of one exchange.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TABLE = (
    """
    CREATE TABLE sale_confirmation (
        seq BIGINT NOT NULL,
        at_us BIGINT NOT NULL,
        actor TEXT NOT NULL,
        role TEXT NOT NULL,
        reason TEXT NOT NULL,
        action TEXT NOT NULL,
        replaces BIGINT,
        miner_id INTEGER NOT NULL,
        told_by TEXT NOT NULL,
        exchange TEXT NOT NULL,
        exchange_key TEXT NOT NULL,
        licensor TEXT NOT NULL,
        licence TEXT NOT NULL,
        reference TEXT NOT NULL,
        sold_on DATE NOT NULL,
        quantity_sat BIGINT NOT NULL,
        currency TEXT NOT NULL,
        amount TEXT NOT NULL,
        CONSTRAINT sale_confirmation_pkey PRIMARY KEY (seq),
        CONSTRAINT sale_confirmation_replaces_key UNIQUE (replaces),
        CONSTRAINT sale_confirmation_seq_check CHECK (seq >= 1),
        CONSTRAINT sale_confirmation_action_check CHECK (action IN ('entered', 'corrected', 'withdrawn')),
        CONSTRAINT sale_confirmation_replaces_check CHECK ((action = 'entered') = (replaces IS NULL)),
        CONSTRAINT sale_confirmation_order_check CHECK (replaces < seq),
        CONSTRAINT sale_confirmation_told_by_check CHECK (told_by IN ('miner', 'exchange')),
        CONSTRAINT sale_confirmation_licence_check CHECK ((licensor = '') = (licence = '')),
        CONSTRAINT sale_confirmation_quantity_check CHECK (quantity_sat >= 1),
        CONSTRAINT sale_confirmation_replaces_fkey FOREIGN KEY (replaces) REFERENCES sale_confirmation (seq),
        CONSTRAINT sale_confirmation_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "CREATE INDEX sale_confirmation_miner_id_sold_on_idx ON sale_confirmation (miner_id, sold_on)",
    "CREATE INDEX sale_confirmation_reference_idx ON sale_confirmation (reference)",
    "CREATE INDEX sale_confirmation_at_us_idx ON sale_confirmation (at_us)",
)
_FUNCTION = """
    CREATE FUNCTION sale_confirmation_fits() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        before sale_confirmation;
        same bigint;
    BEGIN
        IF NEW.replaces IS NOT NULL THEN
            SELECT * INTO before FROM sale_confirmation WHERE seq = NEW.replaces;
            IF before.action = 'withdrawn' OR before.miner_id <> NEW.miner_id THEN
                RAISE EXCEPTION 'sale % refused: % was withdrawn, or is of another miner',
                    NEW.seq, NEW.replaces USING ERRCODE = 'check_violation';
            END IF;
        END IF;
        IF NEW.action <> 'withdrawn' THEN
            SELECT min(one.seq) INTO same FROM sale_confirmation AS one
                WHERE one.reference = NEW.reference AND one.exchange_key = NEW.exchange_key
                    AND one.seq <> NEW.seq AND one.action <> 'withdrawn'
                    AND NOT EXISTS (SELECT FROM sale_confirmation AS later WHERE later.replaces = one.seq);
            IF same IS NOT NULL THEN
                RAISE EXCEPTION 'sale % refused: trade % of % stands already as %', NEW.seq, NEW.reference,
                    NEW.exchange, same USING ERRCODE = 'unique_violation';
            END IF;
        END IF;
        RETURN NULL;
    END $$
    """
_TRIGGERS = (
    "CREATE TRIGGER sale_confirmation_fits AFTER INSERT ON sale_confirmation "
    "FOR EACH ROW EXECUTE FUNCTION sale_confirmation_fits()",
    "CREATE TRIGGER sale_confirmation_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sale_confirmation "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
)


def upgrade() -> None:
    """Add the table and set it on guard."""
    for statement in (*_TABLE, _FUNCTION, *_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Take the table away; raises RuntimeError where somebody said something: nothing else knows it."""
    if op.get_bind().exec_driver_sql("SELECT EXISTS (SELECT FROM sale_confirmation)").scalar():
        raise RuntimeError("sales were confirmed: restore a backup instead of going back")
    op.execute("DROP TABLE sale_confirmation")
    op.execute("DROP FUNCTION sale_confirmation_fits()")
