"""The pages of the regulator's portal: of each its address, what opens it, and what it shows.

A view reads one snapshot and gives the name of its template and the values for it, or an address to go to
instead. Reports and forms are shown with the tables that their PDF has (`reporting.report_tables`), so the
two cannot differ; each names its document to the door, whose chain of accesses then tells it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from fastapi import HTTPException, Request
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool import door_chain, portal_documents, portal_log, submissions
from pool.archive_book import MANIFEST, day_directory
from pool.clock import instant, microseconds
from pool.config import Settings
from pool.documents import DocumentError
from pool.door_auth import NEEDED, OPEN_SCOPES, Caller, Door
from pool.door_regulators import Scope
from pool.portal_documents import DocumentView, Listed
from pool.portal_identity import read_identity
from pool.portal_pages import NAMES, PREFIX, Pages
from pool.portal_words import ADDRESSES, entry_path, entry_text, key_line, steps, visit_line
from register.catalogue import text
from register.miner import Language
from register.rules import Rules
from reporting.report_tables import Document, daily_tables, income_tables

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:\d{1,5})?")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
EVENTS_SHOWN: Final = 20
"""Of the caller's own visits."""

Made = tuple[str, Any]
"""Template and values; or "", and where to go instead."""


class Place(NamedTuple):
    """What all pages of a portal share."""

    engine: AsyncEngine
    settings: Settings
    rules: Rules
    door: Door
    now_us: Callable[[], int]
    pages: Pages


@dataclass(frozen=True, slots=True)
class Look:
    """One request for a page."""

    request: Request
    language: Language
    section: str
    caller: Caller | None
    """None for everybody without a token."""
    place: Place

    @property
    def root(self) -> str:
        """Where the portal is in this language."""
        return f"{PREFIX}/{self.language}"

    @property
    def base(self) -> str:
        """How the pool is reached from outside, as far as is known; for commands that are shown."""
        if self.place.settings.door.public_url:
            return self.place.settings.door.public_url
        host = self.request.headers.get("host", "")
        return f"{self.request.url.scheme}://{host if _HOST.fullmatch(host) else 'POOL'}"

    def say(self, message: str, **filled: str | int | dt.date) -> str:
        """A text of the portal."""
        return text(self.language, f"portal.{message}", **filled)

    def number(self, name: str) -> int:
        """A part of the path that is a number; raises DocumentError."""
        given = str(self.request.path_params[name])
        if not _NUMBER.fullmatch(given):
            raise DocumentError(f"{given[:40]!r} is no number")
        return int(given)

    def day(self, name: str) -> dt.date:
        """A part of the path that is a day; raises DocumentError."""
        given = str(self.request.path_params[name])
        found = day_of(given)
        if found is None:
            raise DocumentError(f"{given[:40]!r} is no day; write it like 2026-11-24")
        return found

    def query(self, name: str) -> str:
        """A parameter; empty where there is none."""
        return self.request.query_params.get(name, "")[:100]

    def before(self) -> int | None:
        """Where a page of a list goes on; None for its beginning."""
        given = self.query("before")
        return int(given) if _NUMBER.fullmatch(given) else None

    def below_report(self) -> tuple[dt.date, int] | None:
        """The same in the list of daily reports: a day and version."""
        match self.query("before").split("/"):
            case [day, version] if (found := day_of(day)) and _NUMBER.fullmatch(version):
                return found, int(version)
        return None

    def below_form(self) -> tuple[str, str, int] | None:
        """The same in the list of forms: a month, form and version."""
        match self.query("before").split("/"):
            case [period, form, version] if _NUMBER.fullmatch(version):
                return period, form, int(version)
        return None

    def local(self, at: dt.datetime) -> dt.datetime:
        """A moment as the clock in Kazakhstan shows it."""
        return self.place.rules.local(microseconds(at))


def day_of(given: str) -> dt.date | None:
    """A day like 2026-11-24; None for another text."""
    try:
        return dt.date.fromisoformat(given) if len(given) == 10 else None
    except ValueError:
        return None


class View(NamedTuple):
    """A page: how it is made, where it is in the menu, and what opens it (None: it is for everybody)."""

    make: Callable[[Look, AsyncConnection], Awaitable[Made]]
    section: str
    scope: Scope | None = None


