"""The daily report: a day's facts in, the document that is signed out.

One report per calendar day in Kazakhstan (regulation.md 2.1, O-43), of the schema that
`docs/report-schema.md` writes down. The pool gathers `DayFacts`: who mined with what, which blocks took a
step that day, what was paid, the journal's balances before and after the day and its entries between.
`build` derives what each miner was credited from the entries, commits to the rows by sum trees, and the
verifier's own checks compare it all; where any equality fails there is no report, but a `DoesNotReconcile`
that says which and shows both sides. The report tells the day as it stood at its end, however late it is
built.

Amounts are satoshis (`*_sat`, JSON integers); work and hashrates (hashes per second) are decimal strings,
since they outgrow what JSON numbers carry; times are ISO 8601 with Kazakhstan's offset of that moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from payouts import journal
from payouts.journal import EntryKind, Line
from reporting import commitment
from reporting.daily_compliance import compliance_rows
from reporting.daily_facts import (
    BlockEvent,
    BlockFacts,
    DayFacts,
    DoesNotReconcile,
    Edition,
    HourFacts,
    Json,
    MinerFacts,
    PoolFacts,
)
from reporting.daily_rows import (
    addressees,
    apart_rows,
    bitcoin,
    block_rows,
    distribution_rows,
    form_versions,
    miner_row,
    pool_by_register,
    rule,
    time,
)
from reporting.equalities import SCHEMA, reconcile
from reporting.equalities_journal import OWED

__all__ = [
    "BlockEvent",
    "BlockFacts",
    "DayFacts",
    "DoesNotReconcile",
    "Edition",
    "Json",
    "MinerFacts",
    "PoolFacts",
    "build",
    "report_id",
]

Lines = Mapping[str, Line]
Moved = Counter[tuple[EntryKind, str]]
_NOTHING = Line(0, 0, 0, 0)


def build(facts: DayFacts) -> Json:
    """The report of a day, ready for canonical JSON; raises DoesNotReconcile."""
    rules = facts.rules
    bounds = start_us, end_us = rules.day_bounds(facts.day)
    elapsed = (min(facts.generated_at_us, end_us) - start_us) // 1_000_000
    lines, moved = _lines(facts), _moved(facts.entries)
    miners = [
        {
            **miner_row(each, rules, bounds, elapsed),
            **_miners_money(lines, moved, each.held.miner.id),
            "salt": facts.salts[each.held.miner.id],
        }
        for each in sorted(facts.miners, key=lambda one: one.held.miner.id)
    ]
    report: Json = {
        **_header(facts, elapsed),
        "miners": miners,
        "blocks": block_rows(facts.blocks, rules, bounds),
        "distributions": distribution_rows(facts.paid),
        "bookings_apart": apart_rows(facts.apart),
        "mandatory_sale": list(facts.sale),
        "compliance": compliance_rows(facts.miners, facts.register, facts.seen, rules, bounds),
        "commission": _commission(lines, moved),
        "journal": _journal(lines, facts.entries),
        "commitments": _commitments(facts, miners),
    }
    report["totals"] = _totals(report, facts, start_us, elapsed)
    for check in reconcile(report):
        if not check.passed:
            raise DoesNotReconcile(check.name, check.detail)
    return report


def report_id(bin_: str, day: str, version: int) -> str:
    """How a report is called, in letters and in conversation."""
    return f"kz-dmp-daily:{bin_}:{day}:{version}"


def _header(facts: DayFacts, elapsed: int) -> Json:
    rules, pool, edition = facts.rules, facts.pool, facts.edition
    start_us, end_us = rules.day_bounds(facts.day)
    day = facts.day.isoformat()
    return {
        "schema": SCHEMA,
        "report_id": report_id(pool.bin, day, edition.version),
        "report_date": day,
        "timezone": rules.local(start_us).isoformat()[-6:],
        "day_start": rules.local(start_us).isoformat(),
        "day_end": rules.local(end_us).isoformat(),
        "day_complete": facts.generated_at_us >= end_us,
        "elapsed_seconds": elapsed,
        "generated_at": time(rules, facts.generated_at_us),
        "software_version": facts.software.version,
        "software_digest": facts.software.digest,
        "sequence": edition.sequence,
        "previous_report_sha256": edition.previous_sha256,
        "version": edition.version,
        "replaces_sha256": edition.replaces_sha256,
        "correction_reason": edition.correction_reason,
        "pool": {
            "name": pool.name,
            "bin": pool.bin,
            "chain": pool.chain,
            "address": pool.address,
            "commission_bps": pool.commission_bps,
            **pool_by_register(facts.register, facts.day, facts.software),
        },
        "addressees": addressees(rules, facts.day),
        "form_versions": form_versions(rules, facts.day),
        "rules_in_force": [rule(row) for row in rules.in_force(facts.day)],
        "register": {
            "events": facts.register.count,
            "seq": facts.register.seq,
            "sha256": facts.register.sha256,
        },
    }


# Money


def _lines(facts: DayFacts) -> dict[str, Line]:
    """The statement of the day; its closing balances must be those read from the journal."""
    lines = journal.statement(facts.opening, facts.entries)
    for account in sorted({*lines, *facts.closing}):
        stated = lines.get(account, _NOTHING).closing
        kept = facts.closing.get(account, 0) * journal.direction(account)
        if stated != kept:
            raise DoesNotReconcile(
                f"closing balance of account {account}",
                f"opening + in - out is {stated}, the journal has {kept}",
            )
    return {account: line for account, line in lines.items() if line != _NOTHING}


def _miners_money(lines: Lines, moved: Moved, id_: int) -> dict[str, int]:
    mature = journal.miner_payable(id_), journal.miner_paying(id_)
    return _party(lines, moved, journal.miner_immature(id_), *mature)


def _commission(lines: Lines, moved: Moved) -> Json:
    immature, earned = journal.COMMISSION_IMMATURE, journal.COMMISSION_EARNED
    row: Json = _party(lines, moved, immature, earned)
    for key in ("paid_sat", "per_share_sat"):  # commission is the pool's own: nobody is paid it
        del row[key]
    row["immature_sat"] = lines.get(immature, _NOTHING).closing
    row["earned_sat"] = lines.get(earned, _NOTHING).closing
    return row


def _moved(entries: Sequence[journal.Entry]) -> Moved:
    """The sum of postings to each account by kind of entry, in the account's own direction."""
    moved: Counter[tuple[EntryKind, str]] = Counter()
    for entry in entries:
        for account, amount in entry.postings:
            moved[entry.kind, account] += amount * journal.direction(account)
    return moved


