"""Keys with short names, and a list of keys that is written event by event."""

from __future__ import annotations

import datetime as dt
from typing import Any

import rfc8785

from reporting.keyring import Action, Json, KeyRing, signed
from reporting.signing import SigningKey

ANCHOR, SECOND, THIRD, THIEF = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3, 66))
BY_ID = {key.key_id: key for key in (ANCHOR, SECOND, THIRD, THIEF)}
ZONE = dt.timezone(dt.timedelta(hours=5))
START = dt.datetime(2026, 11, 24, 9, 0, tzinfo=ZONE)


def hour(number: float) -> dt.datetime:
    """So many hours after the first event."""
    return START + dt.timedelta(hours=number)


def event(
    ring: KeyRing,
    action: Action,
    key: SigningKey,
    at: dt.datetime,
    by: SigningKey | None = None,
    **instants: dt.datetime,
) -> Json:
    """The entry of one more event, whether or not it holds."""
    name = None if by is None else by.key_id
    drafted = ring.draft(action, key.public_key, at, "for a test", authorised_by=name, **instants)
    return signed(drafted, list(BY_ID.values()))


def grown(ring: KeyRing, *events: Any) -> KeyRing:
    """The ring with events of (action, key, hours, by) more."""
    for action, key, hours, by in events:
        ring = ring.added(event(ring, action, key, hour(hours), by))
    return ring


def published(ring: KeyRing) -> bytes:
    """As the pool serves it."""
    return rfc8785.dumps(ring.document())