async def _overview(look: Look, connection: AsyncConnection) -> Made:
    place = look.place
    identity = await read_identity(connection, place.settings, place.rules, place.now_us())
    days, versions, newest = await portal_documents.count_reports(connection, place.rules)
    signed = identity.signed
    return "overview", {
        "identity": identity,
        "days": days,
        "versions": versions,
        "newest": newest,
        "signed_at": None if signed is None else place.rules.local(signed.signed_us),
        "ways": _WAYS,
    }


_WAYS: Final = (
    ("reports", "menu_reports", "reports_about"),
    ("forms", "menu_forms", "forms_about"),
    ("submissions", "menu_submissions", "submissions_about"),
    ("archive", "menu_archive", "archive_about"),
    ("log", "menu_log", "log_about"),
    ("verify", "menu_verify", "verify_about"),
)

# Signed documents


class File(NamedTuple):
    """A file that a page offers."""

    href: str
    label: str
    note: str


async def _reports(look: Look, connection: AsyncConnection) -> Made:
    asked = day_of(look.query("day"))
    if asked is not None:
        version = await portal_documents.newest_of_day(connection, asked)
        if version is not None:
            return "", f"{look.root}/reports/{asked}/{version}"
    lines, more = await portal_documents.list_reports(connection, look.place.rules, look.below_report())
    return "documents", {"kind": "reports", "lines": lines, "asked": asked, **_paged(look, lines, more)}


async def _forms(look: Look, connection: AsyncConnection) -> Made:
    lines, more = await portal_documents.list_forms(connection, look.place.rules, look.below_form())
    return "documents", {"kind": "forms", "lines": lines, "asked": None, **_paged(look, lines, more)}


def _paged(look: Look, lines: list[Listed], more: bool) -> dict[str, str]:
    return _around(look, lines[-1].place if more else "")


def _around(look: Look, onward: object) -> dict[str, str]:
    """Links of a list: to its beginning, and to what is behind `onward`, where there is more."""
    here = f"{look.root}/{look.section}"
    return {
        "newer": here if look.query("before") else "",
        "older": f"{here}?before={onward}" if onward else "",
    }


async def _newest_report(look: Look, connection: AsyncConnection) -> Made:
    day = look.day("day")
    version = await portal_documents.newest_of_day(connection, day)
    if version is None:
        raise DocumentError(f"there is no report of {day}")
    return "", f"{look.root}/reports/{day}/{version}"


async def _report(look: Look, connection: AsyncConnection) -> Made:
    day, version = look.day("day"), look.number("version")
    view = await portal_documents.view_report(connection, look.place.rules, day, version)
    shown = await asyncio.to_thread(daily_tables, view.told, look.language)
    path = f"/api/v1/reports/{day}/{version}"
    files = [
        File(path, look.say("file_signed"), "JSON"),
        *_pdf(look, path),
        File(f"{path}/signatures", look.say("file_signatures"), "JSON"),
        File(f"{path}/proof", look.say("file_proof"), "tlog-proof"),
    ]
    return _document(look, view, shown, files)


async def _newest_form(look: Look, connection: AsyncConnection) -> Made:
    name, period = _form_of(look)
    version = await portal_documents.newest_form(connection, name, period)
    if version is None:
        raise DocumentError(f"there is no form {name} of {period}")
    return "", f"{look.root}/forms/{period}/{name}/{version}"


async def _form(look: Look, connection: AsyncConnection) -> Made:
    (name, period), version = _form_of(look), look.number("version")
    view = await portal_documents.view_form(connection, look.place.rules, name, period, version)
    shown = await asyncio.to_thread(income_tables, view.told, look.language)
    path = f"/api/v1/forms/{period}/{name}/{version}"
    files = [
        File(path, look.say("file_signed"), "JSON"),
        *_pdf(look, path),
        *(File(f"{path}/file/{one}", look.say("file_table"), one.upper()) for one in ("xlsx", "csv")),
        *(File(f"{path}/annex/{one}", look.say("file_annex"), one.upper()) for one in ("xlsx", "csv")),
        File(f"{path}/proof", look.say("file_proof"), "tlog-proof"),
    ]
    return _document(look, view, shown, files)


def _form_of(look: Look) -> tuple[str, str]:
    name, period = (str(look.request.path_params[one])[:40] for one in ("form", "period"))
    return name, period


def _pdf(look: Look, path: str) -> list[File]:
    """The same as PDF, in the reader's language first."""
    languages = sorted(NAMES, key=lambda one: one != look.language)
    return [File(f"{path}/pdf/{one}", f"PDF, {NAMES[one]}", "") for one in languages]


