"""The register becomes a log of events, each with the hash of the one before.

Revision 0003. What miners, licences and payout addresses an earlier version had entered becomes the first
events, in the order and with the times in which they were entered. There the newest licence of a miner
counted alone; so an earlier one is ended by an act on the day when the next was entered.
"""

import datetime as dt
import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE register_event (
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
        CONSTRAINT register_event_pkey PRIMARY KEY (seq),
        CONSTRAINT register_event_seq_check CHECK (seq >= 1),
        CONSTRAINT register_event_chain_check CHECK ((seq = 1) = (previous IS NULL)),
        CONSTRAINT register_event_sha256_key UNIQUE (sha256),
        CONSTRAINT register_event_previous_key UNIQUE (previous),
        CONSTRAINT register_event_previous_fkey FOREIGN KEY (previous) REFERENCES register_event (sha256)
    )
    """,
    "CREATE INDEX register_event_kind_key_seq_idx ON register_event (kind, key, seq)",
    "CREATE TRIGGER register_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON register_event "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    """
    CREATE TABLE sighting (
        day DATE NOT NULL,
        kind TEXT NOT NULL,
        miner_id INTEGER NOT NULL,
        worker TEXT NOT NULL,
        first_us BIGINT NOT NULL,
        last_us BIGINT NOT NULL,
        count BIGINT NOT NULL,
        detail TEXT NOT NULL,
        recorded BOOLEAN DEFAULT false NOT NULL,
        CONSTRAINT sighting_pkey PRIMARY KEY (day, kind, miner_id, worker),
        CONSTRAINT sighting_count_check CHECK (count >= 1),
        CONSTRAINT sighting_miner_id_fkey FOREIGN KEY (miner_id) REFERENCES miner (id)
    )
    """,
    "CREATE INDEX sighting_unrecorded_idx ON sighting (first_us) WHERE NOT recorded",
    "CREATE INDEX slice_first_us_last_us_idx ON slice USING brin (first_us, last_us)",
    "ALTER TABLE miner ALTER COLUMN id DROP IDENTITY",
)
_AFTER = (
    "ALTER TABLE miner DROP COLUMN title, DROP COLUMN bin, DROP COLUMN kind, DROP COLUMN created_at",
    "DROP TABLE licence",
    "DROP TABLE payout_address",
)
_OLD = """
    SELECT what, id, entered_at FROM (
        SELECT 'miner' AS what, id, created_at AS entered_at FROM miner
        UNION ALL SELECT 'licence', id, entered_at FROM licence
        UNION ALL SELECT 'payout_address', id, entered_at FROM payout_address
    ) AS old
    ORDER BY entered_at, CASE what WHEN 'miner' THEN 0 WHEN 'licence' THEN 1 ELSE 2 END, id
