"""The rows of a daily report: a miner's day, a block, a payment; and what the pool is, by the register.

Each function makes one row of facts, for `reporting.daily` to put together. Whether rows agree with each
other is looked at when all are there (`reporting.equalities`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from payouts.block_state import State
from payouts.pplns import nobodys, split
from register.licence import COVERING
from register.rules import Row, Rules
from reporting.daily_facts import (
    Apart,
    BlockEvent,
    BlockFacts,
    DoesNotReconcile,
    Json,
    MinerFacts,
    Paid,
    RegisterFacts,
    Software,
)
from reporting.standing import Held, stretches

SATOSHIS: Final = 100_000_000
"""In a bitcoin."""
STATUSES: Final[Mapping[State, str]] = {
    State.FOUND: "pending",
    State.SUBMITTED: "pending",
    State.CONFIRMED: "immature",
    State.MATURE: "mature",
    State.ORPHANED: "orphan",
}
"""A block's state in the words of regulation.md 2.1."""
BODIES: Final = ("authorised_body", "tax_authority")
"""Whom the reports go to (O-40); rules by the same names say who that is on a day."""
FORMS: Final = ("report_form_2023", "report_form_2026")


def bitcoin(satoshis: int) -> str:
    """An amount as official forms have it: a decimal with 8 places."""
    sign, whole = "-" if satoshis < 0 else "", abs(satoshis)
    return f"{sign}{whole // SATOSHIS}.{whole % SATOSHIS:08d}"


def time(rules: Rules, at_us: int) -> str:
    """An instant as documents have it."""
    return rules.local(at_us).isoformat(timespec="microseconds")


# The pool


def pool_by_register(facts: RegisterFacts, day: dt.date, software: Software) -> Json:
    """Accreditation, sites and security tests of the pool on a day (O-20 to O-23)."""
    in_force = [one for one in facts.accreditations if one.covers(day)]
    accreditation = max(in_force, key=lambda one: (one.issued_on, one.number), default=None)
    tests = [one for one in facts.protocols if one.on <= day]
    protocol = max(tests, key=lambda one: (one.on, one.number), default=None)
    return {
        "accreditation": accreditation
        and {
            "number": accreditation.number,
            "issued_on": accreditation.issued_on.isoformat(),
            "valid_to": accreditation.valid_to and accreditation.valid_to.isoformat(),
            "issuer": accreditation.issuer,
        },
        "sites": [
            {"code": one.code, "roles": sorted(one.roles), "address": one.address, "country": one.country}
            for one in sorted(facts.sites, key=lambda one: one.code)
            if one.closed_on is None or day < one.closed_on
        ],
        "security_test_protocol": protocol
        and {
            "number": protocol.number,
            "on": protocol.on.isoformat(),
            "laboratory": protocol.laboratory,
            "version": protocol.version,
            "digest": protocol.digest,
            "covers_running_version": protocol.version == software.version
            and protocol.digest in ("", software.digest),
        },
    }


def addressees(rules: Rules, day: dt.date) -> list[Json]:
    """The authorised body and the tax authority, as they were called on a day."""
    rows = ((role, rules.find(role, day)) for role in BODIES)
    return [
        {
            "role": role,
            "name": row.text("name"),
            "name_ru": row.text("name_ru"),
            "name_kk": row.text("name_kk"),
            "names_seen": row.texts("names_seen"),
        }
        for role, row in rows
        if row is not None
    ]


def form_versions(rules: Rules, day: dt.date) -> list[Json]:
    """The official forms that are in force on a day (Q-09)."""
    rows = (rules.find(rule, day) for rule in FORMS)
    told = [
        {
            "form": row.text("form"),
            "period": row.text("period"),
            "complete": row.truth("complete"),
            "effective_from": row.effective_from.isoformat(),
        }
        for row in rows
        if row is not None
    ]
    return sorted(told, key=lambda one: (str(one["effective_from"]), str(one["form"])))


def rule(row: Row) -> Json:
    """A dated rule of law."""
    return {
        "rule": row.rule,
        "effective_from": row.effective_from.isoformat(),
        "values": dict(row.values),
        "source": row.source,
        "confidence": row.confidence,
    }


# Miners


def miner_row(facts: MinerFacts, rules: Rules, bounds: tuple[int, int], elapsed: int) -> Json:
    """A miner's day but for its money."""
    start_us, end_us = bounds
    miner, wallet, devices = facts.held.miner, facts.held.wallet, facts.devices
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
        "devices_registered": devices.registered,
        "devices_active": devices.active,
        "workers_unmatched": devices.unmatched,
        "data_centre_ids": sorted(devices.centres),
        "accepted_shares": facts.accepted,
        "rejected_shares": sum(facts.rejected.values()),
        "rejected_by_reason": dict(facts.rejected),
        "work": str(facts.work),
        "average_hashrate": str(facts.work // max(elapsed, 1)),
        "first_share_at": None if facts.first_us is None else time(rules, facts.first_us),
        "last_share_at": None if facts.last_us is None else time(rules, facts.last_us),
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
                "from": time(rules, one.start_us),
                "until": time(rules, one.end_us),
            }
            for one in told
        ],
    }