def _document(look: Look, view: DocumentView, shown: Document, files: list[File]) -> Made:
    document = view.document
    look.place.door.gives(look.request, document.name, document.sha256)
    made_at = look.local(dt.datetime.fromisoformat(view.told["generated_at"]))
    return "document", {"view": view, "shown": shown, "files": files, "made_at": made_at}


async def _submissions(look: Look, connection: AsyncConnection) -> Made:
    if look.caller is None:  # open reports do not open what lies between the pool and one body
        raise HTTPException(401, NEEDED)
    found = await submissions.list_submissions(connection)
    lines = [one for one in reversed(found) if one.addressee == look.caller.authority.value]
    return "submissions", {"lines": lines, "local": look.place.rules.local}


# The archive


async def _archive(look: Look, connection: AsyncConnection) -> Made:
    days, more = await portal_log.archive_days(connection, day_of(look.query("before")))
    return "archive", {"days": days, **_around(look, more)}


async def _archive_day(look: Look, connection: AsyncConnection) -> Made:
    day = look.day("day")
    hours = await portal_log.archive_hours(connection, day)
    if not hours:
        raise DocumentError(f"the archive has no hour of {day}")
    directory = day_directory(look.place.settings.data_dir / "archive", day)
    return "archive_day", {
        "of": day,
        "hours": hours,
        "base": "/api/v1/archive/",
        "book": await asyncio.to_thread((directory / MANIFEST).exists),
    }


# The log, the keys, how to verify


async def _log(look: Look, connection: AsyncConnection) -> Made:
    place = look.place
    now_us = place.now_us()
    identity = await read_identity(connection, place.settings, place.rules, now_us)
    view = await portal_log.view_log(connection, place.rules, look.before())
    keys = [key_line(one, instant(now_us), look.local) for one in identity.ring.keys.values()]
    return "log", {
        "view": view,
        "origin": identity.origin,
        "vkeys": [str(one) for one in identity.vkeys],
        "witnesses": place.settings.log.witnesses,
        "keys": list(reversed(keys)),
        "tell": partial(entry_text, look.say),
        **_around(look, view.older),
    }


async def _entry(look: Look, connection: AsyncConnection) -> Made:
    index = look.number("index")
    view = await portal_log.view_entry(connection, look.place.rules, index)
    if view is None:
        raise DocumentError(f"the log has no entry {index}")
    path = entry_path(view.entry.told)
    return "entry", {
        "view": view,
        "tell": partial(entry_text, look.say),
        "href": f"{look.root}/{path}" if path else "",
    }


async def _verify(look: Look, connection: AsyncConnection) -> Made:
    place = look.place
    identity = await read_identity(connection, place.settings, place.rules, place.now_us())
    newest = (await portal_documents.count_reports(connection, place.rules))[2]
    day, version = (newest.period, newest.version) if newest else ("DAY", 1)
    return "verify", {"steps": steps(look.base, identity, day, version)}


async def _addresses(look: Look, connection: AsyncConnection) -> Made:
    caller = look.caller
    events = await door_chain.newest_of(connection, caller.name, EVENTS_SHOWN) if caller else []
    return "addresses", {
        "addresses": ADDRESSES,
        "base": look.base,
        "open_scopes": OPEN_SCOPES,
        "until": look.place.rules.local(caller.expires_us) if caller else None,
        "visits": [visit_line(one, look.place.rules.local(one.at_us)) for one in events],
    }


VIEWS: Final = {
    "": View(_overview, ""),
    "reports": View(_reports, "reports", Scope.REPORTS),
    "reports/{day}": View(_newest_report, "reports", Scope.REPORTS),
    "reports/{day}/{version}": View(_report, "reports", Scope.REPORTS),
    "forms": View(_forms, "forms", Scope.FORMS),
    "forms/{period}/{form}": View(_newest_form, "forms", Scope.FORMS),
    "forms/{period}/{form}/{version}": View(_form, "forms", Scope.FORMS),
    "submissions": View(_submissions, "submissions", Scope.FORMS),
    "archive": View(_archive, "archive", Scope.ARCHIVE),
    "archive/{day}": View(_archive_day, "archive", Scope.ARCHIVE),
    "log": View(_log, "log"),
    "log/{index}": View(_entry, "log"),
    "verify": View(_verify, "verify"),
    "addresses": View(_addresses, "addresses"),
}
"""By address below the language."""