"""


def upgrade() -> None:
    """Make the log, and bring over what there is."""
    for statement in _STATEMENTS:
        op.execute(statement)
    connection = op.get_bind()
    log = _Log(connection)
    for row in connection.execute(sa.text(_OLD)).all():
        at_us = round(row.entered_at.timestamp() * 1_000_000)
        query = sa.text(f"SELECT * FROM {row.what} WHERE id = :id")  # noqa: S608 - of our own three names
        old = connection.execute(query, {"id": row.id}).one()
        {"miner": log.miner, "licence": log.licence, "payout_address": log.address}[row.what](old, at_us)
    for statement in _AFTER:
        op.execute(statement)


class _Log:
    """Writes the first events. Self-contained: this revision stays as it is whatever the program becomes."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._seq = self._at_us = 0
        self._sha256 = "0" * 64
        self._licences: dict[int, dict[str, Any]] = {}
        self._numbers: set[str] = set()
        self._addresses: dict[int, int] = {}

    def miner(self, old: Any, at_us: int) -> None:
        body = {"id": old.id, "name": old.name, "title": old.title, "bin": old.bin}
        self._append("miner", str(old.id), "entered", body | {"language": "en", "contacts": []}, at_us)

    def licence(self, old: Any, at_us: int) -> None:
        before = self._licences.get(old.miner_id)
        if before is not None:
            day = (
                dt.datetime.fromtimestamp(at_us / 1e6, dt.timezone(dt.timedelta(hours=5))).date().isoformat()
            )
            on = min(max(day, before["valid_from"]), before["valid_to"])
            act = {"kind": "ended", "number": "replaced", "on": on, "reason_code": 0}
            act |= {"until": None, "entered_us": 0}
            self._append("licence", before["number"], "ended", before | {"acts": [act]}, at_us)
        number = old.number
        while number in self._numbers:  # a number was not unique
            number = f"{old.number} ({old.id})" if number == old.number else f"{number}'"
        self._numbers.add(number)
        self._licences[old.miner_id] = body = {
            "number": number,
            "miner_id": old.miner_id,
            "subtype": old.subtype,
            "issued_on": old.valid_from.isoformat(),
            "valid_from": old.valid_from.isoformat(),
            "valid_to": old.valid_to.isoformat(),
            "issuer": "",
            "acts": [],
        }
        self._append("licence", number, "entered", body, at_us)

    def address(self, old: Any, at_us: int) -> None:
        number = self._addresses[old.miner_id] = self._addresses.get(old.miner_id, 0) + 1
        body = {
            "miner_id": old.miner_id,
            "number": number,
            "purpose": "wallet",
            "address": old.address,
            "effective_us": at_us,
            "exchange": "",
            "licensor": "",
            "exchange_licence": "",
            "withdrawn_us": None,
        }
        self._append("address", f"{old.miner_id}.{number}", "entered", body, at_us)

    def _append(self, kind: str, key: str, action: str, body: dict[str, Any], at_us: int) -> None:
        self._seq += 1
        self._at_us = max(at_us, self._at_us + 1)
        event: dict[str, Any] = {
            "seq": self._seq,
            "at_us": self._at_us,
            "actor": "migration",
            "role": "system",
            "reason": "entered before there was an event log",
            "kind": kind,
            "key": key,
            "action": action,
            "body": body,
            "previous": self._sha256,
        }
        previous = None if self._seq == 1 else self._sha256
        self._sha256 = hashlib.sha256(_canonical(event).encode()).hexdigest()
        row = event | {"body": _canonical(body), "previous": previous, "sha256": self._sha256}
        names = ", ".join(row)
        places = ", ".join(f":{name}" for name in row)
        insert = sa.text(f"INSERT INTO register_event ({names}) VALUES ({places})")  # noqa: S608 - names are ours
        self._connection.execute(insert, row)


def _canonical(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


_BACK = (
    "DROP INDEX slice_first_us_last_us_idx",
    "DROP TABLE sighting",
    "DROP TABLE register_event",
    "ALTER TABLE miner ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY",
    """
    ALTER TABLE miner ADD COLUMN title TEXT NOT NULL DEFAULT '', ADD COLUMN bin TEXT NOT NULL DEFAULT '',
        ADD COLUMN kind TEXT NOT NULL DEFAULT '', ADD COLUMN created_at TIMESTAMPTZ DEFAULT now() NOT NULL
    """,
    """
    CREATE TABLE licence (
        id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY, miner_id INTEGER NOT NULL REFERENCES miner (id),
        number TEXT NOT NULL, subtype SMALLINT NOT NULL, valid_from DATE NOT NULL, valid_to DATE NOT NULL,
        entered_at TIMESTAMPTZ DEFAULT now() NOT NULL
    )
    """,
    """
    CREATE TABLE payout_address (
        id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY, miner_id INTEGER NOT NULL REFERENCES miner (id),
        address TEXT NOT NULL, entered_at TIMESTAMPTZ DEFAULT now() NOT NULL
    )
    """,
)


def downgrade() -> None:
    """The tables of before, empty: what the log holds is lost. Meant for a database without a past."""
    for statement in _BACK:
        op.execute(statement)
