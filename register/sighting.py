"""What the pool saw that a compliance officer should know (O-03, O-07).

One sighting is one kind of thing, of one worker name, on one day in Kazakhstan; when it comes again that day
it is counted. Sightings are the program's own (role `system`), and each becomes an event of the log once.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum

import msgspec


class SightingKind(StrEnum):
    """What was seen."""

    UNREGISTERED = "unregistered"
    """A worker name that names no hardware unit of its account."""
    FOREIGN = "foreign"
    """A worker name that is a hardware unit of another account."""
    DUPLICATE = "duplicate"
    """One hardware unit in two sessions at once."""
    OVERRATE = "overrate"
    """A hardware unit that hashed faster over an hour than it nominally can."""
    REFUSED = "refused"
    """An authorisation of a known account that its licence, or the pool's accreditation, did not allow."""


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """What was seen, of whom, when first on that day."""

    kind: SightingKind
    day: dt.date
    miner_id: int
    worker: str
    """As it was sent; "*" for the rest of an account's names when they are too many to keep."""
    first_us: int
    detail: str = ""

    @property
    def key(self) -> str:
        """Which record of the register it is."""
        return f"{self.day}/{self.kind}/{self.miner_id}/{self.worker}"


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A sighting with how often it came that day, and when last."""

    sighting: Sighting
    last_us: int
    count: int
