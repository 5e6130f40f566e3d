"""`/compliance`: what a compliance officer should know today, as a page for a browser without JavaScript.

What is to be known is decided by `register.digest`; here it is put into groups, and by
`pool.compliance_wording` into words. The browser asks for the token as a password (HTTP Basic). The page only
reads: decisions are made on the command line or over the API. Names and reasons are people's text and are
escaped wherever they appear.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse

from pool import register_store, wording
from pool.compliance_wording import LABELS, TONES, days_left, words_of
from pool.config import Settings
from pool.page_templates import environment
from pool.reading import DatabaseAway, asking, reading
from pool.register_desk import Desk
from pool.register_figures import Figures, figures
from pool.register_views import LicenceView, account_of, licence_view
from register.digest import Digest, Note, NoteKind, digest
from register.event import Event
from register.licence import COVERING, Status
from register.pool_data import Accreditation, Requirement, Site, TestProtocol
from register.register import Register
from register.rules import Rules

LICENCES_SHOWN = 500
NOTES_SHOWN = 100
"""Of each group."""
EVENTS_SHOWN = 12
LAST_BRACKET = 30
"""Days; what ends so soon is shown in red."""
_NEARING: Final = (NoteKind.LICENCE_ENDING, NoteKind.ACCREDITATION_ENDING)
_GROUPS: Final[Sequence[tuple[str, str, tuple[NoteKind, ...]]]] = (
    (
        "The pool itself",
        "nothing to mend",
        (
            NoteKind.NOT_ACCREDITED,
            NoteKind.ACCREDITATION_ENDING,
            NoteKind.SITE_ABROAD,
            NoteKind.VERSION_NOT_TESTED,
            NoteKind.REQUIREMENT_UNMET,
        ),
    ),
    (
        "Suspended, or awaiting resumption",
        "no licence is",
        (NoteKind.SUSPENDED, NoteKind.AWAITING_RESUMPTION, NoteKind.SUSPENSION_TOMORROW),
    ),
    (
        "Licences that end or begin",
        "none ends soon",
        (NoteKind.LICENCE_ENDING, NoteKind.LICENCE_ENDED, NoteKind.LICENCE_TOMORROW),
    ),
    (
        "Miners with something missing",
        "every miner has what the law asks",
        (NoteKind.NO_LICENCE, NoteKind.NO_WALLET, NoteKind.NO_OWN_CENTRE, NoteKind.NOT_HOSTED),
    ),
    ("Mandatory sale", "nobody is short of it", (NoteKind.SALE_SHORT, NoteKind.SALE_BEHIND)),
    ("Waiting", "nothing waits", (NoteKind.PROPOSAL_WAITING, NoteKind.ADDRESS_WAITING)),
    (
        "Seen at work today",
        "nothing out of order",
        (
            NoteKind.UNREGISTERED,
            NoteKind.FOREIGN,
            NoteKind.DUPLICATE,
            NoteKind.OVERRATE,
            NoteKind.REFUSED,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A note in words."""

    label: str
    tone: str
    subject: str
    account: str
    title: str
    words: str


@dataclass(frozen=True, slots=True)
class Group:
    """Lines under one heading; `total` is how many there are."""

    heading: str
    nothing: str
    """What is said when there is none."""
    lines: tuple[Line, ...]
    total: int


@dataclass(frozen=True, slots=True)
class LicenceLine:
    """A licence as the page lists it."""

    number: str
    account: str
    title: str
    subtype: str
    status: str
    tone: str
    valid_from: dt.date
    last_day: dt.date
    left: str


@dataclass(frozen=True, slots=True)
class EventLine:
    """A change as the page lists it."""

    seq: int
    at: dt.datetime
    actor: str
    role: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class View:
    """All that the page shows, of one moment."""

    at: dt.datetime
    sha256: str
    changed_at: dt.datetime | None
    figures: Figures
    groups: tuple[Group, ...]
    later_ending: str
    """Of the longer brackets, in words."""
    licences: tuple[LicenceLine, ...]
    licences_total: int
    miners_total: int
    accreditations: tuple[Accreditation, ...]
    sites: tuple[Site, ...]
    protocols: tuple[TestProtocol, ...]
    requirements: tuple[Requirement, ...]
    version: str
    events: tuple[EventLine, ...]


