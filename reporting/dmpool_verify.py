#!/usr/bin/env python3
"""Checks what a dmpool pool publishes, on your machine, with Python 3.11+ and `pip install coincurve` alone.

    python dmpool_verify.py --key KEY 2026-11-20.json             one report, check by check
    python dmpool_verify.py --key KEY --keys keys.json reports/   many, and that they follow each other
      --log DIR       a copy of the pool's log: it is signed, has these reports, and no others of their time
      --old FILE      a checkpoint that you kept: the log still begins as it did then (with --log)
      --proof FILE    in place of --log: a .tlog-proof that the one report is in the log
      --archive DIR   the share archive as text, YYYY/MM/DD/HH.csv.gz: every share, and every split from them

KEY is the pool's BIP340 public key, 64 hex digits, taken once over a channel you trust; --keys is its list of
keys, in which one vouches for the next. Exit code 0: all checks passed; 1: one failed; 2: none could be made.
No network and no clock is asked: look up yourself that blocks and txids are in the Bitcoin chain. To audit
this file, read the methods check_...; their docstrings name the checks. Money is in satoshis, work in hashes.
"""

import argparse
import base64
import datetime as dt
import gzip
import hashlib
import hmac
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from coincurve import PublicKeyXOnly

SIDES = ("opening_sat", "in_sat", "out_sat", "closing_sat")
ROW_SUMS = ("accepted_shares", "work", "credited_sat", "per_share_sat", "closing_sat")
OWED = (*ROW_SUMS[2:], "opening_sat", "matured_sat", "reversed_sat", "paid_sat", "corrected_sat")
COUNTED = ("accepted_shares", "rejected_shares", "devices_registered", *OWED)
BY_LAW = ("licence", "quarantine", "unauthorised")
STATES = {"found": "pending", "submitted": "pending", "confirmed": "immature", "mature": "mature"}
STATES |= {"orphaned": "orphan"}  # how the official form calls the states of a block
LIFE = "found( submitted)?( orphaned)?( confirmed( mature)? orphaned)*( confirmed( mature)?)?"
ACCOUNTS = "asset:coinbase:(immature|mature)|miner:[1-9][0-9]*:(immature|payable|paying)"
ACCOUNTS += "|pool:(commission:(immature|earned)|network_fees|fpps|correction|orphan_loss:[1-9][0-9]*)"


class Check(NamedTuple):
    """One thing looked at: what it is in plain words, whether it holds, and what was seen."""

    name: str
    passed: bool
    detail: str


class Row(dict[str, Any]):
    """A JSON object whose members are attributes too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def run_check(look: Callable[..., object], *subject: Any) -> Check:
    """The outcome of a look; nothing that a file says can end the verifier."""
    try:
        passed, detail = True, str(look(*subject) or "holds")
    except Exception as error:
        passed, detail = False, str(error) if type(error) is ValueError else f"malformed: {error!r}"
    return Check(str(look.__doc__), passed, "".join(filter(str.isprintable, detail)))


def need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def same(what: str, left: object, right: object) -> None:
    """Raises ValueError unless both sides are equal and of one type (in JSON, true is not 1)."""
    need(left == right and type(left) is type(right), f"{what}: {left!r:.300} is not {right!r:.300}")


def tells(what: str, row: Row, **expected: object) -> None:
    """Raises ValueError unless each member of a row is what follows from others."""
    for key, value in expected.items():
        same(f"{what}: {key}", row[key], value)


def total(rows: Iterable[Row], key: str) -> int:
    return sum(int(row[key]) for row in rows)


def bitcoin(satoshis: int) -> str:
    return f"{Decimal(satoshis) / 10**8:.8f}"


def canonical(value: Any) -> bytes:
    """RFC 8785, for names in ASCII; raises TypeError or ValueError for a fraction or half a character."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def parse(data: bytes) -> Any:
    """JSON; fractions, NaN become what `canonical` refuses."""
    return json.loads(data, object_hook=Row, parse_float=Decimal, parse_constant=Decimal)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


moment = dt.datetime.fromisoformat


