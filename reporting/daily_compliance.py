"""What a day tells of the law being kept: refusals, licence acts, addresses, hardware (O-03, O-07 to O-12).

Rows come from three places: what gateways and ledger saw (`seen_rows`, counted by miner and reason, without
the names of workers and units), the register's events of the day, and the refused shares of the miners'
rows. Nobody's refusals are told: names that anybody can make up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import rfc8785

from register.event import Event
from register.licence import Act, Licence
from register.payout_address import PayoutAddress
from register.records import decode
from register.rules import Rules
from register.sighting import Seen, SightingKind
from reporting.daily_facts import Json, MinerFacts, RegisterFacts
from reporting.daily_rows import time
from reporting.standing import turns

KINDS: Final = ("licence", "address")
"""The register's events that are told one by one; those of hardware are counted."""
SEEN: Final[Mapping[SightingKind, str]] = {
    SightingKind.REFUSED: "authorisation_refused",
    SightingKind.UNREGISTERED: "unregistered_device",
    SightingKind.FOREIGN: "foreign_device",
    SightingKind.DUPLICATE: "duplicate_device",
    SightingKind.OVERRATE: "overrate_device",
}
SHARES_REFUSED: Final = ("licence", "quarantine", "unauthorised")
"""Of the reasons for which shares are refused, those that the law gives."""
_BY_REASON: Final = frozenset({SightingKind.REFUSED, SightingKind.UNREGISTERED, SightingKind.FOREIGN})
"""Of these the detail is a word; of the others it names a unit."""


def seen_rows(seen: Iterable[Seen], accounts: Mapping[int, str], rules: Rules) -> list[Json]:
    """What was seen on the day, by kind, miner and reason; `accounts` are the names of miners."""
    groups: dict[tuple[str, int, str], list[Seen]] = {}
    for one in seen:
        kind = one.sighting.kind
        reason = one.sighting.detail if kind in _BY_REASON else ""
        groups.setdefault((SEEN[kind], one.sighting.miner_id, reason), []).append(one)
    return [
        {
            "kind": kind,
            "miner_id": miner_id,
            "account": accounts[miner_id],
            "reason": reason,
            "workers": len(group),
            "count": sum(one.count for one in group),
            "at": time(rules, min(one.sighting.first_us for one in group)),
            "last_at": time(rules, max(one.last_us for one in group)),
        }
        for (kind, miner_id, reason), group in sorted(groups.items())
    ]


def compliance_rows(
    miners: Sequence[MinerFacts],
    register: RegisterFacts,
    seen: Sequence[Json],
    rules: Rules,
    bounds: tuple[int, int],
) -> list[Json]:
    """All rows of the day, in their order."""
    accounts = {one.held.miner.id: one.held.miner.name for one in miners}
    told: list[Json] = [*seen, *_shares_refused(miners)]
    told += _turns(miners, rules, bounds)
    told += _addresses_in_effect(register.addresses, accounts, rules, bounds)
    for event in register.events:
        match decode(event.kind, event.body):
            case Licence() as licence:
                told.append(_licence_act(event, licence, accounts, rules))
            case PayoutAddress() as address:
                told.append(_address(event.action, event.at_us, address, accounts, rules))
    told += [
        {
            "kind": "devices",
            "miner_id": miner_id,
            "account": accounts.get(miner_id),
            "action": action,
            "count": count,
            "at": None,
        }
        for (miner_id, action), count in register.units.items()
    ]
    return sorted(told, key=order)


def order(row: Json) -> tuple[str, str, int, bytes]:
    """In which order they stand."""
    return row["kind"], row["at"] or "", row["miner_id"] or 0, rfc8785.dumps(row)


def _shares_refused(miners: Sequence[MinerFacts]) -> Iterator[Json]:
    for one in miners:
        for reason in SHARES_REFUSED:
            if count := one.rejected.get(reason, 0):
                yield {
                    "kind": "shares_refused",
                    "miner_id": one.held.miner.id,
                    "account": one.held.miner.name,
                    "reason": reason,
                    "count": count,
                    "at": None,
                }


def _turns(miners: Sequence[MinerFacts], rules: Rules, bounds: tuple[int, int]) -> Iterator[Json]:
    """Licences that came to stand otherwise on the day, by acts or by the calendar, as the register knew it
    then."""
    for one in miners:
        for turn in turns(one.held.versions, *bounds, rules):
            yield {
                "kind": "licence_turn",
                "miner_id": one.held.miner.id,
                "account": one.held.miner.name,
                "licence": turn.number,
                "status": turn.status.value,
                "at": time(rules, turn.at_us),
            }


def _addresses_in_effect(
    addresses: Iterable[PayoutAddress], accounts: Mapping[int, str], rules: Rules, bounds: tuple[int, int]
) -> Iterator[Json]:
    """Addresses that payments went to from an instant of the day on."""
    start_us, end_us = bounds
    for one in addresses:
        withdrawn = one.withdrawn_us is not None and one.withdrawn_us <= one.effective_us
        if start_us <= one.effective_us < end_us and not withdrawn:
            yield _address("in_effect", one.effective_us, one, accounts, rules)


def _address(
    action: str, at_us: int, address: PayoutAddress, accounts: Mapping[int, str], rules: Rules
) -> Json:
    return {
        "kind": "address",
        "miner_id": address.miner_id,
        "account": accounts.get(address.miner_id),
        "action": action,
        "purpose": address.purpose,
        "address": address.address,
        "exchange": address.exchange,
        "effective_at": time(rules, address.effective_us),
        "at": time(rules, at_us),
    }


def _licence_act(event: Event, licence: Licence, accounts: Mapping[int, str], rules: Rules) -> Json:
    """What was entered of a licence; an act stands with its number and days."""
    acts = [one for one in licence.acts if one.kind == event.action]
    act = max(acts, key=lambda one: one.entered_us, default=None)
    return {
        "kind": "licence_act",
        "miner_id": licence.miner_id,
        "account": accounts.get(licence.miner_id),
        "licence": licence.number,
        "action": event.action,
        **_act(act),
        "at": time(rules, event.at_us),
    }


def _act(act: Act | None) -> Json:
    if act is None:
        return {"act_number": "", "act_on": None, "until": None, "reason_code": 0}
    return {
        "act_number": act.number,
        "act_on": act.on.isoformat(),
        "until": act.until and act.until.isoformat(),
        "reason_code": act.reason_code,
    }