def _party(lines: Lines, moved: Moved, immature: str, *mature: str) -> dict[str, int]:
    """What a party was owed before and after the day, and what the entries did to its accounts."""
    accounts = (immature, *mature)

    def sum_of(*kinds: EntryKind) -> int:
        return sum(moved[kind, account] for kind in kinds for account in accounts)

    return {
        "opening_sat": sum(lines.get(account, _NOTHING).opening for account in accounts),
        "credited_sat": moved[EntryKind.BLOCK_CONFIRMED, immature],
        "matured_sat": moved[EntryKind.BLOCK_MATURED, mature[0]],
        "reversed_sat": -sum_of(EntryKind.BLOCK_REVERSED),
        "per_share_sat": sum_of(EntryKind.FPPS_CREDITED),
        "paid_sat": -sum_of(*journal.OF_PAYOUTS),
        "corrected_sat": sum_of(EntryKind.CORRECTION),
        "closing_sat": sum(lines.get(account, _NOTHING).closing for account in accounts),
    }


def _journal(lines: Lines, entries: Sequence[journal.Entry]) -> Json:
    classes: dict[str, list[Line]] = {}
    sides: dict[str, list[Line]] = {"assets": [], "liabilities": []}
    for account, line in lines.items():
        classes.setdefault(journal.class_of(account), []).append(line)
        sides["assets" if journal.direction(account) == 1 else "liabilities"].append(line)
    return {
        "accounts": [{"account": account, **_sides(line)} for account, line in sorted(lines.items())],
        "classes": [{"class": name, **_sides(_added(rows))} for name, rows in sorted(classes.items())],
        "totals": {name: _sides(_added(rows)) for name, rows in sides.items()},
        # Those of blocks follow from the blocks.
        "entries": [_told(entry) for entry in entries if entry.kind not in journal.OF_BLOCKS],
    }


