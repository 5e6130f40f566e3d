"""The register in a few numbers, for the compliance page and for metrics.

They follow from the register and its digest at an instant; nothing is read here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pool.register_views import DEVICE_STATES, device_state
from register.digest import Digest, NoteKind
from register.licence import Status
from register.register import Register
from register.rules import Rules
from register.sighting import SightingKind


@dataclass(frozen=True, slots=True)
class Figures:
    """How many there are of each."""

    seq: int
    """Number of the newest event."""
    licences: dict[str, int]
    """By status."""
    ending: dict[int, int]
    """Licences that end within so many days, and are not taken over by a following one (O-04)."""
    devices: dict[str, int]
    """Hardware units by state (O-07)."""
    proposals_waiting: int
    addresses_waiting: int
    sightings: dict[str, int]
    """Of today, by kind."""
    mode: str
    """What is done with a worker name that is no hardware unit, by today's rule."""


def figures(register: Register, rules: Rules, told: Digest) -> Figures:
    """The numbers at the instant of a digest."""
    notes = told.counts()
    licences = Counter(one.phase_at(told.at_us, rules).status for one in register.licences.values())
    devices = Counter(device_state(one, told.day) for one in register.devices.values())
    ending = told.of(NoteKind.LICENCE_ENDING)
    return Figures(
        seq=told.seq,
        licences={status.value: licences[status] for status in Status},
        ending={
            days: sum(1 for note in ending if note.bracket <= days)
            for days in sorted(rules.on("licence_warning", told.day).integers("days"))
        },
        devices={state: devices[state] for state in DEVICE_STATES},
        proposals_waiting=notes[NoteKind.PROPOSAL_WAITING],
        addresses_waiting=notes[NoteKind.ADDRESS_WAITING],
        sightings={kind.value: notes[NoteKind(kind.value)] for kind in SightingKind},
        mode=rules.on("unknown_device", told.day).text("mode"),
    )
