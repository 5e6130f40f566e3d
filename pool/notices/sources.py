"""What happened, read on from where it was read last: blocks, payouts, the register, reports.

Each source only grows, and its numbers become visible in order, because whoever writes it holds a lock: so a
place is enough to miss nothing. What an event becomes is idempotent by its key (`pool.notices.store`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.clock import instant, microseconds
from pool.notices.notice import Draft, Kind
from pool.settlement_steps import ACTOR
from pool.tables import (
    block,
    block_event,
    miner,
    payment,
    payout,
    payout_event,
    payout_version,
    register_event,
    report,
)
from register.licence import Licence
from register.payout_address import PayoutAddress
from register.proposal import Proposal
from register.records import decode
from register.rules import Rules

log = structlog.get_logger(__name__)

BATCH: Final = 200
"""Events of a source that are read at a time."""
_REASON_LIMIT: Final = 600


class Read(NamedTuple):
    """What a source had, and how far it was read."""

    drafts: list[Draft]
    reached: int
    events: int
    """How many there were; BATCH: perhaps more."""


class Source(NamedTuple):
    """Where things happen one after the other."""

    name: str
    read: Callable[[AsyncConnection, int], Awaitable[Read]]
    number: sa.Column[int]
    """By which its events are numbered, from 1."""
    before: Callable[[int], sa.ColumnElement[bool]]
    """What happened before an instant."""

    @property
    def newest(self) -> sa.Select[Any]:
        """The number of its last event; null where there is none."""
        return sa.select(sa.func.max(self.number))


def sources(rules: Rules, *, signed_by_hand: bool) -> tuple[Source, ...]:
    """All of them; `signed_by_hand`: a person signs payouts."""

    def read_payouts(connection: AsyncConnection, after: int) -> Awaitable[Read]:
        return payouts(connection, after, signed_by_hand=signed_by_hand)

    def read_register(connection: AsyncConnection, after: int) -> Awaitable[Read]:
        return register(connection, after, rules)

    return (
        Source("block", blocks, block_event.c.id, lambda us: block_event.c.at_us < us),
        Source("payout", read_payouts, payout_event.c.id, lambda us: payout_event.c.at_us < us),
        Source("register", read_register, register_event.c.seq, lambda us: register_event.c.at_us < us),
        Source("report", reports, report.c.sequence, lambda us: report.c.built_at < instant(us)),
    )


# Blocks

_BLOCK_SEVERITY: Final[Mapping[str, Any]] = {
    "found": "info",
    "confirmed": "info",
    "mature": "info",
    "orphaned": "warning",
}


async def blocks(connection: AsyncConnection, after: int) -> Read:
    """Blocks that were found, came into the chain, matured, or left it."""
    rows = await connection.execute(
        sa.select(block_event, block.c.height, block.c.reward_sat, block.c.miner_id, block.c.worker)
        .add_columns(miner.c.name.label("account"))
        .join(block, block.c.hash == block_event.c.hash)
        .outerjoin(miner, miner.c.id == block.c.miner_id)
        .where(block_event.c.id > after)
        .order_by(block_event.c.id)
        .limit(BATCH)
    )
    drafts, reached, events = [], after, 0
    for row in rows:
        reached, events = row.id, events + 1
        if row.state not in _BLOCK_SEVERITY:
            continue
        known = row.account is not None
        data = {"height": row.height, "hash": row.hash, "reward_sat": row.reward_sat}
        if row.state == "found":
            data["finder"] = f"{row.account}.{row.worker}" if known and row.worker else row.account or "?"
        shared = known and row.state in ("found", "orphaned")
        drafts.append(
            Draft(
                at_us=row.at_us,
                kind="block",
                event=f"block_{row.state}",
                severity=_BLOCK_SEVERITY[row.state],
                key=f"block:{row.id}:{row.hash}:{row.state}",
                data=data,
                audience="both" if shared else "operator",
                miner_id=row.miner_id if shared else None,
            )
        )
    return Read(drafts, reached, events)


# Payouts


async def payouts(connection: AsyncConnection, after: int, *, signed_by_hand: bool) -> Read:
    """Payouts that moved, and what one waits for; to each miner its own payments."""
    earlier = payout_event.alias("earlier")
    before = (
        sa.select(earlier.c.state)
        .where(earlier.c.payout_id == payout_event.c.payout_id, earlier.c.id < payout_event.c.id)
        .order_by(earlier.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    of_payout = sa.select(sa.func.count()).where(payment.c.payout_id == payout_event.c.payout_id)
    found = await connection.execute(
        sa.select(payout_event, payout.c.amount_sat, payout_version.c.txid)
        .add_columns(before.label("before"), of_payout.scalar_subquery().label("payments"))
        .join(payout, payout.c.id == payout_event.c.payout_id)
        .outerjoin(
            payout_version,
            sa.and_(
                payout_version.c.payout_id == payout_event.c.payout_id,
                payout_version.c.number == payout_event.c.version,
            ),
        )
        .where(payout_event.c.id > after)
        .order_by(payout_event.c.id)
        .limit(BATCH)
    )
    drafts: list[Draft] = []
    reached, events = after, 0
    for row in found.all():
        reached, events = row.id, events + 1
        event = payout_step(row.state, row.before)
        if event is not None:
            drafts.append(_payout_moved(row, event))
            drafts += await _payments_moved(connection, row, event)
        elif row.version is None and row.before is not None and row.actor == ACTOR:
            drafts.append(_payout_waits(row))
        elif signed_by_hand and row.note.startswith("drafted"):
            drafts.append(_payout(row, "to_sign", "warning", f"payout:{row.id}:to_sign", {}))
    return Read(drafts, reached, events)


def payout_step(state: str, before: str | None) -> str | None:
    """What a change of a payout's state is called; None for what nobody has to know."""
    if state == before:
        return None
    if state == "sent" and before == "confirmed":
        return "reversed"
    return state if state in ("sent", "confirmed", "abandoned") else None


