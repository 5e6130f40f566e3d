"""What follows from time alone: licences and accreditations that end, a report or a form that is late.

Looked at every minute. A key says of which licence and which step it is, so that each is told once; what was
over long before notices began is not told at all. Days are days in Kazakhstan.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from pool.notices.notice import Draft, Severity
from pool.report_keeper import next_day
from pool.reports import GRACE_US
from register.licence import Licence, Status
from register.register import Register
from register.rules import Rules
from reporting.deadlines import Due

LATE_US: Final = 7_200_000_000
"""A report that could have been built for so long is late: as the alarm has it."""
_STEPS: Final[dict[int, Severity]] = {1: "critical", 7: "warning", 30: "info"}
"""Days before its last day on which a licence is told of, the nearest first."""
_WEEK: Final = 7
_LONG: Final = dt.timedelta(days=31)
_DAY: Final = dt.timedelta(days=1)
_HOUR_US: Final = 3_600_000_000


def licences(register: Register, rules: Rules, now_us: int, began_us: int) -> Iterator[Draft]:
    """Licences whose last day is near, and those whose term has run out since notices began."""
    today, began = rules.day_of(now_us), rules.day_of(began_us)
    for licence in register.licences.values():
        left = (licence.last_day - today).days
        if not -_LONG.days <= left <= max(_STEPS) or licence.valid_from > today:
            continue
        phase = licence.phase_at(now_us, rules)
        if phase.status is Status.REVOKED or _taken_over(register, licence):
            continue
        if phase.status is Status.ENDED:
            if phase.act is None and licence.last_day >= began - _DAY:
                yield _licence(register, licence, now_us, "over", "warning", left)
            continue
        step = min((days for days in _STEPS if left <= days), default=None)
        if step is not None:
            yield _licence(register, licence, now_us, f"ending:{step}", _STEPS[step], left)


def _licence(
    register: Register, licence: Licence, now_us: int, step: str, severity: Severity, left: int
) -> Draft:
    miner = register.miners.get(licence.miner_id)
    data: dict[str, str | int] = {
        "account": miner.name if miner else "?",
        "licence": licence.number,
        "day": licence.last_day.isoformat(),
        "days": left,
    }
    return Draft(
        at_us=now_us,
        kind="licence",
        event=f"licence_{step.partition(':')[0]}",
        severity=severity,
        key=f"licence_{step}:{licence.number}:{licence.last_day}",
        data=data,
        audience="both",
        miner_id=licence.miner_id,
    )


def _taken_over(register: Register, licence: Licence) -> bool:
    """Whether another licence of the miner holds on the day after the last."""
    after = licence.last_day + _DAY
    return any(
        one.valid_from <= after <= one.last_day
        for one in register.licences_of(licence.miner_id)
        if one.number != licence.number
    )


def accreditations(register: Register, rules: Rules, now_us: int, began_us: int) -> Iterator[Draft]:
    """The pool's own accreditation (O-20, O-21), where it ends or has ended and no other follows."""
    today, began = rules.day_of(now_us), rules.day_of(began_us)
    row = rules.find("accreditation", today)
    days = {*_STEPS, *(row.integers("warning_days") if row else ())}
    for one in register.accreditations.values():
        last = one.valid_to
        if last is None or one.issued_on > today:
            continue
        left = (last - today).days
        if any(other.covers(max(last + _DAY, today)) for other in register.accreditations.values()):
            continue
        step = min((step for step in days if left <= step), default=None)
        if left < 0 and last >= began - _DAY:
            yield _accreditation(one.number, last, now_us, "over", "critical", left)
        elif left >= 0 and step is not None:
            severity: Severity = "critical" if step <= _WEEK else "warning"
            yield _accreditation(one.number, last, now_us, f"ending:{step}", severity, left)


def _accreditation(
    number: str, last: dt.date, now_us: int, step: str, severity: Severity, left: int
) -> Draft:
    data: dict[str, str | int] = {"number": number, "day": last.isoformat(), "days": left}
    event = f"accreditation_{step.partition(':')[0]}"
    return Draft(now_us, "licence", event, severity, f"accreditation_{step}:{number}:{last}", data)


async def late_report(connection: AsyncConnection, rules: Rules, now_us: int) -> list[Draft]:
    """The oldest day that could have been reported for hours, and was not: those behind it wait for it."""
    day = await next_day(connection, rules)
    if day is None:
        return []
    late_us = now_us - rules.day_bounds(day)[1] - GRACE_US
    if late_us < LATE_US:
        return []
    data: dict[str, str | int] = {
        "day": day.isoformat(),
        "iso": day.isoformat(),
        "hours": late_us // _HOUR_US,
    }
    return [Draft(now_us, "report", "report_late", "critical", f"report_late:{day}", data)]


def forms(dues: Iterable[Due], rules: Rules, now_us: int, began_us: int) -> Iterator[Draft]:
    """Income forms that nobody submitted: on their day of reminder, and when their deadline is over."""
    today, began = rules.day_of(now_us), rules.day_of(began_us)
    for due in dues:
        if not due.reminded(today) or due.deadline < began - _LONG:
            continue
        late = due.late(today)
        yield Draft(
            at_us=now_us,
            kind="report",
            event="form_late" if late else "form_due",
            severity="critical" if late else "warning",
            key=f"form_{'late' if late else 'due'}:{due.form}:{due.period}:{due.addressee}",
            data={
                "form": due.form,
                "period": due.period,
                "addressee": due.addressee,
                "day": due.deadline.isoformat(),
            },
        )
