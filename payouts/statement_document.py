"""A statement as a document for programs: JSON, and one flat table for spreadsheets.

Amounts are satoshis in integers; work outgrows what JSON numbers carry and is a decimal string; times carry
the offset of Kazakhstan at that moment. In the table each row says its section first: the opening, each day's
work, each movement, each part of a block, each payment, what is held, a preview, the closing.
"""

from __future__ import annotations

from typing import Any, Final

from payouts.statement import Movement, Owed, Part, Payment, Preview, Statement
from payouts.terms import Terms
from register.rules import Rules

SCHEMA: Final = "dmpool-statement/1"
COLUMNS: Final = (
    *("section", "day", "time", "what", "block", "height", "state", "payout", "txid", "address"),
    *("shares", "rejected", "work", "window_work", "reward_sat", "commission_sat"),
    *("amount_sat", "immature_sat", "payable_sat", "paying_sat", "total_sat", "note"),
)
Json = dict[str, Any]


def document(statement: Statement, rules: Rules) -> Json:
    """The statement as JSON."""
    facts = statement.facts
    return {
        "schema": SCHEMA,
        "account": facts.account,
        "name": facts.title,
        "bin": facts.bin,
        "period": facts.period.text,
        "first_day": facts.period.first.isoformat(),
        "last_day": facts.period.last.isoformat(),
        "complete": facts.complete,
        "until": _time(rules, facts.until_us),
        "opening": _owed(facts.opening),
        "credited_sat": statement.credited_sat,
        "reversed_sat": statement.reversed_sat,
        "paid_sat": statement.paid_sat,
        "corrected_sat": statement.corrected_sat,
        "matured_sat": statement.matured_sat,
        "closing": _owed(facts.closing),
        "shares": statement.shares,
        "rejected_shares": sum(statement.rejected.values()),
        "rejected_by_reason": dict(sorted(statement.rejected.items())),
        "work": str(statement.work),
        "days": [
            {
                "day": one.day.isoformat(),
                "shares": one.shares,
                "rejected_by_reason": dict(sorted(one.rejected.items())),
                "work": str(one.work),
            }
            for one in facts.days
        ],
        "movements": [_movement(one, rules) for one in facts.movements],
        "blocks": [_part(one, rules) for one in statement.parts],
        "payments": [_payment(one) for one in facts.payments],
        "held": facts.held
        and {
            "amount_sat": facts.held.amount_sat,
            "threshold_sat": facts.held.threshold_sat,
            "reason": facts.held.reason.value,
            "words": facts.held.sentence,
        },
        "preview": facts.preview and _preview(facts.preview),
    }


def table(statement: Statement, rules: Rules) -> list[list[str]]:
    """The rows of the table, without its heading COLUMNS."""
    facts = statement.facts
    days, balance = facts.period, facts.opening
    rows: list[Json] = [{"section": "opening", "day": days.first, **_owed(facts.opening)}]
    for day in facts.days:
        what = ", ".join(f"{reason} {count}" for reason, count in sorted(day.rejected.items()))
        rejected = sum(day.rejected.values())
        rows.append(
            {"section": "work", "day": day.day, "shares": day.shares, "rejected": rejected, "note": what}
            | {"work": day.work}
        )
    for one in facts.movements:
        balance = balance.plus(one.moved)
        told = _movement(one, rules)
        rows.append(
            {"section": "movement", "day": one.day, "time": told["at"], "what": one.kind.value}
            | {"block": one.block_hash, "payout": one.payout_id, "note": one.memo}
            | {"amount_sat": one.moved.total, **_owed(balance)}
        )
    rows += [_part_row(one, rules) for one in statement.parts]
    rows += [_payment_row(one) for one in facts.payments]
    if facts.held is not None:
        what, amount = facts.held.reason.value, facts.held.amount_sat
        rows.append({"section": "held", "what": what, "amount_sat": amount, "note": facts.held.sentence})
    if facts.preview is not None:
        now = facts.preview
        rows.append(
            {"section": "preview", "height": now.height, "work": now.own_work, "reward_sat": now.reward_sat}
            | {"window_work": now.window.work_total if now.window else 0, "amount_sat": now.amount_sat}
        )
    rows.append({"section": "closing", "day": days.last, **_owed(facts.closing)})
    return [[_cell(row.get(name)) for name in COLUMNS] for row in rows]


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _owed(owed: Owed) -> dict[str, int]:
    return {
        "immature_sat": owed.immature,
        "payable_sat": owed.payable,
        "paying_sat": owed.paying,
        "total_sat": owed.total,
    }


