"""What a daily report tells of the law being kept, as tables: mandatory sale, refusals and acts, dated rules.

O-50 to O-52, O-03, O-07 to O-12, and invariant 8. Only reports of schema 2 have the first two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from reporting.report_tables_shape import Kind, Section
from reporting.report_tables_words import Cells, Json, Words

_NUMBER, _CODE = Kind.NUMBER, Kind.CODE
_ELSEWHERE: Final = ("columns", "name", "name_ru", "name_kk", "names_seen")
"""Values of rules that a report shows in other places: headings of forms, names of bodies."""


def law_sections(report: Json, words: Words) -> Iterator[Section]:
    """In the order of the report."""
    names = {row["id"]: row["name"] for row in report["miners"]}
    if "mandatory_sale" in report:
        yield _sale(report["mandatory_sale"], names, words)
        yield from _confirmations(report["mandatory_sale"], names, words)
    if "compliance" in report:
        yield _compliance(report, names, words)
    yield _rules(report["rules_in_force"], words)


# Mandatory sale


def _sale(rows: list[Json], names: dict[int, str], words: Words) -> Section:
    cells = [
        Cells("miner", lambda row: names.get(row["miner_id"], str(row["miner_id"]))),
        Cells("sale_period", lambda row: row["period"]),
        Cells("rule_share", lambda row: words.percent(row["rule_share_bps"]), _NUMBER),
        Cells("sale_base", lambda row: words.word("base", row["base"])),
        Cells("mined", lambda row: words.bitcoin(row["mined_sat"]), _NUMBER),
        Cells("delivered", lambda row: words.bitcoin(row["delivered_sat"]), _NUMBER),
        Cells("realised", lambda row: words.bitcoin(row["realised_sat"]), _NUMBER),
        Cells("sold_eligible", lambda row: words.bitcoin(row["sold_eligible_sat"]), _NUMBER),
        Cells("share_of_mined", lambda row: words.percent(row["share_of_mined_bps"]), _NUMBER),
        Cells("share_of_realised", lambda row: words.percent(row["share_of_realised_bps"]), _NUMBER),
        Cells("shortfall_of_mined", lambda row: words.bitcoin(row["shortfall_of_mined_sat"]), _NUMBER),
        Cells("shortfall_of_realised", lambda row: words.bitcoin(row["shortfall_of_realised_sat"]), _NUMBER),
        Cells("shortfall", lambda row: words.bitcoin(row["shortfall_sat"]), _NUMBER),
    ]
    return words.table("sale", cells, rows, note=words.text("note.sale"))


def _confirmations(rows: list[Json], names: dict[int, str], words: Words) -> Iterator[Section]:
    told = [{"miner_id": row["miner_id"], **one} for row in rows for one in row["confirmations"]]
    cells = [
        Cells("confirmation", lambda row: words.number(row["number"]), _NUMBER),
        Cells("miner", lambda row: names.get(row["miner_id"], str(row["miner_id"]))),
        Cells("told_by", lambda row: words.word("teller", row["told_by"])),
        Cells("sold_on", lambda row: words.day(row["sold_on"])),
        Cells("exchange", lambda row: row["exchange"]),
        Cells("exchange_licence", lambda row: " ".join(filter(None, (row["licensor"], row["licence"])))),
        Cells("trade", lambda row: row["reference"]),
        Cells("quantity", lambda row: words.bitcoin(row["quantity_sat"]), _NUMBER),
        Cells("sold_for", lambda row: f"{words.money(row['amount'])} {row['currency']}", _NUMBER),
        Cells("eligible", lambda row: words.truth(row["eligible"])),
        Cells("beyond", lambda row: words.truth(row["beyond_distributed"])),
    ]
    if told:
        yield words.table("confirmations", cells, told)


# Compliance


def _compliance(report: Json, names: dict[int, str], words: Words) -> Section:
    day = report["report_date"]
    cells = [
        Cells("at", lambda row: words.clock(row["at"], day)),
        Cells("miner", lambda row: names.get(row["miner_id"]) or row["account"] or ""),
        Cells("what", lambda row: words.word("kind", row["kind"])),
        Cells("details", lambda row: "; ".join(_details(row, day, words))),
        Cells("count", lambda row: words.number(row.get("count")), _NUMBER),
    ]
    note = words.text("note.times", zone=f"UTC{report['timezone']}")
    return words.table("compliance", cells, report["compliance"], note=note)


def _details(row: Json, day: str, words: Words) -> Iterator[str]:
    """What a row has beside kind, miner, time and count, in words."""
    match row["kind"]:
        case "licence_act":
            yield words.text("detail.licence", licence=row["licence"])
            yield words.word("act", row["action"])
            if row["act_number"]:
                yield words.text("detail.act", number=row["act_number"], day=words.day(row["act_on"]))
            if row["until"]:
                yield words.text("detail.until", day=words.day(row["until"]))
            if row["reason_code"]:
                yield words.text("detail.ground", code=row["reason_code"])
        case "licence_turn":
            yield words.text("detail.licence", licence=row["licence"])
            yield words.word("status", row["status"])
        case "address":
            yield words.word("address", row["action"])
            yield row["exchange"] or words.word("purpose", row["purpose"])
            yield row["address"]
            yield words.text("detail.effective", at=words.moment(row["effective_at"]))
        case "devices":
            yield words.word("devices", row["action"])
        case _:
            if row["reason"]:
                yield words.word("reason", row["reason"])
            if "workers" in row:
                yield words.text("detail.workers", count=words.number(row["workers"]))
                yield words.text("detail.last", at=words.clock(row["last_at"], day))


# Rules


def _rules(rows: list[Json], words: Words) -> Section:
    cells = [
        Cells("rule", lambda row: row["rule"]),
        Cells("effective_from", lambda row: words.day(row["effective_from"])),
        Cells("values", lambda row: _values(row["values"])),
        Cells("source", lambda row: row["source"]),
        Cells("confidence", lambda row: words.word("confidence", row["confidence"])),
    ]
    return words.table("rules", cells, rows, note=words.text("note.rules"))


def _values(values: Json) -> str:
    """As the rules file has them."""
    return "; ".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
        if key not in _ELSEWHERE
    )
