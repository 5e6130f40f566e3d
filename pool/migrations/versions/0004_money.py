"""What settlement, statements and the archive need; tables that grow with the work are cut by day.

Revision 0004. A slice is the work of one miner in one run from now on, and knows how much work stands before
it, so that a window of any length is found by a few look-ups. Batches, slices and rejects lie in partitions
by day, which are dropped when they are archived. Each account has its balance for each day, kept by trigger.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATES = "'found', 'submitted', 'confirmed', 'mature', 'orphaned'"

_CUT_BY_DAY = (
    "ALTER TABLE batch RENAME TO batch_whole",
    "ALTER TABLE batch_whole DROP CONSTRAINT batch_pkey, DROP CONSTRAINT batch_position_key, "
    "DROP CONSTRAINT batch_gateway_number_first_seq_key",
    "DROP INDEX batch_unordered_idx",
    """
    CREATE TABLE batch (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        received_on DATE DEFAULT timezone('UTC', now())::date NOT NULL,
        gateway_number SMALLINT NOT NULL,
        first_seq BIGINT NOT NULL,
        last_seq BIGINT NOT NULL,
        records INTEGER NOT NULL,
        payload BYTEA NOT NULL,
        received_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        position BIGINT,
        taken_us BIGINT,
        first_us BIGINT,
        last_us BIGINT,
        CONSTRAINT batch_pkey PRIMARY KEY (id, received_on),
        CONSTRAINT batch_gateway_number_first_seq_received_on_key
            UNIQUE (gateway_number, first_seq, received_on),
        CONSTRAINT batch_position_received_on_key UNIQUE (position, received_on),
        CONSTRAINT batch_seq_check CHECK (first_seq BETWEEN 1 AND last_seq),
        CONSTRAINT batch_taken_check CHECK ((position IS NULL) = (taken_us IS NULL)),
        CONSTRAINT batch_gateway_number_fkey FOREIGN KEY (gateway_number) REFERENCES gateway (number)
    ) PARTITION BY RANGE (received_on)
    """,
    "CREATE TABLE batch_default PARTITION OF batch DEFAULT",
    "CREATE INDEX batch_unordered_idx ON batch (id) WHERE position IS NULL",
    "CREATE INDEX batch_taken_us_idx ON batch (taken_us)",
    """
    INSERT INTO batch (id, received_on, gateway_number, first_seq, last_seq, records, payload, received_at,
            position, taken_us)
        OVERRIDING SYSTEM VALUE
        SELECT id, timezone('UTC', received_at)::date, gateway_number, first_seq, last_seq, records, payload,
            received_at, position,
            CASE WHEN position IS NOT NULL THEN
                max(floor(extract(epoch FROM received_at) * 1000000)::bigint)
                    OVER (PARTITION BY position IS NULL ORDER BY position)
            END
        FROM batch_whole
    """,
    "SELECT setval(pg_get_serial_sequence('batch', 'id'), coalesce(max(id), 0) + 1, false) FROM batch_whole",
    "DROP TABLE batch_whole",
    "ALTER TABLE slice RENAME TO slice_whole",
    "ALTER TABLE slice_whole DROP CONSTRAINT slice_pkey",
    "DROP INDEX slice_day_miner_id_idx",
    "DROP INDEX slice_first_us_last_us_idx",
    """
    CREATE TABLE slice (
        position BIGINT NOT NULL,
        taken_on DATE NOT NULL,
        batch_position BIGINT NOT NULL,
        miner_id INTEGER NOT NULL,
        day DATE NOT NULL,
        work NUMERIC(78, 0) NOT NULL,
        shares INTEGER NOT NULL,
        first_us BIGINT NOT NULL,
        last_us BIGINT NOT NULL,
        total NUMERIC(78, 0) NOT NULL,
        miner_total NUMERIC(78, 0) NOT NULL,
        CONSTRAINT slice_pkey PRIMARY KEY (position, taken_on),
        CONSTRAINT slice_position_check CHECK (position >= 1),
        CONSTRAINT slice_work_check CHECK (work >= 1),
        CONSTRAINT slice_shares_check CHECK (shares >= 1),
        CONSTRAINT slice_total_check CHECK (work <= miner_total AND miner_total <= total),
        CONSTRAINT slice_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    ) PARTITION BY RANGE (taken_on)
    """,
    "CREATE TABLE slice_default PARTITION OF slice DEFAULT",
    "CREATE INDEX slice_miner_id_position_idx ON slice (miner_id, position)",
    "CREATE INDEX slice_total_idx ON slice (total)",
    """
    INSERT INTO slice
        SELECT slice_whole.position, timezone('UTC', to_timestamp(batch.taken_us / 1000000))::date,
            batch_position, miner_id, day, work, shares, slice_whole.first_us, slice_whole.last_us,
            sum(work) OVER (ORDER BY slice_whole.position),
            sum(work) OVER (PARTITION BY miner_id ORDER BY slice_whole.position)
        FROM slice_whole JOIN batch ON batch.position = batch_position
    """,
    "DROP TABLE slice_whole",
    "ALTER TABLE reject RENAME TO reject_whole",
    "ALTER TABLE reject_whole DROP CONSTRAINT reject_pkey",
    "DROP INDEX reject_day_miner_id_idx",
    """
    CREATE TABLE reject (
        batch_position BIGINT NOT NULL,
        taken_on DATE NOT NULL,
        miner_id INTEGER NOT NULL,
        worker TEXT NOT NULL,
        day DATE NOT NULL,
        reason TEXT NOT NULL,
        count INTEGER NOT NULL,
        CONSTRAINT reject_pkey PRIMARY KEY (batch_position, miner_id, worker, day, reason, taken_on),
        CONSTRAINT reject_count_check CHECK (count >= 1),
        CONSTRAINT reject_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    ) PARTITION BY RANGE (taken_on)
    """,
    "CREATE TABLE reject_default PARTITION OF reject DEFAULT",
    """
    INSERT INTO reject
        SELECT batch_position, timezone('UTC', to_timestamp(batch.taken_us / 1000000))::date, miner_id,
            worker, day, reason, count
        FROM reject_whole JOIN batch ON batch.position = batch_position
    """,
    "DROP TABLE reject_whole",
)
_LEDGER = (
    """
    CREATE TABLE ledger_head (
        id SMALLINT NOT NULL,
        batch_position BIGINT NOT NULL,
        slice_position BIGINT NOT NULL,
        total NUMERIC(78, 0) NOT NULL,
        taken_us BIGINT NOT NULL,
        CONSTRAINT ledger_head_pkey PRIMARY KEY (id),
        CONSTRAINT ledger_head_one_check CHECK (id = 1)
    )
    """,
    """
    INSERT INTO ledger_head SELECT 1,
        coalesce((SELECT max(position) FROM batch), 0), coalesce((SELECT max(position) FROM slice), 0),
        coalesce((SELECT max(total) FROM slice), 0), coalesce((SELECT max(taken_us) FROM batch), 0)
    """,
    """
    CREATE TABLE miner_work (
        miner_id INTEGER NOT NULL,
        total NUMERIC(78, 0) NOT NULL,
        CONSTRAINT miner_work_pkey PRIMARY KEY (miner_id),
        CONSTRAINT miner_work_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "INSERT INTO miner_work SELECT miner_id, max(miner_total) FROM slice GROUP BY miner_id",
    """
    CREATE TABLE miner_day (
        miner_id INTEGER NOT NULL,
        day DATE NOT NULL,
        shares BIGINT NOT NULL,
        work NUMERIC(78, 0) NOT NULL,
        first_us BIGINT NOT NULL,
        last_us BIGINT NOT NULL,
        CONSTRAINT miner_day_pkey PRIMARY KEY (day, miner_id),
        CONSTRAINT miner_day_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "INSERT INTO miner_day SELECT miner_id, day, sum(shares), sum(work), min(first_us), max(last_us) "
    "FROM slice GROUP BY miner_id, day",
    """
    CREATE TABLE reject_day (
        miner_id INTEGER NOT NULL,
        day DATE NOT NULL,
        reason TEXT NOT NULL,
        count BIGINT NOT NULL,
        CONSTRAINT reject_day_pkey PRIMARY KEY (day, miner_id, reason),
        CONSTRAINT reject_day_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "INSERT INTO reject_day SELECT miner_id, day, reason, sum(count) FROM reject "
    "GROUP BY miner_id, day, reason",
    f"ALTER TABLE block DROP CONSTRAINT block_state_check, ADD CONSTRAINT block_state_check "
    f"CHECK (state IN ({_STATES})), "
    f"ADD COLUMN scheme TEXT DEFAULT 'pplns' NOT NULL, "
    f"ADD COLUMN transaction_fees TEXT DEFAULT 'shared' NOT NULL, "
    f"ADD CONSTRAINT block_scheme_check CHECK (scheme IN ('pplns', 'solo', 'fpps')), "
    f"ADD CONSTRAINT block_transaction_fees_check CHECK (transaction_fees IN ('shared', 'pool'))",
    f"ALTER TABLE block_event DROP CONSTRAINT block_event_state_check, "
    f"ADD CONSTRAINT block_event_state_check CHECK (state IN ({_STATES}))",
    "ALTER TABLE split ADD COLUMN commission_sat BIGINT",
    "ALTER TABLE split DISABLE TRIGGER split_append_only",
    # Largest remainder, as the amounts: whoever worked more bore more of the commission.
    """
    UPDATE split SET commission_sat = parts.base + CASE WHEN parts.rank <= parts.left_over THEN 1 ELSE 0 END
    FROM (
        SELECT based.*, whole - sum(base) OVER (PARTITION BY hash) AS left_over,
            row_number() OVER (PARTITION BY hash ORDER BY remainder DESC, miner_id) AS rank
        FROM (
            SELECT split.hash, split.miner_id, block.commission_sat AS whole,
                div(block.commission_sat * work, sum(work) OVER (PARTITION BY split.hash)) AS base,
                mod(block.commission_sat * work, sum(work) OVER (PARTITION BY split.hash)) AS remainder
            FROM split JOIN block USING (hash)
        ) AS based
    ) AS parts
    WHERE split.hash = parts.hash AND split.miner_id = parts.miner_id
    """,
    "ALTER TABLE split ENABLE TRIGGER split_append_only",
    "ALTER TABLE split ALTER COLUMN commission_sat SET NOT NULL, "
    "ADD CONSTRAINT split_commission_check CHECK (commission_sat >= 0)",
)
_SETTLEMENT = (
    """
    CREATE TABLE settler (
        id SMALLINT NOT NULL,
        token BIGINT NOT NULL,
        CONSTRAINT settler_pkey PRIMARY KEY (id),
        CONSTRAINT settler_one_check CHECK (id = 1)
    )
    """,
    "INSERT INTO settler VALUES (1, 0)",
    """
    CREATE TABLE payout_run (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        at_us BIGINT NOT NULL,
        day DATE NOT NULL,
        schedule TEXT,
        actor TEXT NOT NULL,
        reason TEXT NOT NULL,
        CONSTRAINT payout_run_pkey PRIMARY KEY (id),
        CONSTRAINT payout_run_schedule_key UNIQUE (schedule)
    )
    """,
    """
    CREATE TABLE payout (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        run_id BIGINT NOT NULL,
        number INTEGER NOT NULL,
        state TEXT NOT NULL,
        created_us BIGINT NOT NULL,
        amount_sat BIGINT NOT NULL,
        CONSTRAINT payout_pkey PRIMARY KEY (id),
        CONSTRAINT payout_run_id_number_key UNIQUE (run_id, number),
        CONSTRAINT payout_state_check CHECK
            (state IN ('reserved', 'signed', 'sent', 'confirmed', 'final', 'abandoned')),
        CONSTRAINT payout_amount_check CHECK (amount_sat >= 1),
        CONSTRAINT payout_run_id_fkey FOREIGN KEY (run_id) REFERENCES payout_run (id)
    )
    """,
    "CREATE INDEX payout_state_idx ON payout (state)",
    """
    CREATE TABLE payment (
        payout_id BIGINT NOT NULL,
        number INTEGER NOT NULL,
        miner_id INTEGER NOT NULL,
        purpose TEXT NOT NULL,
        address TEXT NOT NULL,
        script BYTEA NOT NULL,
        amount_sat BIGINT NOT NULL,
        commission_sat BIGINT NOT NULL,
        sale_share_bps INTEGER,
        exchange TEXT NOT NULL,
        licence TEXT NOT NULL,
        licence_status TEXT NOT NULL,
        CONSTRAINT payment_pkey PRIMARY KEY (payout_id, number),
        CONSTRAINT payment_purpose_check CHECK (purpose IN ('wallet', 'exchange_deposit')),
        CONSTRAINT payment_amount_check CHECK (amount_sat >= 1),
        CONSTRAINT payment_commission_check CHECK (commission_sat >= 0),
        CONSTRAINT payment_sale_share_check CHECK (sale_share_bps BETWEEN 0 AND 10000),
        CONSTRAINT payment_payout_id_fkey FOREIGN KEY (payout_id) REFERENCES payout (id),
        CONSTRAINT payment_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "CREATE INDEX payment_miner_id_idx ON payment (miner_id)",
    """
    CREATE TABLE payout_version (
        payout_id BIGINT NOT NULL,
        number INTEGER NOT NULL,
        purpose TEXT NOT NULL,
        created_us BIGINT NOT NULL,
        psbt TEXT NOT NULL,
        inputs TEXT[] NOT NULL,
        fee_sat BIGINT NOT NULL,
        fee_rate_sat_kvb BIGINT NOT NULL,
        exported_us BIGINT,
        signed_us BIGINT,
        txid TEXT,
        raw BYTEA,
        sent_us BIGINT,
        CONSTRAINT payout_version_pkey PRIMARY KEY (payout_id, number),
        CONSTRAINT payout_version_txid_key UNIQUE (txid),
        CONSTRAINT payout_version_purpose_check CHECK (purpose IN ('pay', 'cancel')),
        CONSTRAINT payout_version_fee_check CHECK (fee_sat >= 0),
        CONSTRAINT payout_version_signed_check CHECK (num_nulls(signed_us, txid, raw) IN (0, 3)),
        CONSTRAINT payout_version_sent_check CHECK (sent_us IS NULL OR txid IS NOT NULL),
        CONSTRAINT payout_version_payout_id_fkey FOREIGN KEY (payout_id) REFERENCES payout (id)
    )
    """,
    """
    CREATE TABLE payout_event (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        payout_id BIGINT NOT NULL,
        at_us BIGINT NOT NULL,
        state TEXT NOT NULL,
        version INTEGER,
        block_hash TEXT,
        block_height INTEGER,
        block_time_us BIGINT,
        actor TEXT NOT NULL,
        note TEXT NOT NULL,
        CONSTRAINT payout_event_pkey PRIMARY KEY (id),
        CONSTRAINT payout_event_block_check
            CHECK (num_nulls(block_hash, block_height, block_time_us) IN (0, 3)),
        CONSTRAINT payout_event_payout_id_fkey FOREIGN KEY (payout_id) REFERENCES payout (id)
    )
    """,
    "CREATE INDEX payout_event_payout_id_idx ON payout_event (payout_id)",
    "ALTER TABLE journal_entry ADD COLUMN payout_id BIGINT, "
    "ADD CONSTRAINT journal_entry_payout_id_fkey FOREIGN KEY (payout_id) REFERENCES payout (id), "
    "ADD CONSTRAINT journal_entry_payout_id_kind_round_key UNIQUE (payout_id, kind, round), "
    "DROP CONSTRAINT journal_entry_round_check, "
    "ADD CONSTRAINT journal_entry_round_check "
    "CHECK ((round IS NULL) = (num_nonnulls(block_hash, payout_id) = 0)), "
    "ADD CONSTRAINT journal_entry_one_source_check CHECK (num_nonnulls(block_hash, payout_id) <= 1)",
    """
    CREATE TABLE account_day (
        account TEXT NOT NULL,
        day DATE NOT NULL,
        opening BIGINT NOT NULL,
        debit BIGINT NOT NULL,
        credit BIGINT NOT NULL,
        closing BIGINT NOT NULL,
        CONSTRAINT account_day_pkey PRIMARY KEY (account, day),
        CONSTRAINT account_day_closing_check CHECK (opening + debit - credit = closing),
        CONSTRAINT account_day_sides_check CHECK (debit >= 0 AND credit >= 0),
        CONSTRAINT account_day_owed_check CHECK (account NOT LIKE 'miner:%' OR closing <= 0)
    )
    """,
    "CREATE INDEX account_day_day_idx ON account_day (day)",
    """
    INSERT INTO account_day
        SELECT account, day, sum(debit - credit) OVER before - (debit - credit), debit, credit,
            sum(debit - credit) OVER before
        FROM (
            SELECT account, day, coalesce(sum(amount) FILTER (WHERE amount > 0), 0) AS debit,
                coalesce(-sum(amount) FILTER (WHERE amount < 0), 0) AS credit
            FROM journal_posting JOIN journal_entry ON journal_entry.id = entry_id
            GROUP BY account, day
        ) AS moved
        WINDOW before AS (PARTITION BY account ORDER BY day)
    """,
    """
    CREATE TABLE archive_hour (
        hour_us BIGINT NOT NULL,
        first_batch BIGINT NOT NULL,
        last_batch BIGINT NOT NULL,
        first_slice BIGINT NOT NULL,
        total_before NUMERIC(78, 0) NOT NULL,
        rows BIGINT NOT NULL,
        bytes BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        manifest TEXT NOT NULL,
        manifest_sha256 TEXT NOT NULL,
        closed_us BIGINT NOT NULL,
        CONSTRAINT archive_hour_pkey PRIMARY KEY (hour_us),
        CONSTRAINT archive_hour_manifest_sha256_key UNIQUE (manifest_sha256)
    )
    """,
)
_FUNCTIONS = (
    """
    CREATE OR REPLACE FUNCTION split_is_reward() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        parts numeric;
        taken numeric;
        miners bigint;
        whole block;
    BEGIN
        SELECT coalesce(sum(amount_sat), 0), coalesce(sum(commission_sat), 0), count(*)
            INTO parts, taken, miners FROM split WHERE hash = NEW.hash;
        SELECT * INTO whole FROM block WHERE hash = NEW.hash;
        IF parts <> whole.reward_sat - whole.commission_sat THEN
            RAISE EXCEPTION 'split of block % refused: parts of % satoshis, reward less commission of %',
                NEW.hash, parts, whole.reward_sat - whole.commission_sat USING ERRCODE = 'check_violation';
        END IF;
        IF miners > 0 AND taken <> whole.commission_sat THEN
            RAISE EXCEPTION 'split of block % refused: commission of % satoshis, its parts are %',
                NEW.hash, whole.commission_sat, taken USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION account_moves() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        today date := (SELECT day FROM journal_entry WHERE id = NEW.entry_id);
        last account_day;
    BEGIN
        SELECT * INTO last FROM account_day WHERE account = NEW.account ORDER BY day DESC LIMIT 1;
        IF last.day > today THEN
            RAISE EXCEPTION 'posting of % to account % refused: the account has moved on % already',
                today, NEW.account, last.day USING ERRCODE = 'restrict_violation';
        END IF;
        INSERT INTO account_day VALUES (NEW.account, today, coalesce(last.closing, 0),
                greatest(NEW.amount, 0), greatest(-NEW.amount, 0), coalesce(last.closing, 0) + NEW.amount)
            ON CONFLICT (account, day) DO UPDATE SET
                debit = account_day.debit + excluded.debit,
                credit = account_day.credit + excluded.credit,
                closing = account_day.closing + NEW.amount;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION refuse_by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF pg_trigger_depth() < 2 THEN
            RAISE EXCEPTION '% of % refused: it follows from the journal, which alone may change it',
                TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION payout_only_changes_state() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        wanted payout := NEW;
    BEGIN
        wanted.state := OLD.state;
        IF wanted IS DISTINCT FROM OLD THEN
            RAISE EXCEPTION 'UPDATE of payout % refused: all but its state is frozen', OLD.id
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE FUNCTION payout_version_only_goes_on() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        wanted payout_version := NEW;
    BEGIN
        IF OLD.exported_us IS NULL THEN wanted.exported_us := NULL; END IF;
        IF OLD.sent_us IS NULL THEN wanted.sent_us := NULL; END IF;
        IF OLD.txid IS NULL THEN
            wanted.signed_us := NULL;
            wanted.txid := NULL;
            wanted.raw := NULL;
        END IF;
        IF wanted IS DISTINCT FROM OLD THEN
            RAISE EXCEPTION 'UPDATE of payout % version % refused: what is signed is signed', OLD.payout_id,
                OLD.number USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE FUNCTION payments_are_payout() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        payout_number bigint := CASE TG_TABLE_NAME WHEN 'payout' THEN to_jsonb(NEW) -> 'id'
                                                   ELSE to_jsonb(NEW) -> 'payout_id' END;
        parts numeric;
        whole numeric;
    BEGIN
        SELECT coalesce(sum(amount_sat), 0) INTO parts FROM payment WHERE payout_id = payout_number;
        SELECT amount_sat INTO whole FROM payout WHERE id = payout_number;
        IF parts <> whole THEN
            RAISE EXCEPTION 'payout % of % satoshis refused: its payments are %', payout_number, whole, parts
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
)
_TRIGGERS = (
    "CREATE TRIGGER journal_posting_account_moves AFTER INSERT ON journal_posting "
    "FOR EACH ROW EXECUTE FUNCTION account_moves()",
    "CREATE TRIGGER account_day_by_journal BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON account_day "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_by_hand()",
    "CREATE TRIGGER payout_frozen BEFORE UPDATE ON payout "
    "FOR EACH ROW EXECUTE FUNCTION payout_only_changes_state()",
    "CREATE TRIGGER payout_version_frozen BEFORE UPDATE ON payout_version "
    "FOR EACH ROW EXECUTE FUNCTION payout_version_only_goes_on()",
    *(
        f"CREATE CONSTRAINT TRIGGER {table}_payments_are_payout AFTER INSERT ON {table} "
        f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION payments_are_payout()"
        for table in ("payout", "payment")
    ),
    *(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in ("payout_run", "payment", "payout_event", "archive_hour")
    ),
    *(
        f"CREATE TRIGGER {table}_kept BEFORE DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in ("payout", "payout_version")
    ),
)


def upgrade() -> None:
    """Cut the growing tables by day, and add what is new."""
    for statement in (*_CUT_BY_DAY, *_LEDGER, *_SETTLEMENT, *_FUNCTIONS, *_TRIGGERS):
        op.execute(statement)


_BACK = (
    *(
        f"DROP TABLE {table} CASCADE"
        for table in ("archive_hour", "account_day", "payout_event", "payout_version", "payment")
    ),
    "ALTER TABLE journal_entry DROP CONSTRAINT journal_entry_one_source_check, "
    "DROP CONSTRAINT journal_entry_round_check, DROP COLUMN payout_id, "
    "ADD CONSTRAINT journal_entry_round_check CHECK ((block_hash IS NULL) = (round IS NULL))",
    *(
        f"DROP TABLE {table} CASCADE"
        for table in (
            "payout",
            "payout_run",
            "settler",
            "reject_day",
            "miner_day",
            "miner_work",
            "ledger_head",
        )
    ),
    "DROP TRIGGER journal_posting_account_moves ON journal_posting",
    *(
        f"DROP FUNCTION {function}()"
        for function in (
            "account_moves",
            "refuse_by_hand",
            "payout_only_changes_state",
            "payout_version_only_goes_on",
            "payments_are_payout",
        )
    ),
    """
    CREATE OR REPLACE FUNCTION split_is_reward() RETURNS trigger LANGUAGE plpgsql AS $$
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
    "ALTER TABLE split DROP COLUMN commission_sat",
    "ALTER TABLE block_event DROP CONSTRAINT block_event_state_check, ADD CONSTRAINT block_event_state_check "
    "CHECK (state IN ('found', 'confirmed', 'mature', 'orphaned'))",
    "ALTER TABLE block DROP COLUMN scheme, DROP COLUMN transaction_fees, DROP CONSTRAINT block_state_check, "
    "ADD CONSTRAINT block_state_check CHECK (state IN ('found', 'confirmed', 'mature', 'orphaned'))",
    "ALTER TABLE batch RENAME TO batch_cut",
    """
    CREATE TABLE batch (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        gateway_number SMALLINT NOT NULL,
        first_seq BIGINT NOT NULL,
        last_seq BIGINT NOT NULL,
        records INTEGER NOT NULL,
        payload BYTEA NOT NULL,
        received_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        position BIGINT
    )
    """,
    "INSERT INTO batch OVERRIDING SYSTEM VALUE SELECT id, gateway_number, first_seq, last_seq, records, "
    "payload, received_at, position FROM batch_cut",
    "SELECT setval(pg_get_serial_sequence('batch', 'id'), coalesce(max(id), 0) + 1, false) FROM batch_cut",
    "DROP TABLE batch_cut",
    """
    ALTER TABLE batch ADD CONSTRAINT batch_pkey PRIMARY KEY (id),
        ADD CONSTRAINT batch_gateway_number_first_seq_key UNIQUE (gateway_number, first_seq),
        ADD CONSTRAINT batch_position_key UNIQUE (position),
        ADD CONSTRAINT batch_seq_check CHECK (first_seq BETWEEN 1 AND last_seq),
        ADD CONSTRAINT batch_gateway_number_fkey FOREIGN KEY (gateway_number) REFERENCES gateway (number)
    """,
    "CREATE INDEX batch_unordered_idx ON batch (id) WHERE position IS NULL",
    "ALTER TABLE slice RENAME TO slice_cut",
    """
    CREATE TABLE slice AS SELECT position, batch_position, miner_id, '' AS worker, day, work, shares,
        first_us, last_us FROM slice_cut
    """,
    "DROP TABLE slice_cut",
    """
    ALTER TABLE slice ADD CONSTRAINT slice_pkey PRIMARY KEY (position),
        ALTER batch_position SET NOT NULL, ALTER miner_id SET NOT NULL, ALTER worker SET NOT NULL,
        ALTER day SET NOT NULL, ALTER work SET NOT NULL, ALTER shares SET NOT NULL,
        ALTER first_us SET NOT NULL, ALTER last_us SET NOT NULL,
        ADD CONSTRAINT slice_position_check CHECK (position >= 1),
        ADD CONSTRAINT slice_work_check CHECK (work >= 1),
        ADD CONSTRAINT slice_shares_check CHECK (shares >= 1),
        ADD CONSTRAINT slice_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    """,
    "CREATE INDEX slice_day_miner_id_idx ON slice (day, miner_id)",
    "CREATE INDEX slice_first_us_last_us_idx ON slice USING brin (first_us, last_us)",
    "ALTER TABLE reject RENAME TO reject_cut",
    "CREATE TABLE reject AS SELECT batch_position, miner_id, worker, day, reason, count FROM reject_cut",
    "DROP TABLE reject_cut",
    """
    ALTER TABLE reject ADD CONSTRAINT reject_pkey PRIMARY KEY (batch_position, miner_id, worker, day, reason),
        ALTER count SET NOT NULL,
        ADD CONSTRAINT reject_count_check CHECK (count >= 1),
        ADD CONSTRAINT reject_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    """,
    "CREATE INDEX reject_day_miner_id_idx ON reject (day, miner_id)",
)


def downgrade() -> None:
    """Back to whole tables; raises RuntimeError where the journal has what these could not say."""
    used = "SELECT EXISTS (SELECT FROM payout) OR EXISTS (SELECT FROM block_event WHERE state = 'submitted')"
    if op.get_bind().exec_driver_sql(used).scalar():
        raise RuntimeError("there are payouts or submitted blocks: restore a backup instead of going back")
    for statement in _BACK:
        op.execute(statement)
