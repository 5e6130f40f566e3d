"""The tables of the register, the gateways, the ledger, the journal and the reports.

Revision 0001. What each column means is told in `pool.tables`.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    "miner",
    "licence",
    "payout_address",
    "gateway",
    "batch",
    "slice",
    "reject",
    "block",
    "block_event",
    "split",
    "journal_entry",
    "journal_posting",
    "report",
)
_STATEMENTS = (
    """
    CREATE TABLE miner (
        id INTEGER GENERATED ALWAYS AS IDENTITY,
        name TEXT NOT NULL,
        title TEXT NOT NULL,
        bin TEXT NOT NULL,
        kind TEXT NOT NULL,
        created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        CONSTRAINT miner_pkey PRIMARY KEY (id),
        CONSTRAINT miner_bin_check CHECK (bin ~ '^[0-9]{12}$'),
        CONSTRAINT miner_name_key UNIQUE (name)
    )
    """,
    """
    CREATE TABLE licence (
        id INTEGER GENERATED ALWAYS AS IDENTITY,
        miner_id INTEGER NOT NULL,
        number TEXT NOT NULL,
        subtype SMALLINT NOT NULL,
        valid_from DATE NOT NULL,
        valid_to DATE NOT NULL,
        entered_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        CONSTRAINT licence_pkey PRIMARY KEY (id),
        CONSTRAINT licence_subtype_check CHECK (subtype IN (1, 2)),
        CONSTRAINT licence_valid_check CHECK (valid_from <= valid_to),
        CONSTRAINT licence_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "CREATE INDEX licence_miner_id_id_idx ON licence (miner_id, id)",
    """
    CREATE TABLE payout_address (
        id INTEGER GENERATED ALWAYS AS IDENTITY,
        miner_id INTEGER NOT NULL,
        address TEXT NOT NULL,
        entered_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        CONSTRAINT payout_address_pkey PRIMARY KEY (id),
        CONSTRAINT payout_address_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "CREATE INDEX payout_address_miner_id_id_idx ON payout_address (miner_id, id)",
    """
    CREATE TABLE gateway (
        number SMALLINT NOT NULL,
        identity UUID NOT NULL,
        name TEXT NOT NULL,
        last_seq BIGINT DEFAULT 0 NOT NULL,
        seen_at TIMESTAMPTZ,
        connections INTEGER,
        job_height INTEGER,
        job_at TIMESTAMPTZ,
        shares_accepted BIGINT DEFAULT 0 NOT NULL,
        shares_rejected BIGINT DEFAULT 0 NOT NULL,
        CONSTRAINT gateway_pkey PRIMARY KEY (number),
        CONSTRAINT gateway_number_check CHECK (number BETWEEN 1 AND 4095),
        CONSTRAINT gateway_identity_key UNIQUE (identity)
    )
    """,
    """
    CREATE TABLE batch (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        gateway_number SMALLINT NOT NULL,
        first_seq BIGINT NOT NULL,
        last_seq BIGINT NOT NULL,
        records INTEGER NOT NULL,
        payload BYTEA NOT NULL,
        received_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        position BIGINT,
        CONSTRAINT batch_pkey PRIMARY KEY (id),
        CONSTRAINT batch_gateway_number_first_seq_key UNIQUE (gateway_number, first_seq),
        CONSTRAINT batch_seq_check CHECK (first_seq BETWEEN 1 AND last_seq),
        CONSTRAINT batch_gateway_number_fkey FOREIGN KEY (gateway_number) REFERENCES gateway (number),
        CONSTRAINT batch_position_key UNIQUE (position)
    )
    """,
    "CREATE INDEX batch_unordered_idx ON batch (id) WHERE position IS NULL",
    """
    CREATE TABLE slice (
        position BIGINT NOT NULL,
        batch_position BIGINT NOT NULL,
        miner_id INTEGER NOT NULL,
        worker TEXT NOT NULL,
        day DATE NOT NULL,
        work NUMERIC(78, 0) NOT NULL,
        shares INTEGER NOT NULL,
        first_us BIGINT NOT NULL,
        last_us BIGINT NOT NULL,
        CONSTRAINT slice_pkey PRIMARY KEY (position),
        CONSTRAINT slice_position_check CHECK (position >= 1),
        CONSTRAINT slice_work_check CHECK (work >= 1),
        CONSTRAINT slice_shares_check CHECK (shares >= 1),
        CONSTRAINT slice_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "CREATE INDEX slice_day_miner_id_idx ON slice (day, miner_id)",
    """
    CREATE TABLE reject (
        batch_position BIGINT NOT NULL,
        miner_id INTEGER NOT NULL,
        worker TEXT NOT NULL,
        day DATE NOT NULL,
        reason TEXT NOT NULL,
        count INTEGER NOT NULL,
        CONSTRAINT reject_pkey PRIMARY KEY (batch_position, miner_id, worker, day, reason),
        CONSTRAINT reject_count_check CHECK (count >= 1),
        CONSTRAINT reject_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "CREATE INDEX reject_day_miner_id_idx ON reject (day, miner_id)",
    """
    CREATE TABLE block (
        hash TEXT NOT NULL,
        height INTEGER NOT NULL,
        previous_hash TEXT NOT NULL,
        found_us BIGINT NOT NULL,
        day DATE NOT NULL,
        miner_id INTEGER,
        worker TEXT NOT NULL,
        network_target BYTEA NOT NULL,
        reward_sat BIGINT NOT NULL,
        fees_sat BIGINT NOT NULL,
        coinbase_txid TEXT NOT NULL,
        window_multiple INTEGER NOT NULL,
        window_first BIGINT,
        window_first_work NUMERIC(78, 0),
        window_last BIGINT,
        window_work NUMERIC(78, 0) NOT NULL,
        commission_bps INTEGER NOT NULL,
        commission_sat BIGINT NOT NULL,
        state TEXT NOT NULL,
        CONSTRAINT block_pkey PRIMARY KEY (hash),
        CONSTRAINT block_hash_check CHECK (hash ~ '^[0-9a-f]{64}$'),
        CONSTRAINT block_network_target_check CHECK (octet_length(network_target) = 32),
        CONSTRAINT block_fees_check CHECK (fees_sat BETWEEN 0 AND reward_sat),
        CONSTRAINT block_commission_check CHECK (commission_sat BETWEEN 0 AND reward_sat),
        CONSTRAINT block_window_check
            CHECK (num_nulls(window_first, window_first_work, window_last) IN (0, 3)),
        CONSTRAINT block_state_check CHECK (state IN ('found', 'confirmed', 'mature', 'orphaned')),
        CONSTRAINT block_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "CREATE INDEX block_day_idx ON block (day)",
    "CREATE INDEX block_state_height_idx ON block (state, height)",
    """
    CREATE TABLE block_event (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        hash TEXT NOT NULL,
        state TEXT NOT NULL,
        at_us BIGINT NOT NULL,
        note TEXT NOT NULL,
        CONSTRAINT block_event_pkey PRIMARY KEY (id),
        CONSTRAINT block_event_state_check CHECK (state IN ('found', 'confirmed', 'mature', 'orphaned')),
        CONSTRAINT block_event_hash_fkey FOREIGN KEY (hash) REFERENCES block (hash)
    )
    """,
    "CREATE INDEX block_event_hash_idx ON block_event (hash)",
    """
    CREATE TABLE split (
        hash TEXT NOT NULL,
        miner_id INTEGER NOT NULL,
        work NUMERIC(78, 0) NOT NULL,
        amount_sat BIGINT NOT NULL,
        CONSTRAINT split_pkey PRIMARY KEY (hash, miner_id),
        CONSTRAINT split_work_check CHECK (work >= 1),
        CONSTRAINT split_amount_check CHECK (amount_sat >= 0),
        CONSTRAINT split_hash_fkey FOREIGN KEY (hash) REFERENCES block (hash),
        CONSTRAINT split_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "CREATE INDEX split_miner_id_idx ON split (miner_id)",
    """
    CREATE TABLE journal_entry (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        at_us BIGINT NOT NULL,
        day DATE NOT NULL,
        kind TEXT NOT NULL,
        block_hash TEXT,
        round INTEGER,
        memo TEXT NOT NULL,
        actor TEXT NOT NULL,
        CONSTRAINT journal_entry_pkey PRIMARY KEY (id),
        CONSTRAINT journal_entry_block_hash_kind_round_key UNIQUE (block_hash, kind, round),
        CONSTRAINT journal_entry_round_check CHECK ((block_hash IS NULL) = (round IS NULL)),
        CONSTRAINT journal_entry_block_hash_fkey FOREIGN KEY (block_hash) REFERENCES block (hash)
    )
    """,
    "CREATE INDEX journal_entry_day_idx ON journal_entry (day)",
    """
    CREATE TABLE journal_posting (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        entry_id BIGINT NOT NULL,
        account TEXT NOT NULL,
        amount BIGINT NOT NULL,
        CONSTRAINT journal_posting_pkey PRIMARY KEY (id),
        CONSTRAINT journal_posting_entry_id_account_key UNIQUE (entry_id, account),
        CONSTRAINT journal_posting_amount_check CHECK (amount <> 0),
        CONSTRAINT journal_posting_entry_id_fkey FOREIGN KEY (entry_id) REFERENCES journal_entry (id)
    )
    """,
    "CREATE INDEX journal_posting_account_idx ON journal_posting (account)",
    """
    CREATE TABLE report (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        sequence BIGINT NOT NULL,
        day DATE NOT NULL,
        version INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        previous_sha256 TEXT,
        replaces_sha256 TEXT,
        envelope BYTEA NOT NULL,
        built_at TIMESTAMPTZ NOT NULL,
        CONSTRAINT report_pkey PRIMARY KEY (id),
        CONSTRAINT report_day_version_key UNIQUE (day, version),
        CONSTRAINT report_chain_check CHECK ((sequence = 1) = (previous_sha256 IS NULL)),
        CONSTRAINT report_versions_check CHECK ((version = 1) = (replaces_sha256 IS NULL)),
        CONSTRAINT report_sequence_key UNIQUE (sequence),
        CONSTRAINT report_sha256_key UNIQUE (sha256),
        CONSTRAINT report_previous_sha256_key UNIQUE (previous_sha256),
        CONSTRAINT report_previous_sha256_fkey FOREIGN KEY (previous_sha256) REFERENCES report (sha256),
        CONSTRAINT report_replaces_sha256_key UNIQUE (replaces_sha256),
        CONSTRAINT report_replaces_sha256_fkey FOREIGN KEY (replaces_sha256) REFERENCES report (sha256)
    )
    """,
)


def upgrade() -> None:
    """Create everything."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop everything, with what it holds."""
    for table in reversed(_TABLES):
        op.execute(f"DROP TABLE {table}")