def _payout(row: Any, what: str, severity: Any, key: str, more: Mapping[str, str | int]) -> Draft:
    data = {"payout": row.payout_id, "amount_sat": row.amount_sat, **more}
    return Draft(row.at_us, "payout", f"payout_{what}", severity, key, data)


def _payout_moved(row: Any, event: str) -> Draft:
    severity = "warning" if event in ("reversed", "abandoned") else "info"
    more = {"payments": row.payments, "txid": row.txid or "?", "reason": row.note[:_REASON_LIMIT]}
    return _payout(row, event, severity, f"payout:{row.id}:{event}", more)


def _payout_waits(row: Any) -> Draft:
    """Once a day for each trouble; other numbers behind its first comma are no news."""
    trouble = hashlib.sha256(row.note.partition(",")[0].encode()).hexdigest()[:16]
    key = f"payout_waits:{row.payout_id}:{trouble}:{instant(row.at_us):%Y-%m-%d}"
    return _payout(row, "waits", "warning", key, {"reason": row.note[:_REASON_LIMIT]})


async def _payments_moved(connection: AsyncConnection, row: Any, event: str) -> list[Draft]:
    made = sa.select(payment).where(payment.c.payout_id == row.payout_id).order_by(payment.c.number)
    return [
        Draft(
            at_us=row.at_us,
            kind="payout",
            event=f"payment_{event}",
            severity="warning" if event in ("reversed", "abandoned") else "info",
            key=f"payment:{row.id}:{one.number}:{event}",
            data={"amount_sat": one.amount_sat, "address": one.address, "txid": row.txid or "?"},
            audience="miner",
            miner_id=one.miner_id,
        )
        for one in await connection.execute(made)
    ]


# The register

_ACTS: Final[Mapping[str, Any]] = {
    "suspended": "warning",
    "resumed": "info",
    "ended": "warning",
    "revoked": "warning",
}


