"""The daily report as schema 1 told it: what `kz-dmp-daily/2` has beside that, taken away.

Reports of schema 1 stay published for good. Whether the same facts would still make one is found by building
the report of today's schema and telling it as it was told then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reporting.daily_facts import Json
from reporting.equalities import FIRST_SCHEMA

_SINCE: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset(
        {
            *("report_id", "software_digest", "addressees", "form_versions", "register"),
            *("distributions", "bookings_apart", "mandatory_sale", "compliance", "commitments"),
        }
    ),
    "pool": frozenset({"accreditation", "sites", "security_test_protocol"}),
    "miners": frozenset(
        {
            *("devices_registered", "devices_active", "workers_unmatched", "data_centre_ids"),
            *("first_share_at", "last_share_at", "salt"),
        }
    ),
    "blocks": frozenset({"status", "previous_hash", "network_work"}),
    "window": frozenset({"multiple"}),
    "totals": frozenset(
        {
            *("devices_registered", "devices_active", "distributions"),
            *("distributed_sat", "distributed", "distributed_commission_sat", "distributed_commission"),
        }
    ),
}
"""Members that came with schema 2, by where they stand."""
_FORMS: Final = "report_form_"


def in_first_schema(report: Mapping[str, Any]) -> Json:
    """A report of the newest schema, told in the first."""
    told = _without("", report)
    told["schema"] = FIRST_SCHEMA
    for where in ("pool", "totals"):
        told[where] = _without(where, report[where])
    told["miners"] = [_without("miners", row) for row in report["miners"]]
    told["blocks"] = [_block(row) for row in report["blocks"]]
    told["rules_in_force"] = [_rule(row) for row in report["rules_in_force"]]
    return told


def _without(where: str, row: Mapping[str, Any]) -> Json:
    return {key: value for key, value in row.items() if key not in _SINCE[where]}


def _block(row: Mapping[str, Any]) -> Json:
    block, window = _without("blocks", row), row["window"]
    return {**block, "window": None if window is None else _without("window", window)}


def _rule(row: Mapping[str, Any]) -> Json:
    """The columns of the official forms were not among the rules then."""
    if not row["rule"].startswith(_FORMS):
        return dict(row)
    return {**row, "values": {key: value for key, value in row["values"].items() if key != "columns"}}
