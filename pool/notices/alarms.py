"""What Alertmanager says (webhook version 4), as notices: one when an alarm fires, one when it is over. Pure.

Alertmanager repeats itself, and a pair of them says all twice: an alarm is known by its labels and by when it
began, so that repeats are no notices. Only a critical one that Alertmanager says again is told again, once in
each hour of its life. What comes from outside is cut, and cannot break a line, hide, or flood.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from pool.clock import microseconds
from pool.notices.notice import SEVERITIES, Draft, Severity

ALERTS_LIMIT: Final = 200
"""In one request; how many more there were is told in one notice."""
_HOUR_US: Final = 3_600_000_000
_SHORT: Final = 300
_LONG: Final = 1200
_TOLD_APART: Final = ("alertname", "severity")


class AlarmError(ValueError):
    """The request cannot be understood. The message says where and what is wanted."""


class Alert(msgspec.Struct, frozen=True):
    """One alarm."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    startsAt: dt.datetime  # noqa: N815 - Alertmanager's name
    endsAt: dt.datetime | None = None  # noqa: N815
    annotations: dict[str, str] = {}


class Group(msgspec.Struct, frozen=True):
    """One request of Alertmanager."""

    version: Literal["4"]
    alerts: list[Alert]
    truncatedAlerts: int = 0  # noqa: N815
    """How many Alertmanager left out itself."""


_decoder: Final = msgspec.json.Decoder(Group)


def alarms(body: bytes, now_us: int) -> list[Draft]:
    """The notices that a request's body is about; raises AlarmError."""
    try:
        group = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AlarmError(f"not a request of Alertmanager's webhook, version 4: {error}") from None
    drafts = [_draft(alert, now_us) for alert in group.alerts[:ALERTS_LIMIT]]
    more = max(len(group.alerts) - ALERTS_LIMIT, 0) + max(group.truncatedAlerts, 0)
    return [*drafts, _left_out(group, more, now_us)] if more and drafts else drafts


def _left_out(group: Group, more: int, now_us: int) -> Draft:
    """Told once an hour of those that begin with the same alarm."""
    first = group.alerts[0]
    return Draft(
        at_us=now_us,
        kind="alarm",
        event="alarms_left_out",
        severity="warning",
        key=f"alarms_left_out:{_identity(first.labels)}:{now_us // _HOUR_US}",
        data={"count": more, "name": _name(first)},
    )


def _name(alert: Alert) -> str:
    return _line(alert.labels.get("alertname", ""), _SHORT) or "alarm"


def _draft(alert: Alert, now_us: int) -> Draft:
    began_us = _instant(alert.startsAt)
    over = alert.status == "resolved"
    ended_us = _instant(alert.endsAt) if over and alert.endsAt is not None else began_us
    told = alert.annotations
    name, severity = _name(alert), _severity(alert.labels)
    hours = (now_us - began_us) // _HOUR_US if severity == "critical" and not over and began_us > 0 else 0
    summary = _line(told.get("summary", "") or told.get("description", ""), _SHORT) or name
    labels = ", ".join(
        f"{key}={value}" for key, value in sorted(alert.labels.items()) if key not in _TOLD_APART
    )
    data: dict[str, str | int] = {"name": name, "summary": summary, "labels": _line(labels, _SHORT)}
    if not over:
        data["description"] = _line(told.get("description", ""), _LONG)
        data["runbook"] = _line(told.get("runbook_url", ""), _SHORT)
    key, event = f"alarm:{_identity(alert.labels)}:{began_us}:{alert.status}", f"alarm_{alert.status}"
    if hours > 0:
        data["hours"] = hours
        key, event = f"{key}:{hours}", "alarm_goes_on"
    return Draft(
        at_us=now_us if hours > 0 else min(max(ended_us, 0), now_us),
        kind="alarm",
        event=event,
        severity=severity,
        key=key,
        data=data,
    )


def _instant(at: dt.datetime) -> int:
    return microseconds(at if at.tzinfo is not None else at.replace(tzinfo=dt.UTC))


def _identity(labels: Mapping[str, str]) -> str:
    return hashlib.sha256(msgspec.json.encode(labels, order="sorted")).hexdigest()[:32]


def _severity(labels: Mapping[str, str]) -> Severity:
    named = labels.get("severity", "").lower()
    return next((one for one in SEVERITIES if one == named), "warning")


def _line(text: str, limit: int) -> str:
    """One line of what a stranger wrote."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(plain.split())[:limit]
