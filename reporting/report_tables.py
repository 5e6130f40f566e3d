"""The tables of the daily report and of the monthly income form, in Kazakh, Russian and English.

They show what was signed and compute nothing of their own but how it reads: PDF (`reporting.pdf`) and the
page for people are made of the same `Document`. A report is here the signed member `report` of its envelope,
of either schema; parts that schema 1 does not have are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from register.miner import Language
from reporting import report_tables_daily, report_tables_income
from reporting.report_tables_shape import Column, Document, Kind, Section
from reporting.report_tables_words import Words

__all__ = ["Column", "Document", "Kind", "Section", "daily_tables", "income_tables"]


def daily_tables(report: Mapping[str, Any], language: Language) -> Document:
    """A daily report, schema `kz-dmp-daily/1` or `/2`."""
    return report_tables_daily.document(dict(report), Words(language))


def income_tables(form: Mapping[str, Any], language: Language) -> Document:
    """A monthly form, schema `kz-dmp-income/1`."""
    return report_tables_income.document(dict(form), Words(language))