async def register(connection: AsyncConnection, after: int, rules: Rules) -> Read:
    """Acts on licences, changes that wait for a second person, and payout addresses that wait.

    Somebody may be taking over a wallet.
    """
    rows = (
        await connection.execute(
            sa.select(register_event)
            .where(register_event.c.seq > after)
            .order_by(register_event.c.seq)
            .limit(BATCH)
        )
    ).all()
    drafts: list[Draft] = []
    proposals: dict[int, tuple[Any, Proposal]] = {}
    for row in rows:
        if row.kind not in ("licence", "address", "proposal"):
            continue
        try:
            record = decode(row.kind, row.body)
        except ValueError as error:
            log.error("notice_source_unreadable", source="register", event_seq=row.seq, reason=str(error))
            continue
        if isinstance(record, Licence) and row.action in _ACTS:
            drafts.append(_act(row, record, await _account(connection, record.miner_id)))
        elif isinstance(record, PayoutAddress) and row.action == "entered":
            drafts += _address(row, record, await _account(connection, record.miner_id), rules)
        elif isinstance(record, Proposal) and row.action == "proposed":
            proposals[record.id] = (row, record)
        elif isinstance(record, Proposal):
            proposals.pop(record.id, None)
    if proposals:
        drafts.append(_proposed(list(proposals.values())))
    return Read(drafts, rows[-1].seq if rows else after, len(rows))


async def _account(connection: AsyncConnection, miner_id: int) -> str:
    return await connection.scalar(sa.select(miner.c.name).where(miner.c.id == miner_id)) or "?"


def _act(row: Any, licence: Licence, account: str) -> Draft:
    act = max((one for one in licence.acts if one.kind == row.action), key=lambda one: one.entered_us)
    data: dict[str, str | int] = {
        "account": account,
        "licence": licence.number,
        "day": act.on.isoformat(),
        "act": act.number,
    }
    if act.until is not None:
        data |= {"until": act.until.isoformat(), "reason_code": act.reason_code}
    return Draft(
        at_us=row.at_us,
        kind="licence",
        event=f"licence_{row.action}",
        severity=_ACTS[row.action],
        key=f"licence:{row.seq}:{licence.number}:{row.action}",
        data=data,
        audience="both",
        miner_id=licence.miner_id,
    )


def _address(row: Any, address: PayoutAddress, account: str, rules: Rules) -> list[Draft]:
    if address.effective_us <= row.at_us:
        return []
    # With its offset: a mail is read anywhere.
    moment = rules.local(address.effective_us).isoformat(" ", "minutes")
    told = {"account": account, "address": address.address, "moment": moment}
    return [
        Draft(row.at_us, "payout", "address_waiting", "warning", f"address:{row.seq}:waiting", told),
        Draft(
            at_us=row.at_us,
            kind="payout",
            event="address_yours",
            severity="warning",
            key=f"address:{row.seq}:yours",
            data={"address": address.address, "moment": moment},
            audience="miner",
            miner_id=address.miner_id,
        ),
    ]


def _proposed(made: list[tuple[Any, Proposal]]) -> Draft:
    """One notice for all that were made together: an import may make thousands."""
    row, first = made[0]
    data: dict[str, str | int] = {
        "count": len(made),
        "actor": first.actor,
        "change": f"{first.kind} {first.key} {first.action}"[:_REASON_LIMIT],
        "reason": first.reason[:_REASON_LIMIT].rstrip(".") + ".",
    }
    kind: Kind = "payout" if any(one.kind == "address" for _, one in made) else "licence"
    return Draft(row.at_us, kind, "proposals_wait", "warning", f"proposals:{row.seq}", data)


# Reports


async def reports(connection: AsyncConnection, after: int) -> Read:
    """Reports that were built, and those that correct one."""
    rows = await connection.execute(
        sa.select(report.c.sequence, report.c.day, report.c.version, report.c.sha256, report.c.built_at)
        .where(report.c.sequence > after)
        .order_by(report.c.sequence)
        .limit(BATCH)
    )
    drafts, reached, events = [], after, 0
    for row in rows:
        reached, events = row.sequence, events + 1
        corrects = row.version > 1
        data = {"day": row.day.isoformat(), "version": row.version, "hash": row.sha256}
        drafts.append(
            Draft(
                at_us=microseconds(row.built_at),
                kind="report",
                event="report_corrected" if corrects else "report_built",
                severity="warning" if corrects else "info",
                key=f"report:{row.sequence}:{row.sha256}",
                data=data,
            )
        )
    return Read(drafts, reached, events)