def compliance_router(desk: Desk, settings: Settings) -> APIRouter:
    """The page, to be put under no prefix."""
    router = APIRouter(include_in_schema=False)
    templates = environment(wording.number, wording.moment, wording.zone)
    template, without = (
        templates.get_template("compliance.html"),
        templates.get_template("compliance_refused.html"),
    )

    def refused(error: HTTPException) -> HTMLResponse:
        page = without.render(name=settings.pool.name, reason=error.detail, code=error.status_code)
        return HTMLResponse(page, error.status_code, _headers(error.headers))

    @router.get("/compliance")
    async def _page(request: Request) -> HTMLResponse:
        try:
            viewer = await desk.auth.viewer(request)
            view = await _look(desk)
        except HTTPException as error:
            return refused(error)
        except DatabaseAway as error:
            return refused(HTTPException(503, str(error), {"Retry-After": "5"}))
        page = template.render(name=settings.pool.name, bin=settings.pool.bin, viewer=viewer, view=view)
        return HTMLResponse(page, headers=_headers())

    return router


def _headers(more: Any = None) -> dict[str, str]:
    return {"Cache-Control": "private, no-store", "Vary": "Authorization", **(more or {})}


async def _look(desk: Desk) -> View:
    at_us = desk.now_us()
    day = desk.rules.day_of(at_us)
    async with asking():
        seen = await register_store.read_sightings(desk.engine, day, day)
    async with reading(desk.engine) as connection:
        besides = await desk.sales.notes(connection, day)
    async with desk.live.held() as register:
        async with asking():
            newest = await register_store.events(
                desk.engine, max(register.seq - EVENTS_SHOWN, 0), EVENTS_SHOWN
            )
        told = await asyncio.to_thread(digest, register, desk.rules, at_us, seen, desk.version, besides)
        return await asyncio.to_thread(_view, register, desk.rules, told, desk.version, newest)


def _view(register: Register, rules: Rules, told: Digest, version: str, newest: Sequence[Event]) -> View:
    at_us = told.at_us
    licences = sorted(register.licences.values(), key=lambda one: (one.last_day, one.number))
    views = [licence_view(one, register, rules, at_us) for one in licences]
    # What has ended comes last.
    views.sort(key=lambda one: one.status in (Status.ENDED, Status.REVOKED))
    numbers = figures(register, rules, told)
    later = [f"{count} within {days}" for days, count in list(numbers.ending.items())[1:]]
    return View(
        at=rules.local(at_us),
        sha256=register.sha256,
        changed_at=rules.local(register.at_us) if register.at_us else None,
        figures=numbers,
        later_ending=", ".join(later),
        groups=tuple(_group(told, rules, *group) for group in _GROUPS),
        licences=tuple(
            _licence_line(one, register, told.day, max(numbers.ending)) for one in views[:LICENCES_SHOWN]
        ),
        licences_total=len(views),
        miners_total=len(register.miners),
        accreditations=tuple(register.accreditations.values()),
        sites=tuple(register.sites.values()),
        protocols=tuple(register.protocols.values()),
        requirements=tuple(register.requirements.values()),
        version=version,
        events=tuple(_event_line(one, register, rules) for one in reversed(newest)),
    )


def _group(told: Digest, rules: Rules, heading: str, nothing: str, kinds: tuple[NoteKind, ...]) -> Group:
    notes = told.of(*kinds)
    return Group(heading, nothing, tuple(_line(one, rules) for one in notes[:NOTES_SHOWN]), len(notes))


def _line(note: Note, rules: Rules) -> Line:
    label, tone = LABELS[note.kind]
    if note.kind is NoteKind.LICENCE_ENDED:
        label = note.detail or label
    if note.kind in _NEARING and note.bracket <= LAST_BRACKET:
        tone = "bad"
    subject = "" if note.subject == note.account else note.subject
    return Line(label, tone, subject, note.account, note.title, words_of(note, rules))


def _licence_line(licence: LicenceView, register: Register, today: dt.date, soon: int) -> LicenceLine:
    miner = register.miners.get(licence.miner_id)
    left = (licence.last_day - today).days
    return LicenceLine(
        number=licence.number,
        account=account_of(register, licence.miner_id),
        title=miner.title if miner else "",
        subtype="I" if licence.subtype == 1 else "II",
        status=licence.status.value.replace("_", " "),
        tone=TONES[licence.status],
        valid_from=licence.valid_from,
        last_day=licence.last_day,
        left=days_left(left) if licence.status in COVERING and left <= soon else "",
    )


def _event_line(event: Event, register: Register, rules: Rules) -> EventLine:
    key = account_of(register, int(event.key)) if event.kind == "miner" else event.key
    what = f"{event.kind} {key}: {event.action}"
    return EventLine(event.seq, rules.local(event.at_us), event.actor, event.role, what, event.reason)