# Blocks


def block_rows(blocks: Iterable[BlockFacts], rules: Rules, bounds: tuple[int, int]) -> list[Json]:
    """Those that took a step in the day; raises DoesNotReconcile for a split that is not its window's."""
    start_us, end_us = bounds
    stepped = (one for one in blocks if any(start_us <= event.at_us < end_us for event in one.history))
    rows = [_block(one, rules, end_us) for one in stepped]
    return sorted(rows, key=lambda row: (row["height"], row["hash"]))


def _block(block: BlockFacts, rules: Rules, end_us: int) -> Json:
    window = block.window
    worked = window.by_miner if window else {}
    kept = block.fees_sat if block.transaction_fees == "pool" else 0
    recomputed = (
        split(block.reward_sat, block.commission_bps, worked, kept) if worked else nobodys(block.reward_sat)
    )
    if block.split != recomputed:
        raise DoesNotReconcile(
            f"split of block {block.hash}",
            f"stored is {block.split}, recomputed from its window is {recomputed}",
        )
    history = [event for event in block.history if event.at_us < end_us]
    return {
        "height": block.height,
        "hash": block.hash,
        "previous_hash": block.previous_hash,
        "coinbase_txid": block.coinbase_txid,
        "found_at": time(rules, history[0].at_us),
        "finder_miner_id": block.finder_id,
        "finder_worker": block.finder_worker,
        "state": str(history[-1].state),
        "status": STATUSES[history[-1].state],
        "history": [_step(event, rules) for event in history],
        "reward_sat": block.reward_sat,
        "subsidy_sat": block.reward_sat - block.fees_sat,
        "fees_sat": block.fees_sat,
        "scheme": block.scheme,
        "transaction_fees": block.transaction_fees,
        "commission_bps": block.commission_bps,
        "commission_sat": block.split.commission,
        "network_work": str(block.network_work),
        "window": None
        if window is None
        else {
            "multiple": block.window_multiple,
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
    step = {"state": str(event.state), "at": time(rules, event.at_us)}
    return {**step, "borne_by_pool": borne} if borne else step


# Payments


def distribution_rows(paid: Sequence[Paid]) -> list[Json]:
    """The payments that count for the day, numbered in their order (O-32; columns of the forms)."""
    ordered = sorted(
        paid,
        key=lambda one: (
            one.distribution.miner_id,
            one.distribution.block_height,
            one.distribution.txid,
            one.distribution.vout,
        ),
    )
    return [_distribution(number, one) for number, one in enumerate(ordered, 1)]


def _distribution(number: int, paid: Paid) -> Json:
    one = paid.distribution
    return {
        "row_no": number,
        "miner_id": one.miner_id,
        "account": one.account,
        "name": one.name,
        "bin": one.bin,
        "licence_number": one.licence_number,
        "licence_issued_on": one.licence_issued_on and one.licence_issued_on.isoformat(),
        "licence_subtype": one.licence_subtype,
        "licence_status": one.licence_status,
        "wallet_address": one.wallet_address,
        "purpose": one.purpose,
        "exchange": one.exchange,
        "distribution_date": one.distributed_on.isoformat(),
        "received_on": one.received_on.isoformat(),
        "credited_on": paid.credited_on and paid.credited_on.isoformat(),
        "asset": one.asset,
        "quantity_sat": one.quantity_sat,
        "quantity": bitcoin(one.quantity_sat),
        "commission_asset": one.asset,
        "commission_sat": one.commission_sat,
        "commission_quantity": bitcoin(one.commission_sat),
        "gross_sat": one.quantity_sat + one.commission_sat,
        "txid": one.txid,
        "vout": one.vout,
        "block_hash": one.block_hash,
        "block_height": one.block_height,
        "payout_id": paid.payout_id,
        "booked_on": paid.booked_on.isoformat(),
    }


def apart_rows(apart: Sequence[Apart]) -> list[Json]:
    """What was booked on the day of other payments."""
    rows: list[Json] = [
        {
            "what": one.what,
            "payout_id": one.payout_id,
            "miner_id": one.miner_id,
            "quantity_sat": one.quantity_sat,
            "counts_for": one.counts_for and one.counts_for.isoformat(),
        }
        for one in apart
    ]
    return sorted(rows, key=order_apart)


def order_apart(row: Json) -> tuple[int, int, str, str]:
    """In which order they stand."""
    return row["payout_id"], row["miner_id"], row["what"], row["counts_for"] or ""