def _movement(one: Movement, rules: Rules) -> Json:
    return {
        "at": _time(rules, one.at_us),
        "day": one.day.isoformat(),
        "kind": one.kind.value,
        "block_hash": one.block_hash,
        "payout_id": one.payout_id,
        "memo": one.memo,
        **_owed(one.moved),
    }


def _terms(terms: Terms) -> Json:
    return {
        "scheme": terms.scheme,
        "window_multiple": terms.window_multiple,
        "commission_bps": terms.commission_bps,
        "transaction_fees": terms.transaction_fees,
    }


def _part(part: Part, rules: Rules) -> Json:
    block, window = part.block, part.block.window
    return {
        "height": block.height,
        "hash": block.hash,
        "coinbase_txid": block.coinbase_txid,
        "found_at": _time(rules, block.found_us),
        "state": part.state.value,
        "history": [{"state": step.state.value, "at": _time(rules, step.at_us)} for step in block.history],
        **_terms(block.terms),
        "network_work": str(block.network_work),
        "window": {
            "work": str(window.work_total),
            "first_slice": window.first_order,
            "first_slice_work": str(window.first_taken_work),
            "last_slice": window.last_order,
        },
        "reward_sat": block.reward_sat,
        "fees_sat": block.fees_sat,
        "commission_sat": block.split.commission,
        "shared_sat": part.shared_sat,
        "own_work": str(part.own_work),
        "floor_sat": part.floor_sat,
        "remainder": str(part.remainder),
        "remainder_rank": part.rank,
        "left_sat": part.left_sat,
        "extra_sat": part.extra_sat,
        "amount_sat": part.amount_sat,
        "own_commission_sat": part.commission_sat,
    }


def _part_row(part: Part, rules: Rules) -> Json:
    block = part.block
    return {
        "section": "block",
        "day": rules.day_of(block.found_us),
        "time": _time(rules, block.found_us),
        "what": block.terms.scheme,
        "block": block.hash,
        "height": block.height,
        "state": part.state.value,
        "work": part.own_work,
        "window_work": block.window.work_total,
        "reward_sat": block.reward_sat,
        "commission_sat": block.split.commission,
        "amount_sat": part.amount_sat,
    }


def _payment(one: Payment) -> Json:
    return {
        "payout_id": one.payout_id,
        "number": one.number,
        "state": one.state,
        "purpose": one.purpose,
        "address": one.address,
        "exchange": one.exchange,
        "amount_sat": one.amount_sat,
        "commission_sat": one.commission_sat,
        "sale_share_bps": one.sale_share_bps,
        "txid": one.txid,
        "block_hash": one.block_hash,
        "block_height": one.block_height,
        "distributed_on": one.distributed_on and one.distributed_on.isoformat(),
    }


def _payment_row(one: Payment) -> Json:
    return {
        "section": "payment",
        "day": one.distributed_on,
        "what": one.purpose,
        "block": one.block_hash,
        "height": one.block_height,
        "state": one.state,
        "payout": one.payout_id,
        "txid": one.txid,
        "address": one.address,
        "amount_sat": one.amount_sat,
        "commission_sat": one.commission_sat,
        "note": one.exchange,
    }


def _preview(now: Preview) -> Json:
    window = now.window
    return {
        "height": now.height,
        **_terms(now.terms),
        "network_work": str(now.network_work),
        "window": None
        if window is None
        else {
            "work": str(window.work_total),
            "first_slice": window.first_order,
            "first_slice_work": str(window.first_taken_work),
            "last_slice": window.last_order,
        },
        "reward_sat": now.reward_sat,
        "own_work": str(now.own_work),
        "amount_sat": now.amount_sat,
    }


def _time(rules: Rules, at_us: int) -> str:
    return rules.local(at_us).isoformat(timespec="microseconds")
