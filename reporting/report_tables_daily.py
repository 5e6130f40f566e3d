"""The daily report as tables: who reports, sums, miners, blocks, payments, and what the report commits to.

The order is that of a reader who asks: is it the right report, does it add up, who mined, who was paid, was
the law kept (`reporting.report_tables_law`), and what proves it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from payouts.journal import EntryKind
from reporting.daily import report_id
from reporting.report_tables_law import law_sections
from reporting.report_tables_shape import Document, Kind, Section
from reporting.report_tables_words import NOTHING, Cells, Json, Words, unit_for

_TEXT, _NUMBER, _CODE = Kind.TEXT, Kind.NUMBER, Kind.CODE
_OWED: Final = (
    *("opening", "credited", "per_share", "corrected", "reversed", "paid", "closing"),
    "matured",
)
"""What a miner was owed and what became of it, in the order of the sum; what matured is a part of it."""


def document(report: Json, words: Words) -> Document:
    """See `reporting.report_tables`."""
    pool, day = report["pool"], report["report_date"]
    return Document(
        language=words.language,
        reference=report.get("report_id") or report_id(pool["bin"], day, report["version"]),
        title=words.text("title.daily"),
        subtitle=(
            pool["name"],
            words.text("subtitle.daily", day=words.long_day(day), version=report["version"]),
        ),
        notice="" if report["day_complete"] else words.text("notice.unfinished"),
        made_at=report["generated_at"],
        sections=[
            _report(report, words),
            _pool(report, words),
            _totals(report, words),
            _commission(report, words),
            *_sites(report, words),
            _refused(report, words),
            _miners(report, words),
            _work(report, words),
            _balances(report, words),
            _blocks(report, words),
            _parts(report, words),
            *_distributions(report, words),
            *_apart(report, words),
            *law_sections(report, words),
            _journal(report, words),
            *_corrections(report, words),
            *_commitments(report, words),
        ],
    )


def _report(report: Json, words: Words) -> Section:
    rows = [
        ("day", words.long_day(report["report_date"])),
        ("day_bounds", f"{words.moment(report['day_start'])} – {words.moment(report['day_end'])}"),
        ("timezone", f"UTC{report['timezone']}"),
        ("version", words.number(report["version"])),
        ("sequence", words.number(report["sequence"])),
        ("made_at", words.moment(report["generated_at"])),
        ("software", report["software_version"]),
        ("software_digest", report.get("software_digest", "")),
        ("previous_report", report["previous_report_sha256"] or ""),
    ]
    if report["replaces_sha256"]:
        rows += [("replaces", report["replaces_sha256"]), ("reason", report["correction_reason"] or "")]
    rows += addressee_rows(report.get("addressees", ()), words)
    rows += [
        ("form_in_force", f"{one['form']} ({words.day(one['effective_from'])})")
        for one in report.get("form_versions", ())
    ]
    if "register" in report:
        register = report["register"]
        rows += [
            ("register_events", words.number(register["events"])),
            ("register_head", str(register["seq"])),
            ("register_sha256", register["sha256"]),
        ]
    return words.facts("report", rows)


def addressee_rows(addressees: object, words: Words) -> list[tuple[str, str]]:
    """The two bodies, each by its name in the language (O-40)."""
    member = "name" if words.language == "en" else f"name_{words.language}"
    return [(one["role"], one[member]) for one in addressees]  # type: ignore[attr-defined]


def _pool(report: Json, words: Words) -> Section:
    pool = report["pool"]
    rows = [
        ("pool_name", pool["name"]),
        ("pool_bin", pool["bin"]),
        ("chain", pool["chain"]),
        ("coinbase_address", pool["address"]),
        ("commission_rate", f"{words.percent(pool['commission_bps'])} %"),
    ]
    if (accreditation := pool.get("accreditation")) is not None:
        rows += [
            ("accreditation_number", accreditation["number"]),
            ("accreditation_issued", words.day(accreditation["issued_on"])),
            ("accreditation_until", words.day(accreditation["valid_to"])),
            ("accreditation_issuer", accreditation["issuer"]),
        ]
    elif "accreditation" in pool:
        rows.append(("accreditation_number", words.text("none_in_force")))
    if (protocol := pool.get("security_test_protocol")) is not None:
        rows += [
            ("protocol_number", protocol["number"]),
            ("protocol_on", words.day(protocol["on"])),
            ("protocol_laboratory", protocol["laboratory"]),
            ("protocol_version", protocol["version"]),
            ("protocol_covers", words.truth(protocol["covers_running_version"])),
        ]
    elif "security_test_protocol" in pool:
        rows.append(("protocol_number", words.text("no_protocol")))
    return words.facts("pool", rows)


def _sites(report: Json, words: Words) -> Iterator[Section]:
    if "sites" in report["pool"]:
        cells = [
            Cells("site", lambda row: row["code"]),
            Cells("site_roles", lambda row: ", ".join(words.word("role", one) for one in row["roles"])),
            Cells("site_address", lambda row: row["address"]),
            Cells("country", lambda row: row["country"]),
        ]
        yield words.table("sites", cells, report["pool"]["sites"])


def _totals(report: Json, words: Words) -> Section:
    totals = report["totals"]
    unit = unit_for(totals["average_hashrate"])
    rows = [
        ("miners", words.number(totals["miners"])),
        ("blocks_found", words.number(totals["blocks_found"])),
        ("accepted", words.number(totals["accepted_shares"])),
        ("rejected", words.number(totals["rejected_shares"])),
        ("work", words.number(totals["work"])),
        (f"hashrate_{unit}", words.hashrate(totals["average_hashrate"], unit)),
    ]
    if "devices_registered" in totals:
        rows += [
            ("devices_registered", words.number(totals["devices_registered"])),
            ("devices_active", words.number(totals["devices_active"])),
        ]
    rows += [(name, words.bitcoin(totals[f"{name}_sat"])) for name in _OWED]
    if "distributions" in totals:
        rows += [
            ("distributions", words.number(totals["distributions"])),
            ("distributed", words.bitcoin(totals["distributed_sat"])),
            ("distributed_commission", words.bitcoin(totals["distributed_commission_sat"])),
        ]
    return words.facts("totals", rows, note=words.text("note.totals"), kind=_NUMBER)


def _refused(report: Json, words: Words) -> Section:
    counts: Counter[str] = Counter()
    for row in report["miners"]:
        counts.update(row["rejected_by_reason"])
    rows = [{"reason": reason, "count": count} for reason, count in sorted(counts.items())]
    cells = [
        Cells("reason", lambda row: words.word("reason", row["reason"])),
        Cells("count", lambda row: words.number(row["count"]), _NUMBER),
    ]
    return words.table("refused", cells, rows, total=[words.number(report["totals"]["rejected_shares"])])


# Miners


def _miners(report: Json, words: Words) -> Section:
    cells = [
        Cells("id", lambda row: str(row["id"]), _NUMBER),
        Cells("miner", lambda row: row["name"]),
        Cells("bin", lambda row: row["bin"]),
        Cells("account", lambda row: row["account"]),
        Cells("licence", lambda row: _licence(row["licence"], words)),
        Cells("standing", lambda row: _standing(row["licence"], report["report_date"], words)),
        Cells("without_licence", lambda row: words.truth(row["worked_without_licence"])),
    ]
    second = "devices_registered" in report["totals"]
    if second:
        cells += [
            Cells("data_centres", lambda row: ", ".join(row["data_centre_ids"])),
            Cells("devices_registered", lambda row: words.number(row["devices_registered"]), _NUMBER),
            Cells("devices_active", lambda row: words.number(row["devices_active"]), _NUMBER),
            Cells("workers_unmatched", lambda row: words.number(row["workers_unmatched"]), _NUMBER),
        ]
    cells.append(Cells("wallet", lambda row: row["payout_address"] or "", _CODE))
    return words.table("miners", cells, report["miners"])


def _licence(licence: Json | None, words: Words) -> str:
    """Number, subtype and term."""
    if licence is None:
        return ""
    return words.text(
        "licence_told",
        number=licence["number"],
        subtype=words.word("subtype", str(licence["subtype"])),
        first=words.day(licence["valid_from"]),
        last=words.day(licence["valid_to"]),
    )


def _standing(licence: Json | None, day: str, words: Words) -> str:
    """Each stretch of the day under one status; a day under one alone is that word."""
    if licence is None:
        return words.word("status", "no_licence")
    told = licence["standing"]
    if len(told) == 1:
        return words.word("status", told[0]["status"])
    return "; ".join(
        f"{words.clock(one['from'], day)} {words.word('status', one['status'])}"
        + (f" ({one['licence']})" if one["licence"] not in (None, licence["number"]) else "")
        for one in told
    )


def _work(report: Json, words: Words) -> Section:
    totals, day = report["totals"], report["report_date"]
    unit = unit_for(totals["average_hashrate"])
    cells = [
        Cells("id", lambda row: str(row["id"]), _NUMBER),
        Cells("miner", lambda row: row["name"]),
        Cells("accepted", lambda row: words.number(row["accepted_shares"]), _NUMBER),
        Cells("rejected", lambda row: words.number(row["rejected_shares"]), _NUMBER),
        Cells("work", lambda row: words.number(row["work"]), _NUMBER),
        Cells(f"hashrate_{unit}", lambda row: words.hashrate(row["average_hashrate"], unit), _NUMBER),
    ]
    sums = [
        words.number(totals["accepted_shares"]),
        words.number(totals["rejected_shares"]),
        words.number(totals["work"]),
        words.hashrate(totals["average_hashrate"], unit),
    ]
    if "devices_registered" in totals:
        cells += [
            Cells("first_share", lambda row: words.clock(row["first_share_at"], day)),
            Cells("last_share", lambda row: words.clock(row["last_share_at"], day)),
        ]
        sums += ["", ""]
    note = words.text("note.times", zone=f"UTC{report['timezone']}")
    return words.table("work", cells, report["miners"], note=note, total=sums)


def _balances(report: Json, words: Words) -> Section:
    cells = [
        Cells("id", lambda row: str(row["id"]), _NUMBER),
        Cells("miner", lambda row: row["name"]),
        *(_bitcoin_cells(name, f"{name}_sat", words) for name in _OWED),
    ]
    totals = report["totals"]
    return words.table(
        "balances",
        cells,
        report["miners"],
        note=words.text("note.balances"),
        total=[words.bitcoin(totals[f"{name}_sat"]) for name in _OWED],
    )


def _bitcoin_cells(heading: str, member: str, words: Words) -> Cells:
    return Cells(heading, lambda row: words.bitcoin(row[member]), _NUMBER)


# Blocks


def _blocks(report: Json, words: Words) -> Section:
    names, day = names_of(report), report["report_date"]
    cells = [
        Cells("height", lambda row: str(row["height"]), _NUMBER),
        Cells("block_hash", lambda row: row["hash"], _CODE),
        Cells("coinbase_txid", lambda row: row["coinbase_txid"], _CODE),
        Cells("found_at", lambda row: words.clock(row["found_at"], day)),
        Cells("finder", lambda row: named(names, row["finder_miner_id"])),
        Cells("worker", lambda row: row["finder_worker"]),
        Cells("state", lambda row: words.word("state", row["state"])),
        Cells("window", lambda row: _window(row["window"])),
        _bitcoin_cells("reward", "reward_sat", words),
        _bitcoin_cells("subsidy", "subsidy_sat", words),
        _bitcoin_cells("fees", "fees_sat", words),
        _bitcoin_cells("commission", "commission_sat", words),
    ]
    return words.table("blocks", cells, report["blocks"], note=words.text("note.blocks"))


def _window(window: Json | None) -> str:
    """The places of the ledger's order that the window begins and ends with."""
    return "" if window is None else f"{window['first_slice']}–{window['last_slice']}"


