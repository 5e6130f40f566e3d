"""What FPPS keeps: the price of each day's work, and what was credited at it.

Revision 0005. Both tables only grow. The database checks by itself that a price is what its blocks paid over
their work, that a credit with what was carried before is worth what it says, to the last part of a satoshi
(invariant 2), that no work is credited twice or was never done, and that the journal has just that amount.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_UNIT = 1 << 128
_PARTS = 10_000 * _UNIT

_TABLES = (
    f"""
    CREATE TABLE fpps_rate (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        day DATE NOT NULL,
        first_height INTEGER NOT NULL,
        last_height INTEGER NOT NULL,
        blocks INTEGER NOT NULL,
        reward_sat BIGINT NOT NULL,
        fees_sat BIGINT NOT NULL,
        network_work NUMERIC(78, 0) NOT NULL,
        transaction_fees TEXT NOT NULL,
        price NUMERIC(78, 0) NOT NULL,
        commission_bps INTEGER NOT NULL,
        CONSTRAINT fpps_rate_pkey PRIMARY KEY (id),
        CONSTRAINT fpps_rate_day_key UNIQUE (day),
        CONSTRAINT fpps_rate_heights_check CHECK (first_height BETWEEN 0 AND last_height),
        CONSTRAINT fpps_rate_blocks_check CHECK (blocks BETWEEN 1 AND last_height - first_height + 1),
        CONSTRAINT fpps_rate_fees_check CHECK (fees_sat BETWEEN 0 AND reward_sat),
        CONSTRAINT fpps_rate_network_work_check CHECK (network_work >= 1),
        CONSTRAINT fpps_rate_transaction_fees_check CHECK (transaction_fees IN ('shared', 'pool')),
        CONSTRAINT fpps_rate_commission_check CHECK (commission_bps BETWEEN 0 AND 10000),
        CONSTRAINT fpps_rate_price_check CHECK (price = div(
            (reward_sat - CASE transaction_fees WHEN 'pool' THEN fees_sat ELSE 0 END) * {_UNIT}::numeric,
            network_work))
    )
    """,
    f"""
    CREATE TABLE fpps_credit (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        at_us BIGINT NOT NULL,
        entry_id BIGINT,
        day DATE NOT NULL,
        miner_id INTEGER NOT NULL,
        work NUMERIC(78, 0) NOT NULL,
        amount_sat BIGINT NOT NULL,
        commission_sat BIGINT NOT NULL,
        miner_left NUMERIC(78, 0) NOT NULL,
        commission_left NUMERIC(78, 0) NOT NULL,
        CONSTRAINT fpps_credit_pkey PRIMARY KEY (id),
        CONSTRAINT fpps_credit_day_miner_id_at_us_key UNIQUE (day, miner_id, at_us),
        CONSTRAINT fpps_credit_work_check CHECK (work >= 1),
        CONSTRAINT fpps_credit_amount_check CHECK (amount_sat >= 0 AND commission_sat >= 0),
        CONSTRAINT fpps_credit_left_check CHECK (
            miner_left >= 0 AND miner_left < {_PARTS}::numeric
            AND commission_left >= 0 AND commission_left < {_PARTS}::numeric),
        CONSTRAINT fpps_credit_entry_id_fkey FOREIGN KEY (entry_id) REFERENCES journal_entry (id),
        CONSTRAINT fpps_credit_day_fkey FOREIGN KEY (day) REFERENCES fpps_rate (day),
        CONSTRAINT fpps_credit_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "CREATE INDEX fpps_credit_miner_id_id_idx ON fpps_credit (miner_id, id)",
)
_FUNCTION = """
    CREATE FUNCTION fpps_credit_is_worth() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        rate fpps_rate;
        before fpps_credit;
        credited numeric;
        worked numeric;
        booked numeric;
    BEGIN
        SELECT * INTO rate FROM fpps_rate WHERE day = NEW.day;
        SELECT * INTO before FROM fpps_credit WHERE miner_id = NEW.miner_id AND id < NEW.id
            ORDER BY id DESC LIMIT 1;
        IF coalesce(before.miner_left, 0) + rate.price * NEW.work * (10000 - rate.commission_bps)
                <> NEW.amount_sat * PARTS::numeric + NEW.miner_left
            OR coalesce(before.commission_left, 0) + rate.price * NEW.work * rate.commission_bps
                <> NEW.commission_sat * PARTS::numeric + NEW.commission_left THEN
            RAISE EXCEPTION 'credit of miner % for % refused: % hashes are not worth % satoshis and % of '
                'commission', NEW.miner_id, NEW.day, NEW.work, NEW.amount_sat, NEW.commission_sat
                USING ERRCODE = 'check_violation';
        END IF;
        SELECT sum(work) INTO credited FROM fpps_credit WHERE day = NEW.day AND miner_id = NEW.miner_id;
        SELECT work INTO worked FROM miner_day WHERE day = NEW.day AND miner_id = NEW.miner_id;
        IF credited > coalesce(worked, 0) THEN
            RAISE EXCEPTION 'credit of miner % for % refused: % hashes would be credited, it worked %',
                NEW.miner_id, NEW.day, credited, coalesce(worked, 0) USING ERRCODE = 'check_violation';
        END IF;
        SELECT -amount INTO booked FROM journal_posting
            WHERE entry_id = NEW.entry_id AND account = 'miner:' || NEW.miner_id || '\\:payable';
        IF coalesce(booked, 0) <> NEW.amount_sat THEN
            RAISE EXCEPTION 'credit of miner % for % refused: % satoshis, the journal has %', NEW.miner_id,
                NEW.day, NEW.amount_sat, coalesce(booked, 0) USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """.replace("PARTS", str(_PARTS))
_TRIGGERS = (
    "CREATE TRIGGER fpps_credit_is_worth AFTER INSERT ON fpps_credit "
    "FOR EACH ROW EXECUTE FUNCTION fpps_credit_is_worth()",
    *(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in ("fpps_rate", "fpps_credit")
    ),
)


def upgrade() -> None:
    """Add the tables and set them on guard."""
    for statement in (*_TABLES, _FUNCTION, *_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Take the tables away; raises RuntimeError where the journal has credits that they alone explain."""
    if op.get_bind().exec_driver_sql("SELECT EXISTS (SELECT FROM fpps_credit)").scalar():
        raise RuntimeError("there are credits of FPPS: restore a backup instead of going back")
    op.execute("DROP TABLE fpps_credit")
    op.execute("DROP TABLE fpps_rate")
    op.execute("DROP FUNCTION fpps_credit_is_worth()")