def _told(entry: journal.Entry) -> Json:
    return {
        "kind": str(entry.kind),
        "payout_id": entry.payout_id,
        "memo": entry.memo,
        "postings": [{"account": account, "amount_sat": amount} for account, amount in entry.postings],
    }


def _sides(line: Line) -> dict[str, int]:
    return {
        "opening_sat": line.opening,
        "in_sat": line.into,
        "out_sat": line.out,
        "closing_sat": line.closing,
    }


def _added(lines: Sequence[Line]) -> Line:
    return Line(*(sum(amounts) for amounts in zip(*lines, strict=True))) if lines else _NOTHING


# What is committed to, and sums


def _commitments(facts: DayFacts, miners: Sequence[Json]) -> Json:
    try:
        root = commitment.miners_tree(miners).root
        hours = [_hour(one, facts.salts) for one in facts.hours]
    except ValueError:
        return {}  # a row that cannot be added up: `reconcile` says which equality is the first that fails
    return {
        "algorithm": commitment.ALGORITHM,
        "miners": {
            "root": root.hash.hex(),
            "leaves": len(miners),
            **commitment.told_sums(commitment.MINER_SUMS, root.sums),
        },
        "hours_complete": facts.hours_complete,
        "hours": hours,
    }


def _hour(hour: HourFacts, salts: Mapping[int, str]) -> Json:
    strangers = hour.miners.keys() - salts.keys()
    if strangers:
        raise DoesNotReconcile(
            f"hour {hour.hour} of the archive", f"has work of miners {sorted(strangers)}, who have no row"
        )
    rows = [
        commitment.hour_row(hour.hour, miner_id, one.shares, one.work, one.digest)
        for miner_id, one in hour.miners.items()
    ]
    root = commitment.hour_tree(rows, salts).root
    if root.sums != (hour.shares, hour.work):
        raise DoesNotReconcile(
            f"hour {hour.hour} of the archive",
            f"has {hour.shares} shares and {hour.work} work, its miners {root.sums}",
        )
    return {
        "hour": hour.hour,
        "file_sha256": hour.file_sha256,
        "manifest_sha256": hour.manifest_sha256,
        "first_batch": hour.first_batch,
        "last_batch": hour.last_batch,
        "work_before": hour.work_before,
        "leaves": len(rows),
        **commitment.told_sums(commitment.HOUR_SUMS, root.sums),
        "root": root.hash.hex(),
    }


def _totals(report: Json, facts: DayFacts, start_us: int, elapsed: int) -> Json:
    miners, distributions = report["miners"], report["distributions"]
    told = {block["hash"] for block in report["blocks"]}
    work = sum(each.work for each in facts.miners)
    quantity, commission = (
        sum(row[key] for row in distributions) for key in ("quantity_sat", "commission_sat")
    )
    keys = ("accepted_shares", "rejected_shares", *OWED)
    active = [row["devices_active"] for row in miners]
    return {
        "miners": len(miners),
        "blocks_found": sum(
            block.hash in told and block.history[0].at_us >= start_us for block in facts.blocks
        ),
        "work": str(work),
        "average_hashrate": str(work // max(elapsed, 1)),
        **{key: sum(row[key] for row in miners) for key in keys},
        "devices_registered": sum(row["devices_registered"] for row in miners),
        "devices_active": None if None in active else sum(active),
        "distributions": len(distributions),
        "distributed_sat": quantity,
        "distributed": bitcoin(quantity),
        "distributed_commission_sat": commission,
        "distributed_commission": bitcoin(commission),
    }