def _parts(report: Json, words: Words) -> Section:
    names = names_of(report)
    rows = [{"height": block["height"], **part} for block in report["blocks"] for part in block["miners"]]
    cells = [
        Cells("height", lambda row: str(row["height"]), _NUMBER),
        Cells("id", lambda row: str(row["miner_id"]), _NUMBER),
        Cells("miner", lambda row: named(names, row["miner_id"])),
        Cells("work_in_window", lambda row: words.number(row["work"]), _NUMBER),
        _bitcoin_cells("part", "amount_sat", words),
        _bitcoin_cells("commission", "commission_sat", words),
    ]
    return words.table("parts", cells, rows, note=words.text("note.parts"))


def names_of(report: Json) -> dict[int, str]:
    """The miners' legal names by their ids."""
    return {row["id"]: row["name"] for row in report["miners"]}


def named(names: Mapping[int, str], id_: int | None) -> str:
    """A miner by its name; of whom the report has no row, by number."""
    return NOTHING if id_ is None else names.get(id_, f"№ {id_}")


# Payments


def _distributions(report: Json, words: Words) -> Iterator[Section]:
    if "distributions" not in report:
        return
    cells = [
        Cells("row_no", lambda row: str(row["row_no"]), _NUMBER),
        Cells("miner", lambda row: row["name"]),
        Cells("bin", lambda row: row["bin"]),
        Cells("licence_and_date", lambda row: licence_and_date(row, words)),
        Cells("wallet", lambda row: row["wallet_address"], _CODE),
        Cells("purpose", lambda row: row["exchange"] or words.word("purpose", row["purpose"])),
        Cells("asset", lambda row: row["asset"]),
        _bitcoin_cells("quantity", "quantity_sat", words),
        _bitcoin_cells("commission", "commission_sat", words),
        _bitcoin_cells("gross", "gross_sat", words),
        Cells("received_on", lambda row: words.day(row["received_on"])),
        Cells("output", lambda row: f"{row['txid']}:{row['vout']}", _CODE),
        Cells("block", lambda row: str(row["block_height"]), _NUMBER),
    ]
    totals = report["totals"]
    quantity, commission = totals["distributed_sat"], totals["distributed_commission_sat"]
    sums = [words.bitcoin(amount) for amount in (quantity, commission, quantity + commission)]
    note = words.text("note.distributions", day=words.long_day(report["report_date"]))
    yield words.table("distributions", cells, report["distributions"], note=note, total=[*sums, "", "", ""])