def divide(amount: int, work: dict[int, int]) -> dict[int, int]:
    """Satoshis by work: rounded down, then one each to the largest remainders, ties to the lower id."""
    whole = sum(work.values())
    parts = {id_: amount * of // whole for id_, of in work.items()}
    order = sorted(work, key=lambda id_: (-(amount * work[id_] % whole), id_))
    return parts | {id_: parts[id_] + 1 for id_ in order[: amount - sum(parts.values())]}


Node = tuple[bytes, list[int]]
Rows = dict[int, Row]


def leaf(row: dict[str, Any], salt: bytes = b"", sums: Iterable[str] = ()) -> Node:
    return sha256(b"\0" + salt + canonical(row)), [int(row[name]) for name in sums]


def tree(nodes: list[Node], sums: int = 0) -> Node:
    """The root over leaves, and the sums of their numbers; without numbers it is the tree of RFC 9162."""
    if len(nodes) < 2:
        return nodes[0] if nodes else (sha256(b""), [0] * sums)
    middle = 1 << (len(nodes) - 1).bit_length() - 1
    both = tree(nodes[:middle], sums), tree(nodes[middle:], sums)
    data = b"".join(one + b"".join(number.to_bytes(32, "big") for number in told) for one, told in both)
    return sha256(b"\1" + data), [left + right for left, right in zip(both[0][1], both[1][1], strict=True)]


class Key:
    """A public key, since when it may sign, who vouches for it, and what ended it."""

    def __init__(self, public_key: str, since: str | None = None, by: str | None = None) -> None:
        self.public_key, self.by = public_key, by
        self.since = self.last = None if since is None else moment(since)
        self.id = sha256(bytes.fromhex(public_key)).hex()[:16]
        self.ends: list[tuple[dt.datetime, str]] = []

    def check(self, what: str, digest: bytes, value: bytes, at: str | None = None) -> None:
        """Raises ValueError unless this is its signature, and it might sign at that instant."""
        if at is not None:
            need(not self.since or self.since <= moment(at), f"{what}: {at} is before key {self.id} began")
            for since, end in self.ends:
                need(moment(at) < since, f"{what}: made on {at}, and key {self.id} was {end} {since}")
        good = len(value) == 64 and PublicKeyXOnly(bytes.fromhex(self.public_key)).verify(value, digest)
        need(good, f"{what}: the key {self.id} did not sign it")


class Trust(dict[str, Key]):
    """Who may sign, by public key: the one you trust, and all that follow from it in the pool's list."""

    def __init__(self, public_key: str) -> None:
        need(re.fullmatch("[0-9a-f]{64}", public_key) is not None, f"key {public_key[:80]!r}: 64 hex digits")
        PublicKeyXOnly(bytes.fromhex(public_key))
        self[public_key] = self.anchor = Key(public_key)

    def check_keys(self, listed: bytes) -> str:
        """the list of keys holds from its first event on and has the key that you trust"""
        keys, before = dict[str, Key](), Row(event_sha256=None, event=Row(at="0001-01-02T00:00Z"))
        for number, entry in enumerate(parse(listed).events, 1):
            event, what, digest = entry.event, f"key event {number}", sha256(canonical(entry.event))
            name, by, begins = event.key_id, event.authorised_by, event.action != "revoked"
            tells(what, event, seq=number, previous=before.event_sha256, schema="dmpool-key-event/1")
            tells(what, entry, event_sha256=digest.hex())
            need(moment(before.event.at) <= moment(event.at), f"{what}: is dated before the one before it")
            need(by is None or by in keys, f"{what}: is authorised by {by}, which is not in the list")
            if begins:
                need(name not in keys, f"{what}: key {name} is in the list already")
                need(event.action in ("introduced", "rotated"), f"{what}: {event.action} is nothing known")
                need(event.valid_from == event.at or number == 1, f"{what}: {name} begins at another time")
                keys[name] = Key(event.public_key, event.valid_from, by)
            tells(what, event, key_id=keys[name].id, public_key=keys[name].public_key)
            signers = [name, by][not begins : 1 + bool(by)]
            same(f"{what}: signed by", [one.key_id for one in entry.signatures], signers)
            for one in entry.signatures:
                keys[one.key_id].check(what, digest, bytes.fromhex(one.value), event.at)
            if begins and by is not None:
                keys[by].last = moment(event.at)
            if event.action == "rotated":
                keys[by].ends.append((moment(event.at), f"replaced by {name} on"))
            elif not begins:
                until, last = moment(event.valid_to), keys[name].last
                need(bool(by and last and last <= until <= moment(event.at)), f"{what}: not from {until} on")
                need(not any("revoked" in end for _, end in keys[name].ends), f"{what}: is revoked already")
                keys[name].ends.append((until, f"revoked ({event.reason}) from"))
            before = entry
        self[self.anchor.public_key] = keys[self.anchor.id]
        for key in keys.values():  # a key stands behind the one that vouches for it
            if key.by is not None and keys[key.by].public_key in self:
                self[key.public_key] = key
        return f"keys {', '.join(key.id for key in self.values())}"

    def check_seal(self, data: bytes) -> str:
        """the file is JSON in canonical form, with the hash of its report, signed by a key that may sign"""
        envelope = parse(data)
        need(canonical(envelope) == data, "by RFC 8785 the same content gives other bytes: it was changed")
        same("members", sorted(envelope), ["report", "report_sha256", "signatures"])
        digest, made = sha256(canonical(envelope.report)), envelope.report.generated_at
        tells("envelope", envelope, report_sha256=digest.hex())
        ours = [one for one in envelope.signatures if one.type == "bip340" and one.public_key in self]
        others = [f"{one.type} of {one.get('key_id')}"[:60] for one in envelope.signatures if one not in ours]
        names = ", ".join(key.id for key in self.values())
        need(bool(ours), f"no signature is of {names}; there are {others}. A key that took its place: --keys")
        for one in ours:
            same("members", sorted(one), ["key_id", "public_key", "signed_at", "type", "value"])
            key = self[one.public_key]
            tells("signature", one, key_id=key.id, signed_at=made, value=bytes.fromhex(one.value).hex())
            key.check("report", digest, bytes.fromhex(one.value), made)
        return f"sha256 {digest.hex()}, signed by {ours[0].key_id}; not checked: {others or 'none'}"


class Report(Row):
    """What a daily report says, and whether it agrees with itself."""

    def checks(self) -> list[Check]:
        """All that must hold within a report."""
        names = ["header", "blocks", "accounts", "owed", "totals", "payments", "sale", "commitments"]
        return [run_check(getattr(self, f"check_{name}")) for name in names]

    def has(self, at: str) -> bool:
        """Whether an instant is of this day."""
        return moment(self.day_start) <= moment(at) < moment(self.day_end)

    def check_header(self) -> str:
        """the header gives schema, day and place in the chain of reports"""
        start, end, made = moment(self.day_start), moment(self.day_end), moment(self.generated_at)
        day, elapsed = moment(self.report_date), int((min(made, end) - start).total_seconds())
        tells("header", self, schema="kz-dmp-daily/2", timezone=self.day_start[-6:], day_complete=made >= end)
        tells("header", self, elapsed_seconds=elapsed, report_date=f"{day:%Y-%m-%d}")
        same("day", [start.replace(tzinfo=None), end.replace(tzinfo=None)], [day, day + dt.timedelta(1)])
        need(min(self.sequence, self.version, elapsed + 1) >= 1, "sequence, version, time")
        need(dt.timedelta(hours=23) <= end - start <= dt.timedelta(hours=25), "the day has no day's length")
        keys = "previous_report_sha256", "replaces_sha256", "correction_reason"
        same(f"{keys}", [self[key] is None for key in keys], [self.sequence == 1, *[self.version == 1] * 2])
        for row in (*self.miners, self.totals):
            tells("rows and totals", row, average_hashrate=str(int(row.work) // max(elapsed, 1)))
        return f"{self.report_date}, version {self.version}, report {self.sequence}, {elapsed} seconds"

    def check_blocks(self) -> str:
        """each block is wholly divided, by the work in its window and its terms; its history is possible"""
        same("blocks named once each", len({block.hash for block in self.blocks}), len(self.blocks))
        for block in self.blocks:
            what, window, events = f"block {block.hash}", block.window, block.history
            work = {row.miner_id: int(row.work) for row in block.miners}
            tells(what, block, state=events[-1].state, found_at=events[0].at, status=STATES[block.state])
            need(bool(re.fullmatch(LIFE, " ".join(x.state for x in events))), f"{what}: a step cannot be")
            at = [moment(one.at) for one in events]
            need(at == sorted(at) and self.has(events[-1].at), f"{what}: its last step is not of this day")
            same(f"{what}: miners named once each", len(block.miners), len(work))
            same(f"{what}: has a window and has miners", bool(window), bool(work))
            reward, kept = block.reward_sat, {"pool": block.fees_sat, "shared": 0}[block.transaction_fees]
            good = all(type(id_) is int and work[id_] > 0 for id_ in work) and 0 <= block.fees_sat <= reward
            need(good and 0 <= block.commission_bps <= 10_000, f"{what}: its work or its terms cannot be")
            rate = kept + (reward - kept) * block.commission_bps // 10_000 if work else reward
            tells(what, block, reward_sat=block.subsidy_sat + block.fees_sat, commission_sat=rate)
            amounts, falls = (divide(one, work) if work else {} for one in (reward - rate, rate))
            for row in block.miners:
                tells(what, row, amount_sat=amounts[row.miner_id], commission_sat=falls[row.miner_id])
            if window:
                sizes = {"pplns": window.multiple * int(block.network_work), "solo": 1, "fpps": 0}
                tells(f"{what}: window", window, work=str(sum(work.values())), size=str(sizes[block.scheme]))
                lacks = int(window.size) - int(window.work)
                need(lacks == 0 or lacks > 0 == window.first_slice - 1, f"{what}: its window lacks {lacks}")
        return f"{len(self.blocks)} blocks"

    def moves(self) -> Iterator[tuple[str, str, int]]:
        """All that moved on the day: account, why, and by how many satoshis what it holds or owes grew."""
        for block in self.blocks:
            parts = {f"miner:{row.miner_id}": ("payable", row.amount_sat) for row in block.miners}
            parts["pool:commission"] = ("earned", block.commission_sat)
            parts["asset:coinbase"] = ("mature", block.reward_sat)
            bears = dict[str, int]()  # by the pool: what miners had been paid of it when it left the chain
            for before, event in pairwise([Row(state=""), *block.history]):
                borne = {f"miner:{row.miner_id}": row.amount_sat for row in event.get("borne_by_pool", ())}
                more = all(bears.get(one, 0) <= borne.get(one, 0) <= parts[one][1] for one in bears | borne)
                bears = borne if more and (before.state, event.state) == ("mature", "orphaned") else bears
                same(f"block {block.hash}: what the pool bears of it on {event.at}", borne, bears)
                for party, (mature, amount) in parts.items() if self.has(event.at) else ():
                    lost, loss = borne.get(party, 0), f"pool:orphan_loss:{party[6:]}"
                    old = f"{party}:{mature if before.state == 'mature' else 'immature'}"
                    if event.state == "confirmed":
                        yield from ((old, "credited", amount - lost), (loss, "", lost))
                    elif event.state == "mature":
                        yield from ((old, "", lost - amount), (f"{party}:{mature}", "matured", amount - lost))
                    elif before.state in ("confirmed", "mature"):
                        yield from ((old, "reversed", lost - amount), (loss, "", -lost))
        for entry in self.journal.entries:
            why = entry.kind.split("_")[0]
            need(why in ("payout", "fpps", "correction"), f"entry {entry.kind} is of no known kind")
            same(f"entry {entry.kind} ({entry.memo}): its sum", total(entry.postings, "amount_sat"), 0)
            for one in entry.postings:
                yield one.account, why, one.amount_sat * (1 if one.account[:6] == "asset:" else -1)

    def check_accounts(self) -> str:
        """opening + in - out = closing for every account, and each moved as blocks and entries say (I3)"""
        sums, moved = {"assets": Counter[str](), "liabilities": Counter[str]()}, dict[str, list[int]]()
        for name, _, amount in self.moves():
            moved.setdefault(name, [0, 0])[amount < 0] += abs(amount)
        rows = {row.account: row for row in self.journal.accounts}
        same("accounts named once each", len(rows), len(self.journal.accounts))
        for name, row in rows.items():
            into, out = moved.pop(name, [0, 0])
            tells(f"account {name}", row, in_sat=into, out_sat=out, closing_sat=row.opening_sat + into - out)
            for group in (re.sub(r":\d+", "", name), "assets" if name[:5] == "asset" else "liabilities"):
                sums.setdefault(group, Counter()).update({side: row[side] for side in SIDES})
        same("accounts that moved and are not told", [one for one in moved if any(moved[one])], [])
        told = {row["class"]: row for row in self.journal.classes} | self.journal.totals
        same("classes of accounts", sorted(told), sorted(sums))
        for group, row in told.items():
            tells(group, row, **{side: sums[group][side] for side in SIDES})
        both = ([sums[group][side] for side in SIDES[::3]] for group in ("assets", "liabilities"))
        same("opening and closing of assets, and of what is owed", *both)
        return f"{len(rows)} accounts, {sums['assets']['closing_sat']} satoshis on each side"

    def check_owed(self) -> str:
        """what each miner and the pool got, gave and is owed is what blocks, entries and accounts say"""
        did: Counter[tuple[str, str]] = Counter()
        parties = {f"miner:{row.id}": row for row in self.miners}
        parties["pool:commission"] = Row(self.commission, per_share_sat=0, paid_sat=0)
        same("miners named once each", len(parties), len(self.miners) + 1)
        ids = {"", *(str(row.id) for row in self.miners)}
        for name, why, amount in self.moves():
            did[name.rpartition(":")[0], why] += amount
        for one in self.journal.accounts:
            known = re.fullmatch(ACCOUNTS, one.account) and re.sub("[^0-9]", "", one.account) in ids
            need(bool(known), f"account {one.account} belongs to nobody in this report")
            for side in ("opening_sat", "closing_sat"):
                did[one.account.rpartition(":")[0], side] += one[side]
            did[one.account, "ends"] += one.closing_sat
        ends = [did[f"pool:commission:{kind}", "ends"] for kind in ("immature", "earned")]
        tells("commission", self.commission, immature_sat=ends[0], earned_sat=ends[1])
        for party, row in parties.items():
            tells(party, row, **{key: did[party, key] for key in ("opening_sat", "closing_sat")})
            tells(party, row, credited_sat=did[party, "credited"], matured_sat=did[party, "matured"])
            tells(party, row, per_share_sat=did[party, "fpps"])
            tells(party, row, reversed_sat=-did[party, "reversed"], paid_sat=-did[party, "payout"])
            given = row.credited_sat + row.per_share_sat + row.corrected_sat - row.reversed_sat - row.paid_sat
            tells(party, row, corrected_sat=did[party, "correction"], closing_sat=row.opening_sat + given)
        return f"{len(self.miners)} miners are owed {self.totals.closing_sat} satoshis"

    def check_totals(self) -> str:
        """the totals are the sums of the rows; shares, work, refusals and licences go together (O-07)"""
        sums = {key: total(self.miners, key) for key in COUNTED}
        found, work = [self.has(block.found_at) for block in self.blocks], str(total(self.miners, "work"))
        tells("totals", self.totals, miners=len(self.miners), blocks_found=sum(found), work=work, **sums)
        for row in self.miners:
            what, standing = f"miner {row.account}", row.licence.standing if row.licence else []
            covered = any(one.status in ("in_force", "resumed") and self.has(one["from"]) for one in standing)
            tells(what, row, worked_without_licence=row.accepted_shares > 0 and not covered)
            tells(what, row, rejected_shares=sum(map(abs, row.rejected_by_reason.values())))
            same(f"{what}: has work and has shares", int(row.work) > 0, row.accepted_shares > 0)
        active = [row.devices_active for row in self.miners]
        tells("totals", self.totals, devices_active=None if None in active else sum(active))
        law = {(one.id, why): one.rejected_by_reason.get(why, 0) for one in self.miners for why in BY_LAW}
        told = {(x.miner_id, x.reason): x["count"] for x in self.compliance if x.kind == "shares_refused"}
        same("shares refused by law, told twice", told, {key: count for key, count in law.items() if count})
        without = [row.account for row in self.miners if row.worked_without_licence]
        return f"{len(self.miners)} miners; worked without a licence, as it says: {without or 'nobody'}"

    def check_payments(self) -> str:
        """every payment that the journal booked is a distribution of this day, or told apart (O-32, Q-07)"""
        rows, told, day = self.distributions, Counter[Any](), self.report_date
        for place, row in enumerate(rows, 1):
            what, gross = f"distribution {place}", row.quantity_sat + row.commission_sat
            tells(what, row, row_no=place, distribution_date=day, gross_sat=gross)
            tells(what, row, quantity=bitcoin(row.quantity_sat))
            tells(what, row, commission_quantity=bitcoin(row.commission_sat))
            told[row.payout_id, f"miner:{row.miner_id}", True] += row.quantity_sat * (row.booked_on == day)
        for row in self.bookings_apart:
            need(row.what in ("taken_back", "paid")[: 2 - (row.counts_for == day)], f"told apart: {row.what}")
            told[row.payout_id, f"miner:{row.miner_id}", row.what == "paid"] += row.quantity_sat
        for entry in self.journal.entries:
            left = Counter[str]()
            for one in entry.postings if entry.kind.startswith("payout_") else ():
                left[one.account.rpartition(":")[0]] += one.amount_sat
            told.subtract({(entry.payout_id, who, left[who] > 0): abs(left[who]) for who in left})
        same("payments told, and the journal's", [x for x in told if told[x] and x[1][:6] == "miner:"], [])
        same("payments named once each", len({(row.txid, row.vout) for row in rows}), len(rows))
        need(all(row.quantity_sat > 0 for row in (*rows, *self.bookings_apart)), "a payment is of nothing")
        sums = total(rows, "quantity_sat"), total(rows, "commission_sat")
        tells("totals", self.totals, distributions=len(rows), distributed_sat=sums[0])
        tells("totals", self.totals, distributed_commission_sat=sums[1])
        tells("totals", self.totals, distributed=bitcoin(sums[0]), distributed_commission=bitcoin(sums[1]))
        return f"{len(rows)} payments, {self.totals.distributed_sat} satoshis"

    def check_sale(self) -> str:
        """what had to be sold follows from what was mined and sold, by both readings (O-50, O-51, Q-02)"""
        for row in self.mandatory_sale:
            what, sold = f"sale of miner {row.miner_id} in {row.period}", row.sold_eligible_sat
            for key in ("mined_sat", "realised_sat", "sold_eligible_sat"):
                same(f"{what}: {key}", row[key], total(row.parts, key))
            need(all(a.to < b["from"] for a, b in pairwise(row.parts)), f"{what}: stretches overlap")
            for part in row.parts:
                last = min(part.to, self.report_date)
                sales = [one for one in row.confirmations if part["from"] <= one.sold_on <= last]
                counts = [one for one in sales if one.licence and one.licensor in part.licensors]
                tells(what, part, realised_sat=total(sales, "quantity_sat"))
                tells(what, part, sold_eligible_sat=total(counts, "quantity_sat"))
            for base in ("mined", "realised"):
                of, due = row[f"{base}_sat"], sum(part[f"{base}_sat"] * part.share_bps for part in row.parts)
                same(f"{what}: {base}", row[f"share_of_{base}_bps"], sold * 10_000 // of if of else None)
                same(f"{what}: {base}", row[f"shortfall_of_{base}_sat"], max(-(-due // 10_000) - sold, 0))
            share, short = row.parts[-1].share_bps, row[f"shortfall_of_{row.base}_sat"]
            tells(what, row, rule_share_bps=share, shortfall_sat=short)
        return f"{len(self.mandatory_sale)} rows"

    def check_commitments(self) -> str:
        """what the report commits to are its rows and sums, and hours without a gap between them"""
        told, rows = self.commitments, [Row(row) for row in self.miners]
        root, sums = tree(sorted(leaf(row, bytes.fromhex(row.pop("salt")), ROW_SUMS) for row in rows), 5)
        numbers = [[int(one[name]) for name in ROW_SUMS] for one in (self.totals, told.miners)]
        same("sums of the rows, in the totals and in the commitment", numbers, [sums, sums])
        tells("tree of the rows", told.miners, root=root.hex(), leaves=len(rows))
        need(all(self.has(hour.hour) for hour in told.hours), "an hour of the archive is not of this day")
        return f"{len(rows)} rows, {len(told.hours)} hours of the archive"


def climb(node: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root of a tree of `size` leaves from one of them and its inclusion proof (RFC 9162 2.1.3)."""
    if size < 2 or not path:
        return node if (size, index) == (1, 0) and not path else b""
    half, (*lower, top) = 1 << (size - 1).bit_length() - 1, path
    if index < half:
        return sha256(b"\1" + climb(node, index, half, lower) + top)
    return sha256(b"\1" + top + climb(node, index - half, size - half, lower))


class Published:
    """Signed reports, and whether they follow each other and are in the log and the archive."""

    def __init__(self, files: Iterable[bytes], trust: Trust) -> None:
        self.trust, self.envelopes = trust, sorted(map(parse, files), key=lambda one: one.report.sequence)
        self.reports = [Report(one.report) for one in self.envelopes]
        newest = {one.report_date: one for one in sorted(self.reports, key=lambda one: one.version)}
        first = min((one.report_date for one in self.reports if one.version == 1), default="")
        self.days = [newest[day] for day in sorted(newest) if day >= first]  # others were told before these
        self.span = range(self.reports[0].sequence, self.reports[-1].sequence + 1)

    def check_chain(self) -> str:
        """each report names the one before; days, blocks, hours go on as they were told; none is missing"""
        newest, blocks, days = dict[str, Row](), dict[str, Row](), self.days
        for before, after in pairwise([None, *self.envelopes]):
            report, what = after.report, f"report {after.report.sequence} of {after.report.report_date}"
            if before is not None:
                tells(what, report, sequence=before.report.sequence + 1)
                tells(what, report, previous_report_sha256=before.report_sha256)
            if (kept := newest.get(report.report_date)) is not None:
                tells(what, report, version=kept.report.version + 1, replaces_sha256=kept.report_sha256)
            newest[report.report_date] = after
        for old, new in pairwise(days):
            same(f"first instant of the day behind {old.report_date}", new.day_start, old.day_end)
            ends = {row.account: row.closing_sat for row in old.journal.accounts if row.closing_sat}
            begins = {row.account: row.opening_sat for row in new.journal.accounts if row.opening_sat}
            wrong = [name for name in ends | begins if ends.get(name) != begins.get(name)]
            same(f"accounts that end {old.report_date} otherwise than the next day begins", wrong, [])
        for block in (block for day in days for block in day.blocks):
            kept = blocks.get(block.hash, Row(block, history=[]))
            steps = kept.history + block.history[len(kept.history) :]
            told = Row(kept, state=block.state, status=block.status, history=steps)
            same("block as it was told before, and now", told, block)
            blocks[block.hash] = block
        for one, hour in pairwise(hour for day in days for hour in day.commitments.hours):
            work = str(int(one.work_before) + int(one.work))
            tells(f"hour {hour.hour}", hour, first_batch=one.last_batch + 1, work_before=work)
        return f"{len(self.reports)} reports of {len(days)} days"

    def checkpoint(self, note: str, kept: bool = False) -> tuple[int, bytes]:
        """Size and root of the log by a checkpoint (C2SP tlog-checkpoint) that a key you trust has signed.

        It has no date: what a revoked key signed counts only where you kept it from earlier.
        """
        (text, _, lines), pool = note.rpartition("\n\n"), self.reports[0].pool
        origin, size, root = text.split("\n")
        same("name of the log", origin, f"dmpool/{pool.bin}/{pool.chain}")
        for line in lines.splitlines():
            value = base64.b64decode(line.rpartition(" ")[2])
            for key in (one for one in self.trust.values() if kept or "revoked" not in str(one.ends)):
                of = f"{origin}\n".encode() + b"\xffdmpool/bip340-sha256" + bytes.fromhex(key.public_key)
                if line.startswith(f"\u2014 {origin} ") and value[:4] == sha256(of)[:4]:
                    key.check("checkpoint", sha256(f"{text}\n".encode()), value[4:])
                    return int(size), base64.b64decode(root)
        raise ValueError("the checkpoint is not signed by a key that you trust")

    def check_entry(self, entry: Row, envelope: Row) -> None:
        """Raises ValueError unless an entry of the log is that of a report."""
        one, head = envelope.report, {"kind": "report", "sha256": envelope.report_sha256}
        head |= {key: one[key] for key in ("version", "sequence", "commitments")}
        tells("entry of the log", entry, **head, day=one.report_date)

    def check_proof(self, proof: str) -> str:
        """the report is in the log, by a proof of inclusion (C2SP tlog-proof) and the signed checkpoint"""
        head, _, note = proof.partition("\n\n")
        _, extra, index, *lines = head.split("\n")
        entry, at = base64.b64decode(extra.removeprefix("extra ")), int(index.removeprefix("index "))
        (size, root), path = self.checkpoint(note), [base64.b64decode(line) for line in lines]
        self.check_entry(parse(entry), self.envelopes[-1])
        same("end of the proof, and root", climb(sha256(b"\0" + entry), at, size, path), root)
        return f"entry {at} of {size}"

    def check_log(self, directory: Path, old: str | None) -> str:
        """the log is signed, goes on from the checkpoint you kept, and has these reports and no others"""
        (size, root), entries = self.checkpoint((directory / "checkpoint").read_text()), list[bytes]()
        for number in range(-(-size // 256)):
            digits = f"{number:0{-(-len(str(number)) // 3) * 3}}"
            *above, last = [digits[at : at + 3] for at in range(0, len(digits), 3)]
            full = directory.joinpath("tile/entries", *(f"x{one}" for one in above), last)
            data = (full if full.exists() else full.with_name(f"{last}.p") / str(size % 256)).read_bytes()
            for _ in range(min(256, size - len(entries))):
                length = 2 + int.from_bytes(data[:2], "big")
                entries.append(data[2:length])
                data = data[length:]
        leaves: list[Node] = [(sha256(b"\0" + one), []) for one in entries[:size]]
        same("root of the entries, and the signed one", tree(leaves)[0].hex(), root.hex())
        reports = [entry for entry in map(parse, entries) if entry.kind == "report"]
        need({b.sequence - a.sequence for a, b in pairwise(reports)} <= {1}, "a report twice or not in it")
        told = {entry.sha256: entry for entry in reports}
        for one in self.envelopes:
            self.check_entry(told.pop(one.report_sha256, Row(kind="no entry of it")), one)
        others = [one.day for one in told.values() if one.sequence in self.span]
        same("days of reports in the log that are not here", others, [])
        if old is not None:
            before, kept = self.checkpoint(old, kept=True)
            same("root of the log as you kept it", tree(leaves[:before])[0].hex(), kept.hex())
        return f"{size} entries, root {root.hex()}; reports before or behind these: {len(told)}"

    def check_archive(self, archive: Path) -> str:
        """every archived share did its work and is committed to; windows and splits follow from the shares"""
        blocks = {block.hash: block for day in self.days for block in day.blocks}
        winners, anew, seen, slices, top = dict.fromkeys(blocks, 0), set[int](), set[bytes](), Rows(), 0
        for report in self.days:
            salts = {row.id: bytes.fromhex(row.salt) for row in report.miners}
            for hour in report.commitments.hours:
                at, old = hour.hour, len(slices)
                file = archive / f"{at[:10].replace('-', '/')}/{at[11:13]}.csv.gz"
                rows, leaves = read_hour(file, hour, slices, winners, seen), list[Node]()
                for id_, row in rows.items():
                    row.update(hour=at, miner_id=id_, work=str(row.work), digest=row.digest.hexdigest())
                    salt = hmac.digest(salts[id_], at.encode(), "sha256")[:16]
                    leaves.append(leaf(row, salt, ("shares", "work")))
                root, (shares, work) = tree(sorted(leaves), 2)
                tells(f"hour {at}", hour, root=root.hex(), shares=shares, work=str(work))
                new = [*islice(reversed(slices), len(slices) - old)]
                need(top < min(new, default=top + 1), f"{file}: slice {new[:1]} is not behind {top}")
                top = max([top, *new])
        for hash_, block in blocks.items():
            what, window, won = f"block {hash_}", block.window, winners[hash_]
            ends = won in (0, window.last_slice) if window else block.scheme == "fpps" or not won
            need(ends, f"{what}: its share is in slice {won}, and its window {window and window.last_slice}")
            if window and window.last_slice in slices and min(slices) <= window.first_slice:
                first, last = window.first_slice, window.last_slice
                rest, lacks = slices[first].work - int(window.first_slice_work), window.work != window.size
                need(0 <= rest < (1 if lacks else slices[first].work), f"{what}: slice {first}")
                did = Counter({slices[first].miner: -rest})
                for place in range(first, last + 1):
                    did[slices[place].miner] += slices[place].work
                told = Counter({row.miner_id: int(row.work) for row in block.miners})
                same(f"{what}: work by miner in its window", did, told)
                anew.add(block.height)
        return f"{len(slices)} slices; windows and splits made anew of the blocks {sorted(anew) or 'none'}"


def read_hour(file: Path, hour: Row, slices: Rows, winners: dict[str, int], seen: set[bytes]) -> Rows:
    """Shares, work and digest of an hour by miner; its rows (slice, miner, target, header) add to slices."""
    rows: dict[int, Row] = {}
    with gzip.open(file, "rt") as text:
        for line in islice(iter(lambda: text.readline(400), ""), hour.shares + 1):
            slice_, miner, target, header = line.split(",")
            share, hard, place, id_ = bytes.fromhex(header), int(target, 16), int(slice_), int(miner)
            digest, work = sha256(sha256(share))[::-1], 2**256 // (hard + 1)
            need(int(digest.hex(), 16) <= hard and digest not in seen, f"{line} did not do its work once")
            row = rows.setdefault(id_, Row(shares=0, work=0, digest=hashlib.sha256()))
            row.digest.update(share + bytes.fromhex(target))
            row.update(shares=row.shares + 1, work=row.work + work)
            piece = slices.setdefault(place, Row(miner=id_, work=0, won=False, hour=hour.hour))
            tells(f"{file}: slice {place}", piece, miner=id_, won=False, hour=hour.hour)
            piece.update(work=piece.work + work, won=digest.hex() in winners)
            seen.add(digest)
            if piece.won:
                winners[digest.hex()] = place
    return rows


def examine(reports: dict[str, bytes], key: str, **beside: Path | None) -> dict[str, list[Check]]:
    """All checks, by the file that they are of; `beside` are keys, log, old, proof, archive.

    Raises ValueError for a key that is none, OSError for a file that cannot be read.
    """
    trust, told, keys = Trust(key.lower()), dict[str, list[Check]](), beside.get("keys")
    if keys:
        told[str(keys)] = [run_check(trust.check_keys, keys.read_bytes())]
    for name, data in reports.items():
        told[name] = [run_check(trust.check_seal, data)]
        told[name] += Report(parse(data).report).checks() if told[name][0].passed else []
    if told and all(check.passed for checks in told.values() for check in checks[:2]):  # seals and headers
        published, old = Published(reports.values(), trust), beside.get("old")
        told["all reports"] = [run_check(published.check_chain)]
        if proof := beside.get("proof"):
            told[str(proof)] = [run_check(published.check_proof, proof.read_text())]
        if log := beside.get("log"):
            told[str(log)] = [run_check(published.check_log, log, old and old.read_text())]
        if archive := beside.get("archive"):
            told[str(archive)] = [run_check(published.check_archive, archive)]
    return told


def main() -> int:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--key", required=True)
    for name in ("keys", "log", "old", "proof", "archive"):
        parser.add_argument(f"--{name}", type=Path)
    asked = vars(parser.parse_args())
    try:
        found = [sorted(one.glob("*.json")) if one.is_dir() else [one] for one in asked.pop("reports")]
        told = examine({str(file): file.read_bytes() for file in chain(*found)}, asked.pop("key"), **asked)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    for name, checks in told.items():
        for check in checks if len(told) < 4 else [one for one in checks if not one.passed] or checks[:1]:
            print("ok  " if check.passed else "FAIL", f"{name}: {check.name}: {check.detail}")
    passed = [check.passed for check in chain(*told.values())]
    print(f"{len(passed)} checks, {passed.count(False) or 'none'} failed")
    return int(not all(passed)) if told else 2


if __name__ == "__main__":
    raise SystemExit(main())
