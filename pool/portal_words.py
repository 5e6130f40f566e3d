"""What the portal says of entries of the log, of keys and of its own addresses, beyond plain texts.

Everything here is chosen from what was signed or stored and put into words of the catalogue; a kind of entry
that this program does not know is called by its own name.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from pool.door_chain import Passage
from pool.door_regulators import Scope
from pool.door_verifier import FILE, verifier
from pool.portal_identity import VERIFIER_PATH, Identity
from register.event import Event
from reporting.keyring import Key

Say = Callable[..., str]
_LIMIT: Final = 80
"""Characters of what an entry calls itself."""


class KeyLine(NamedTuple):
    """A key that signs reports, as the page lists it."""

    key_id: str
    public_key: str
    state: str
    """`in_force`, `to_come`, `replaced` or `revoked`."""
    valid_from: dt.datetime
    valid_to: dt.datetime | None
    reason: str
    """Why it was revoked."""
    authorised_by: str | None


class Address(NamedTuple):
    """An address of the pool, and what opens it; without a scope it is for everybody."""

    path: str
    about: str
    """Its text in the catalogue."""
    scope: str = ""


class VisitLine(NamedTuple):
    """A visit of the caller, as the chain of accesses has it."""

    seq: int
    at: dt.datetime
    address: str
    path: str
    status: int
    refused: str
    """Why, in a word; empty for one that was let in."""


class Step(NamedTuple):
    """A step of checking the pool: its texts are `step_ID` and `step_ID_text`."""

    id: str
    command: str = ""
    values: tuple[tuple[str, str], ...] = ()
    """Texts and what belongs to each."""


ADDRESSES: Final = (
    Address("/api/v1/reports", "reports", Scope.REPORTS),
    Address("/api/v1/reports/DAY/VERSION", "report", Scope.REPORTS),
    Address("/api/v1/reports/DAY/VERSION/pdf/LANGUAGE", "pdf", Scope.REPORTS),
    Address("/api/v1/reports/DAY/VERSION/signatures", "signatures", Scope.REPORTS),
    Address("/api/v1/reports/DAY/VERSION/proof", "proof", Scope.REPORTS),
    Address("/api/v1/forms", "forms", Scope.FORMS),
    Address("/api/v1/forms/MONTH/FORM/VERSION", "form", Scope.FORMS),
    Address("/api/v1/forms/MONTH/FORM/VERSION/file/KIND", "form_file", Scope.FORMS),
    Address("/api/v1/forms/MONTH/FORM/VERSION/annex/KIND", "annex", Scope.FORMS),
    Address("/api/v1/submissions", "submissions", Scope.FORMS),
    Address("/api/v1/archive", "archive", Scope.ARCHIVE),
    Address("/api/v1/archive/YYYY/MM/DD/HH.parquet", "hour", Scope.ARCHIVE),
    Address("/api/v1/register", "register", Scope.REGISTER),
    Address("/api/v1/keys", "keys"),
    Address("/log/checkpoint", "checkpoint"),
    Address("/log/tile/LEVEL/INDEX", "tiles"),
    Address("/verifier/dmpool_verify.py", "verifier"),
    Address("/.well-known/dmpool.json", "well_known"),
    Address("/openapi.json", "openapi"),
)


def entry_text(say: Say, told: Mapping[str, Any]) -> str:
    """What an entry of the log tells, in words."""
    match told:
        case {"kind": "report", "day": str(day), "version": int(version)}:
            return say("tells_report", day=dt.date.fromisoformat(day), version=version)
        case {"kind": "form", "form": str(form), "period": str(period), "version": int(version)}:
            return say("tells_form", form=form, period=period, version=version)
        case {"kind": "rules", "first_day": str(day)}:
            return say("tells_rules", day=dt.date.fromisoformat(day))
        case {"kind": "register", "day": str(day), "events": int(events)}:
            return say("tells_register", day=dt.date.fromisoformat(day), events=events)
        case {"kind": "access", "day": str(day), "events": int(events)}:
            return say("tells_access", day=dt.date.fromisoformat(day), events=events)
        case {"kind": "key", "action": "introduced" | "rotated" | "revoked" as action, "key_id": str(key)}:
            return say(f"tells_key_{action}", key=key)
        case {"kind": "log_key"}:
            return say("tells_log_key")
        case _:
            return str(told.get("kind", ""))[:_LIMIT]


def entry_path(told: Mapping[str, Any]) -> str:
    """The portal's page of what an entry tells of, below the language; empty where there is none."""
    match told:
        case {"kind": "report", "day": day, "version": version}:
            return f"reports/{day}/{version}"
        case {"kind": "form", "form": form, "period": period, "version": version}:
            return f"forms/{period}/{form}/{version}"
        case {"kind": "key" | "log_key"}:
            return "log"
        case {"kind": "access"}:
            return "addresses"
        case _:
            return ""


def key_line(key: Key, at: dt.datetime, local: Callable[[dt.datetime], dt.datetime]) -> KeyLine:
    """A key at an instant; `local` gives a moment as the clock in Kazakhstan shows it."""
    ends = [one for one in (key.valid_to, key.revoked_from) if one is not None]
    end = min(ends, default=None)
    if at < key.valid_from:
        state = "to_come"
    elif key.refusal(at) is None:
        state = "in_force"
    else:
        state = "revoked" if key.revoked_from is not None and end == key.revoked_from else "replaced"
    return KeyLine(
        key_id=key.key_id,
        public_key=key.public_key,
        state=state,
        valid_from=local(key.valid_from),
        valid_to=None if end is None else local(end),
        reason=key.revoked_reason or "",
        authorised_by=key.authorised_by,
    )


def visit_line(event: Event, at: dt.datetime) -> VisitLine:
    """An event of the chain of accesses that tells of a visit."""
    told = msgspec.json.decode(event.body, type=Passage)
    return VisitLine(event.seq, at, told.address, told.path, told.status, event.reason)


def steps(base: str, told: Identity, day: str, version: int) -> tuple[Step, ...]:
    """How a stranger checks this pool, with the commands for it, of the report of a day."""
    name, sha256 = FILE.name, verifier()[1]
    known = (("key_now", told.key.public_key),) if told.key else ()
    report = f"{base}/api/v1/reports/{day}/{version}"
    get = 'curl -fsS -H "Authorization: Bearer $TOKEN"'
    return (
        Step("anchor", values=known),
        Step(
            "verifier",
            f'curl -fsSO {base}{VERIFIER_PATH}\necho "{sha256}  {name}" | sha256sum -c',
            (("verifier_sha256", sha256),),
        ),
        Step(
            "fetch",
            f"{get} {report} -o report.json\n"
            f"{get} {report}/proof -o report.tlog-proof\n"
            f"curl -fsS {base}/api/v1/keys -o keys.json",
        ),
        Step("run", f"python3 {name} --key $KEY --keys keys.json --proof report.tlog-proof report.json"),
        Step("keep", f"curl -fsS {base}/log/checkpoint -o checkpoint-$(date +%F)"),
        Step(
            "more",
            f"python3 {name} --key $KEY --keys keys.json --log log/ --old checkpoint-2026-11-01 "
            f"--archive archive/ reports/",
        ),
    )