def licence_and_date(row: Json, words: Words) -> str:
    """Column 4 of the form: number and date of the licence."""
    if not row["licence_number"]:
        return ""
    issued = row["licence_issued_on"]
    number = str(row["licence_number"])
    return words.text("licence_of", number=number, day=words.day(issued)) if issued else number


def _apart(report: Json, words: Words) -> Iterator[Section]:
    names = names_of(report)
    cells = [
        Cells("payout", lambda row: str(row["payout_id"]), _NUMBER),
        Cells("miner", lambda row: named(names, row["miner_id"])),
        Cells("what", lambda row: words.word("apart", row["what"])),
        Cells("counts_for", lambda row: words.day(row["counts_for"])),
        _bitcoin_cells("quantity", "quantity_sat", words),
    ]
    if report.get("bookings_apart"):
        yield words.table("apart", cells, report["bookings_apart"], note=words.text("note.apart"))


# The books


def _commission(report: Json, words: Words) -> Section:
    told = report["commission"]
    order = ("opening", "credited", "corrected", "reversed", "closing", "matured", "immature", "earned")
    rows = [(f"commission_{name}", words.bitcoin(told[f"{name}_sat"])) for name in order]
    return words.facts("commission", rows, kind=_NUMBER)


def _journal(report: Json, words: Words) -> Section:
    cells = [
        Cells("account_class", lambda row: words.word("class", row["class"])),
        _bitcoin_cells("opening", "opening_sat", words),
        _bitcoin_cells("into", "in_sat", words),
        _bitcoin_cells("out", "out_sat", words),
        _bitcoin_cells("closing", "closing_sat", words),
    ]
    return words.table("journal", cells, report["journal"]["classes"], note=words.text("note.journal"))


