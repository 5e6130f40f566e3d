"""How the compliance page says what the digest notes: a label, how it looks, and a sentence. Pure.

The page is in English, like the status page; what miners are told stands in `register.catalogue`. "Ground" is
one of the six of LAW art. 9 p. 4 (O-08).
"""

from __future__ import annotations

from typing import Final

from pool import wording
from register.digest import Note, NoteKind
from register.licence import Status
from register.rules import Rules

LABELS: Final = {
    NoteKind.NOT_ACCREDITED: ("not accredited", "bad"),
    NoteKind.ACCREDITATION_ENDING: ("accreditation ends", "wait"),
    NoteKind.SITE_ABROAD: ("site abroad", "bad"),
    NoteKind.VERSION_NOT_TESTED: ("version not tested", "wait"),
    NoteKind.REQUIREMENT_UNMET: ("requirement not met", "wait"),
    NoteKind.SUSPENDED: ("suspended", "bad"),
    NoteKind.AWAITING_RESUMPTION: ("awaiting resumption", "bad"),
    NoteKind.SUSPENSION_TOMORROW: ("suspended tomorrow", "wait"),
    NoteKind.LICENCE_ENDING: ("ending soon", "wait"),
    NoteKind.LICENCE_ENDED: ("ended", "bad"),
    NoteKind.LICENCE_TOMORROW: ("begins tomorrow", "good"),
    NoteKind.NO_LICENCE: ("no licence", "bad"),
    NoteKind.NO_WALLET: ("no wallet", "wait"),
    NoteKind.NO_OWN_CENTRE: ("no own data centre", "wait"),
    NoteKind.NOT_HOSTED: ("hosting", "wait"),
    NoteKind.SALE_SHORT: ("short", "bad"),
    NoteKind.SALE_BEHIND: ("yet to sell", "wait"),
    NoteKind.ADDRESS_WAITING: ("address", "wait"),
    NoteKind.PROPOSAL_WAITING: ("proposal", "wait"),
    NoteKind.UNREGISTERED: ("not registered", "bad"),
    NoteKind.FOREIGN: ("another's unit", "bad"),
    NoteKind.DUPLICATE: ("duplicate", "bad"),
    NoteKind.OVERRATE: ("too fast", "wait"),
    NoteKind.REFUSED: ("refused", "wait"),
}
"""A short name for a note, and its tone."""
TONES: Final = {
    Status.IN_FORCE: "good",
    Status.RESUMED: "good",
    Status.NOT_YET: "wait",
    Status.AWAITING_RESUMPTION: "bad",
    Status.SUSPENDED: "bad",
    Status.REVOKED: "bad",
    Status.ENDED: "bad",
}


_SENTENCES: Final = {
    NoteKind.NOT_ACCREDITED: "The accreditation ended on {until}; none is in force.",
    NoteKind.ACCREDITATION_ENDING: "Last day {until}: {left}.",
    NoteKind.SITE_ABROAD: "Stands in {detail}; the pool's complex must be in Kazakhstan.",
    NoteKind.VERSION_NOT_TESTED: "The last test protocol is of {since}, for version {detail}.",
    NoteKind.REQUIREMENT_UNMET: "{detail}",
    NoteKind.SUSPENDED: "From {since} to {until}, {left}; ground {ground} of art. 9 p. 4.",
    NoteKind.AWAITING_RESUMPTION: (
        "The suspension ended on {until}; no work counts before a resumption act is entered."
    ),
    NoteKind.SUSPENSION_TOMORROW: "From {since} to {until}; ground {ground} of art. 9 p. 4.",
    NoteKind.LICENCE_ENDING: "Last day {until}: {left}.",
    NoteKind.LICENCE_ENDED: "Since {since}; no work counts.",
    NoteKind.LICENCE_TOMORROW: "From {since} to {until}.",
    NoteKind.NO_LICENCE: "None is in force or to come; no work counts.",
    NoteKind.NO_WALLET: "No wallet is in effect; nothing can be paid.",
    NoteKind.NO_OWN_CENTRE: "Subtype I without a data centre of its own.",
    NoteKind.NOT_HOSTED: "Not fit for subtype II: {units}, first {detail}.",
    NoteKind.SALE_SHORT: "Ended on {until}: {detail}.",
    NoteKind.SALE_BEHIND: "Last day {until}, {left}: {detail}.",
    NoteKind.ADDRESS_WAITING: "A new {detail}, in effect from {begins}.",
    NoteKind.PROPOSAL_WAITING: "Asked for by {actor}: {detail}",
    NoteKind.UNREGISTERED: "No hardware unit of this account has this name{aside}: {times}, last at {last}.",
    NoteKind.FOREIGN: "A hardware unit of another account{aside}: {times}, last at {last}.",
    NoteKind.DUPLICATE: "One hardware unit in two sessions at once{aside}: {times}, last at {last}.",
    NoteKind.OVERRATE: "Hashes faster than it nominally can{aside}: {times}, last at {last}.",
    NoteKind.REFUSED: "Was not let in{aside}: {times}, last at {last}.",
}


def words_of(note: Note, rules: Rules) -> str:
    """A note as a sentence."""
    if note.kind is NoteKind.NOT_ACCREDITED and note.until is None:
        return "No accreditation is in force."
    if note.kind is NoteKind.VERSION_NOT_TESTED and not note.detail:
        return "There is no test protocol yet."
    return _SENTENCES[note.kind].format(
        since=note.since,
        until=note.until,
        left=days_left(note.days_left or 0),
        ground=note.reason_code,
        actor=note.actor,
        detail=note.detail.replace("_", " ") if note.kind is NoteKind.ADDRESS_WAITING else note.detail,
        aside=f" ({note.detail.replace('_', ' ')})" if note.detail else "",
        units="1 unit" if note.count == 1 else f"{wording.number(note.count)} units",
        times="once" if note.count == 1 else f"{wording.number(note.count)} times",
        begins=f"{rules.local(note.until_us):%Y-%m-%d %H:%M}" if note.until_us else "",
        last=f"{rules.local(note.last_us):%H:%M}" if note.last_us else "",
    )


def days_left(days: int) -> str:
    """How long until a last day."""
    if days < 0:
        return "it is over"
    return {0: "that is today", 1: "1 day left"}.get(days, f"{days} days left")
