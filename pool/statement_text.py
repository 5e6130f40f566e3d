"""A statement for a terminal, and as the bytes of a file. The page in the miner's language is elsewhere."""

from __future__ import annotations

import csv
import io
import re
from typing import Final

import msgspec

from payouts.statement import Part, Payment, Preview, Statement
from payouts.statement_document import COLUMNS, document, table
from pool.cli_view import show, show_facts, told
from pool.wording import bitcoin, percent
from register.rules import Rules
from reporting.csv_text import guarded

_NUMBER: Final = re.compile(r"-?\d+")


def written(statement: Statement, rules: Rules, suffix: str) -> bytes:
    """The bytes of a .json or .csv file; in the table no cell is ever a formula."""
    if suffix == ".json":
        return msgspec.json.format(msgspec.json.encode(document(statement, rules)), indent=2) + b"\n"
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in table(statement, rules):
        writer.writerow([_guarded(cell) for cell in row])
    return text.getvalue().encode()


def _guarded(cell: str) -> str:
    """A text never becomes a formula; a number stays one."""
    return cell if _NUMBER.fullmatch(cell) else guarded(cell)


def tell(statement: Statement, rules: Rules) -> None:
    """All of it, in tables."""
    facts = statement.facts
    clock = f"{rules.local(facts.until_us):%Y-%m-%d %H:%M:%S}"
    told(f"{facts.account}, {facts.title}, BIN/IIN {facts.bin}: {facts.period.text}, as of {clock}")
    show_facts(
        [
            ("shares accepted", str(statement.shares)),
            ("shares rejected", _reasons(statement)),
            ("work, hashes", str(statement.work)),
        ]
    )
    show(
        ("BTC", "immature", "payable", "being paid", "together"),
        [
            ("opening", *_owed(facts.opening)),
            ("credited", "", "", "", bitcoin(statement.credited_sat)),
            ("reversed", "", "", "", bitcoin(-statement.reversed_sat)),
            ("paid", "", "", "", bitcoin(-statement.paid_sat)),
            ("corrected", "", "", "", bitcoin(statement.corrected_sat)),
            ("closing", *_owed(facts.closing)),
        ],
    )
    show(
        ("block", "hash", "state", "own work", "window work", "shared, sat", "part, sat"),
        [_part(one) for one in statement.parts],
        "blocks",
    )
    show(
        ("payout", "state", "to", "BTC", "distributed on", "txid"),
        [_payment(one) for one in facts.payments],
        "payments",
    )
    if facts.held is not None:
        told(f"held: {bitcoin(facts.held.amount_sat)} BTC. {facts.held.sentence}")
    if facts.preview is not None:
        told(_preview(facts.preview))


def _reasons(statement: Statement) -> str:
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(statement.rejected.items()))
    return listed or "none"


def _owed(owed: tuple[int, int, int]) -> tuple[str, str, str, str]:
    immature, payable, paying = owed
    return bitcoin(immature), bitcoin(payable), bitcoin(paying), bitcoin(sum(owed))


def _part(part: Part) -> tuple[str, ...]:
    block = part.block
    return (
        str(block.height),
        block.hash,
        part.state.value,
        str(part.own_work),
        str(block.window.work_total),
        str(part.shared_sat),
        str(part.amount_sat),
    )


def _payment(one: Payment) -> tuple[str, ...]:
    return (
        str(one.payout_id),
        one.state,
        one.address,
        bitcoin(one.amount_sat),
        str(one.distributed_on or ""),
        one.txid or "",
    )


def _preview(now: Preview) -> str:
    if now.window is None:
        return "a block found now: nobody's work is in its window"
    return (
        f"a block {now.height} found now would pay {bitcoin(now.amount_sat)} BTC of its subsidy of "
        f"{bitcoin(now.reward_sat)} BTC, less {percent(now.terms.commission_bps)} commission: "
        f"{now.own_work} of {now.window.work_total} hashes"
    )
