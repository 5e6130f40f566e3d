"""The tables of the regulator's door: the chain of access events, and the portal's sessions.

They describe what `migrations/versions/0011_door.py` builds. An event of the chain has the columns of an
event of the register, and the same hash (`register.event`); who the regulators are, and which tokens they
have, is what its changes say. Sessions alone come and go.
"""

from __future__ import annotations

import sqlalchemy as sa

from pool.tables import metadata, required

regulator_access_event = sa.Table(
    "regulator_access_event",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at_us", sa.BigInteger, nullable=False, unique=True),
    # The regulator, or the person of the pool who changed something; empty for a stranger.
    required("actor", sa.Text),
    required("role", sa.Text),
    required("reason", sa.Text),
    # A change is of a regulator or a token; an access or a refusal is by one.
    required("kind", sa.Text),
    required("key", sa.Text),
    required("action", sa.Text),
    required("body", sa.Text),
    # Unique, so that the chain cannot fork.
    sa.Column("previous", sa.Text, sa.ForeignKey("regulator_access_event.sha256"), unique=True),
    sa.Column("sha256", sa.Text, nullable=False, unique=True),
    sa.CheckConstraint("(seq = 1) = (previous IS NULL)", name="chain"),
    sa.CheckConstraint("kind IN ('regulator', 'token', 'access', 'refusal')", name="kind"),
    sa.CheckConstraint("octet_length(body) <= 4096", name="body"),
    sa.Index(
        "regulator_access_event_change_idx", "seq", postgresql_where=sa.text("kind IN ('regulator', 'token')")
    ),
    sa.Index("regulator_access_event_actor_idx", "actor", "seq"),
)
regulator_session = sa.Table(
    "regulator_session",
    metadata,
    # Of the browser's cookie; the cookie itself is kept nowhere.
    sa.Column("session_sha256", sa.Text, primary_key=True),
    required("token_sha256", sa.Text),
    required("started_us", sa.BigInteger),
    required("ends_us", sa.BigInteger),
    sa.CheckConstraint("started_us < ends_us", name="ends"),
    sa.Index("regulator_session_token_sha256_idx", "token_sha256"),
)
