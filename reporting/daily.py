"""The daily report: a day's facts in, the document that is signed out.

One report per calendar day in Kazakhstan (regulation.md 2.1, O-43). The pool gathers `DayFacts`: who mined,
which blocks took a step that day, the journal's balances before and after the day and its entries between.
`build` derives what each miner was credited from the entries, and the verifier's own checks compare it with
the blocks; where any equality fails there is no report, but a `DoesNotReconcile` that says which and shows
both sides. The report tells the day as it stood at its end, however late it is built.

Amounts are satoshis (`*_sat`, JSON integers); work and hashrates (hashes per second) are decimal strings,
since they outgrow what JSON numbers carry; times are ISO 8601 with Kazakhstan's offset of that moment.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from payouts import journal
from payouts.block_state import State
from payouts.journal import EntryKind, Line
from payouts.pplns import Split, Window, nobodys, split
from payouts.terms import Scheme, TransactionFees
from register.identity import Kind, identify
from register.licence import COVERING
from register.rules import Row, Rules
from reporting.equalities import OWED, SCHEMA, reconcile
from reporting.standing import Held, stretches


class DoesNotReconcile(Exception):
    """An equality fails: `equality` names it, `detail` shows both sides. No report is built."""

    def __init__(self, equality: str, detail: str) -> None:
        super().__init__(
            f"{equality}: {detail}; no report is built until this holds: correct the journal by a new entry, "
            f"or find which facts are wrong"
        )
        self.equality = equality
        self.detail = detail


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """The pool itself; its BIN is of a legal entity (O-20)."""

    name: str
    bin: str
    chain: str
    address: str
    commission_bps: int

    def __post_init__(self) -> None:
        if identify(self.bin) is not Kind.LEGAL_ENTITY:
            raise ValueError(
                f"pool BIN {self.bin} is not of a legal entity of Kazakhstan; a pool must be one (O-20)"
            )


@dataclass(frozen=True, slots=True)
class Edition:
    """A report's place: `sequence` counts all reports made, `version` those of this day, both from 1.

    A correction (version 2 and on) names the hash of the version it replaces and its reason.
    """

    sequence: int
    previous_sha256: str | None
    version: int = 1
    replaces_sha256: str | None = None
    correction_reason: str | None = None


@dataclass(frozen=True, slots=True)
class MinerFacts:
    """A miner's day: shares accepted and refused (by reason), and accepted work in hashes."""

    held: Held
    accepted: int
    rejected: Mapping[str, int]
    work: int


class BlockEvent(NamedTuple):
    """A step of a block, at the instant (unix microseconds) at which it was also booked.

    `borne` is by miner what the pool bears of the block in this step, since the miner had been paid it.
    """

    state: State
    at_us: int
    borne: Mapping[int, int] = journal.NOTHING


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """A block with its window and split as stored, and its history from `found` on, in order of time.

    `finder_id` is None where no licensed worker found it; `window` is None where nobody had worked before.
    """

    height: int
    hash: str
    coinbase_txid: str
    finder_id: int | None
    finder_worker: str
    reward_sat: int
    fees_sat: int
    commission_bps: int
    scheme: Scheme
    transaction_fees: TransactionFees
    window_size: int
    window: Window | None
    split: Split
    history: Sequence[BlockEvent]


@dataclass(frozen=True, slots=True)
class DayFacts:
    """All that a report is built from.

    `blocks` may hold more than took a step that day. `opening` and `closing` are booked balances before and
    after the day, `entries` the journal's entries of the day; closing is read apart from entries.
    """

    day: dt.date
    generated_at_us: int
    software_version: str
    rules: Rules
    pool: PoolFacts
    edition: Edition
    miners: Sequence[MinerFacts]
    blocks: Sequence[BlockFacts]
    opening: Mapping[str, int]
    entries: Sequence[journal.Entry]
    closing: Mapping[str, int]


Json = dict[str, Any]
Lines = Mapping[str, Line]
Moved = Counter[tuple[EntryKind, str]]
_NOTHING = Line(0, 0, 0, 0)


def build(facts: DayFacts) -> Json:
    """The report of a day, ready for canonical JSON; raises DoesNotReconcile."""
    rules = facts.rules
    start_us, end_us = rules.day_bounds(facts.day)
    elapsed = (min(facts.generated_at_us, end_us) - start_us) // 1_000_000
    lines, moved = _lines(facts), _moved(facts.entries)
    blocks = [_block(block, rules, end_us) for block in facts.blocks if _stepped(block, start_us, end_us)]
    miners = [_miner(each, lines, moved, rules, (start_us, end_us, elapsed)) for each in facts.miners]
    report: Json = {
        "schema": SCHEMA,
        "report_date": facts.day.isoformat(),
        "timezone": rules.local(start_us).isoformat()[-6:],
        "day_start": rules.local(start_us).isoformat(),
        "day_end": rules.local(end_us).isoformat(),
        "day_complete": facts.generated_at_us >= end_us,
        "elapsed_seconds": elapsed,
        "generated_at": _time(rules, facts.generated_at_us),
        "software_version": facts.software_version,
        "sequence": facts.edition.sequence,
        "previous_report_sha256": facts.edition.previous_sha256,
        "version": facts.edition.version,
        "replaces_sha256": facts.edition.replaces_sha256,
        "correction_reason": facts.edition.correction_reason,
        "pool": {
            "name": facts.pool.name,
            "bin": facts.pool.bin,
            "chain": facts.pool.chain,
            "address": facts.pool.address,
            "commission_bps": facts.pool.commission_bps,
        },
        "rules_in_force": [_rule(row) for row in rules.in_force(facts.day)],
        "miners": sorted(miners, key=lambda row: row["id"]),
        "blocks": sorted(blocks, key=lambda row: (row["height"], row["hash"])),
        "commission": _commission(lines, moved),
        "journal": _journal(lines, facts.entries),
    }
    report["totals"] = _totals(report, facts, start_us, elapsed)
    for check in reconcile(report):
        if not check.passed:
            raise DoesNotReconcile(check.name, check.detail)
    return report


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


