"""What a rules file may say: every rule, its keys, and what each key may hold.

The rules are of two sorts: what the law or an act under it says, and our own default where no text was found
(`regulation.md` section 4 numbers these Q-01 and on). Both are dated, so that a past day keeps its answer
when one changes. `register.rules` reads the file and answers; nothing is decided here.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeGuard

from register.form_columns import WHOLE, parse_columns

Value = str | int | bool | list[str] | list[int]

UNKNOWN_DEVICE_MODES: Final = ("strict", "quarantine", "monitor")
"""A worker that names no hardware unit is refused, let in without credit, or only flagged (O-07, Q-14)."""
CONFIDENCES: Final = ("primary", "secondary", "assumed")
LANGUAGES: Final = ("en", "ru", "kk")
OFFSET: Final = re.compile(r"([+-])(0\d|1[0-4]):([0-5]\d)")


class Field(NamedTuple):
    """What a key may hold, in words for an error and as a test."""

    wanted: str
    holds: Callable[[object], bool]


def _whole(low: int, high: int) -> Field:
    # exact types: True is an int, a date-time is a date
    return Field(
        f"a whole number from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high,
    )


def _one_of(*choices: str) -> Field:
    return Field(" or ".join(f'"{choice}"' for choice in choices), lambda value: value in choices)


def _some_of(*choices: str) -> Field:
    known = ", ".join(f'"{choice}"' for choice in choices)
    return Field(
        f"a list of one or more of {known}, none twice",
        lambda value: _is_list(value) and all(item in choices for item in value),
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value) and value == value.strip()


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and bool(value) and all(value.count(item) == 1 for item in value)


def _are_texts(value: object) -> bool:
    return _is_list(value) and all(_is_text(item) for item in value)


def _are_days(value: object) -> bool:
    if not _is_list(value) or not all(type(item) is int and 1 <= item <= 1000 for item in value):
        return False
    return value == sorted(value, reverse=True)


_TEXT: Final = Field("a printable text that is not empty", _is_text)
_TEXTS: Final = Field("a list of one or more printable texts, none twice", _are_texts)
_DAYS: Final = Field("a list of numbers of days from 1 to 1000, the longest first", _are_days)
_TRUTH: Final = Field("true or false", lambda value: type(value) is bool)
_DATE: Final = Field("a date such as 2026-01-31", lambda value: type(value) is dt.date)
_OFFSET_FIELD: Final = Field(
    'an offset such as "+05:00"', lambda value: isinstance(value, str) and OFFSET.fullmatch(value) is not None
)
_FORM: Final = {
    "form": _TEXT,
    "period": _one_of("month"),
    "deadline_day": _whole(1, 28),
    "reminder_day": _whole(1, 28),
    "transport": _one_of("file", "api"),
    "complete": _TRUTH,
    "columns": _TEXTS,
}
_BODY: Final = {"name": _TEXT, "name_ru": _TEXT, "name_kk": _TEXT, "names_seen": _some_of(*LANGUAGES)}

COMMON: Final[Mapping[str, Field]] = {
    "effective_from": _DATE,
    "source": _TEXT,
    "confidence": _one_of(*CONFIDENCES),
}
"""What every row carries: since when, from where, and how sure."""
SCHEMA: Final[Mapping[str, Mapping[str, Field]]] = {
    "timezone": {"offset": _OFFSET_FIELD},
    "licence": {
        "term_years": _whole(1, 100),
        "suspension_months_min": _whole(1, 120),
        "suspension_months_max": _whole(1, 120),
        "auto_resume": _TRUTH,
        "issuer": _one_of("authorised_body", "afsa", "national_bank"),
    },
    "licence_warning": {"days": _DAYS, "miner_notice_days": _whole(0, 1000)},
    "accreditation": {"term_years": _whole(0, 100), "warning_days": _DAYS},
    "unknown_device": {"mode": _one_of(*UNKNOWN_DEVICE_MODES)},
    "device_watch": {"overrate_percent": _whole(101, 10_000), "min_sigma": _whole(1, 100)},
    "address_change": {"waiting_hours": _whole(0, 24 * 366)},
    "suspension_payout": {"mode": _one_of("allow", "hold")},
    "ended_payout": {"mode": _one_of("allow", "hold")},
    "distribution": {"date": _one_of("transfer", "credited")},
    "digital_assets": {"listed": _TEXTS},
    "mandatory_sale": {"min_share_bps": _whole(0, 10_000), "licensors": _some_of("AFSA", "NBK")},
    "sale_measure": {"base": _one_of("mined", "realised"), "period": _one_of("month", "quarter", "year")},
    "sale_mode": {"mode": _one_of("off", "monitor", "split_payout")},
    "official_value": {
        "act": _TEXT,
        "quotation": _TEXT,
        "average": _one_of("day"),
        "taken_on": _one_of("receipt"),
        "day_off": _one_of("preceding_working_day"),
        "rate": _one_of("national_bank"),
    },
    "mining_fee": {
        "lowest_tenge_per_kwh": _whole(0, 1000),
        "highest_tenge_per_kwh": _whole(0, 1000),
        "due_day": _whole(1, 28),
    },
    "report_form_2023": _FORM,
    "report_form_2026": _FORM,
    "retention": {"years": _whole(1, 100)},
    "authorised_body": _BODY,
    "tax_authority": _BODY,
}
"""The rules, and the keys of each beside those that every row carries."""

_ORDERED: Final = (
    ("licence", "suspension_months_min", "suspension_months_max"),
    ("mining_fee", "lowest_tenge_per_kwh", "highest_tenge_per_kwh"),
    ("report_form_2023", "reminder_day", "deadline_day"),
    ("report_form_2026", "reminder_day", "deadline_day"),
)


def whole_row(rule: str, values: Mapping[str, Value]) -> str | None:
    """What contradicts itself in a row whose keys are right one by one; None when nothing does."""
    for named, lower, upper in _ORDERED:
        if named == rule and int(values[lower]) > int(values[upper]):  # type: ignore[arg-type]
            return f"{lower} = {values[lower]} is more than {upper} = {values[upper]}; exchange them"
    return _wrong_columns(values) if "columns" in values else None


def _wrong_columns(values: Mapping[str, Value]) -> str | None:
    try:
        fields = {column.field for column in parse_columns(values["columns"])}  # type: ignore[arg-type]
    except ValueError as error:
        return f"columns: {error}"
    missing = [field for field in WHOLE if field not in fields]
    if values["complete"] and missing:
        return f"complete = true, but columns has no {missing[0]}; add it, or write complete = false"
    return None