def _corrections(report: Json, words: Words) -> Iterator[Section]:
    """Each posting of an entry that a person made: it moves money for a reason that is nowhere else (I3)."""
    rows = [
        {"memo": entry["memo"], **posting}
        for entry in report["journal"]["entries"]
        if entry["kind"] == EntryKind.CORRECTION
        for posting in entry["postings"]
    ]
    cells = [
        Cells("memo", lambda row: row["memo"]),
        Cells("ledger_account", lambda row: row["account"]),
        Cells("debit", lambda row: words.bitcoin(max(row["amount_sat"], 0)), _NUMBER),
        Cells("credit", lambda row: words.bitcoin(max(-row["amount_sat"], 0)), _NUMBER),
    ]
    if rows:
        yield words.table("corrections", cells, rows)


def _commitments(report: Json, words: Words) -> Iterator[Section]:
    if "commitments" not in report:
        return
    told = report["commitments"]
    tree = told["miners"]
    yield words.facts(
        "commitments",
        [
            ("tree_algorithm", told["algorithm"]),
            ("tree_root", tree["root"]),
            ("tree_leaves", words.number(tree["leaves"])),
            ("hours_complete", words.truth(told["hours_complete"])),
        ],
        note=words.text("note.commitments"),
    )
    cells = [
        Cells("hour", lambda row: row["hour"].replace("T", " ").replace("Z", " UTC")),
        Cells("batches", lambda row: f"{row['first_batch']}–{row['last_batch']}"),
        Cells("shares", lambda row: words.number(row["shares"]), _NUMBER),
        Cells("work", lambda row: words.number(row["work"]), _NUMBER),
        Cells("file_sha256", lambda row: row["file_sha256"], _CODE),
        Cells("root", lambda row: row["root"], _CODE),
    ]
    yield words.table("hours", cells, told["hours"])