def _miner(facts: MinerFacts, lines: Lines, moved: Moved, rules: Rules, day: tuple[int, int, int]) -> Json:
    start_us, end_us, elapsed = day
    miner, wallet = facts.held.miner, facts.held.wallet
    licence = _licence(facts.held, rules, start_us, end_us)
    covered = licence is not None and any(one["status"] in COVERING for one in licence["standing"])
    return {
        "id": miner.id,
        "account": miner.name,
        "name": miner.title,
        "bin": miner.bin,
        "kind": str(miner.kind),
        "licence": licence,
        # A gateway that did not hear of an act in time may have let work in; the report hides nothing.
        "worked_without_licence": facts.accepted > 0 and not covered,
        "payout_address": wallet and wallet.address,
        "accepted_shares": facts.accepted,
        "rejected_shares": sum(facts.rejected.values()),
        "rejected_by_reason": dict(facts.rejected),
        "work": str(facts.work),
        "average_hashrate": str(facts.work // max(elapsed, 1)),
        **_party(
            lines,
            moved,
            journal.miner_immature(miner.id),
            journal.miner_payable(miner.id),
            journal.miner_paying(miner.id),
        ),
    }


def _licence(held: Held, rules: Rules, start_us: int, end_us: int) -> Json | None:
    """The licence that covered the miner last, else the last that counted; and how the miner stood."""
    told = stretches(held.versions, start_us, end_us, rules)
    covering = [one.number for one in told if one.status in COVERING]
    number = next(iter(covering[-1:] or [one.number for one in told if one.number][-1:]), None)
    if number is None:
        return None
    licence = held.newest(number)
    return {
        "number": licence.number,
        "subtype": licence.subtype,
        "issued_on": licence.issued_on.isoformat(),
        "valid_from": licence.valid_from.isoformat(),
        "valid_to": licence.valid_to.isoformat(),
        "standing": [
            {
                "licence": one.number,
                "status": one.status,
                "from": _time(rules, one.start_us),
                "until": _time(rules, one.end_us),
            }
            for one in told
        ],
    }


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


def _stepped(block: BlockFacts, start_us: int, end_us: int) -> bool:
    return any(start_us <= event.at_us < end_us for event in block.history)


def _block(block: BlockFacts, rules: Rules, end_us: int) -> Json:
    window = block.window
    worked = window.by_miner if window else {}
    what = f"split of block {block.hash}"
    kept = block.fees_sat if block.transaction_fees == "pool" else 0
    recomputed = (
        split(block.reward_sat, block.commission_bps, worked, kept) if worked else nobodys(block.reward_sat)
    )
    if block.split != recomputed:
        raise DoesNotReconcile(what, f"stored is {block.split}, recomputed from its window is {recomputed}")
    history = [event for event in block.history if event.at_us < end_us]
    return {
        "height": block.height,
        "hash": block.hash,
        "coinbase_txid": block.coinbase_txid,
        "found_at": _time(rules, history[0].at_us),
        "finder_miner_id": block.finder_id,
        "finder_worker": block.finder_worker,
        "state": str(history[-1].state),
        "history": [_step(event, rules) for event in history],
        "reward_sat": block.reward_sat,
        "subsidy_sat": block.reward_sat - block.fees_sat,
        "fees_sat": block.fees_sat,
        "scheme": block.scheme,
        "transaction_fees": block.transaction_fees,
        "commission_bps": block.commission_bps,
        "commission_sat": block.split.commission,
        "window": None
        if window is None
        else {
            "size": str(block.window_size),
            "work": str(window.work_total),
            "first_slice": window.first_order,
            "first_slice_work": str(window.first_taken_work),
            "last_slice": window.last_order,
        },
        "miners": [
            {
                "miner_id": miner_id,
                "work": str(worked[miner_id]),
                "amount_sat": amount,
                "commission_sat": block.split.commissions[miner_id],
            }
            for miner_id, amount in sorted(block.split.amounts.items())
        ],
    }


def _step(event: BlockEvent, rules: Rules) -> Json:
    borne = [{"miner_id": id_, "amount_sat": amount} for id_, amount in sorted(event.borne.items())]
    step = {"state": str(event.state), "at": _time(rules, event.at_us)}
    return {**step, "borne_by_pool": borne} if borne else step


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


def _totals(report: Json, facts: DayFacts, start_us: int, elapsed: int) -> Json:
    miners = report["miners"]
    told = {block["hash"] for block in report["blocks"]}
    work = sum(each.work for each in facts.miners)
    keys = ("accepted_shares", "rejected_shares", *OWED)
    return {
        "miners": len(miners),
        "blocks_found": sum(
            block.hash in told and block.history[0].at_us >= start_us for block in facts.blocks
        ),
        "work": str(work),
        "average_hashrate": str(work // max(elapsed, 1)),
        **{key: sum(row[key] for row in miners) for key in keys},
    }


def _rule(row: Row) -> Json:
    return {
        "rule": row.rule,
        "effective_from": row.effective_from.isoformat(),
        "values": dict(row.values),
        "source": row.source,
        "confidence": row.confidence,
    }


def _time(rules: Rules, at_us: int) -> str:
    return rules.local(at_us).isoformat(timespec="microseconds")
