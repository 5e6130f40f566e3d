"""A year of a pool of 84 licensees, told by the builder of daily reports: blocks, payments, hours, the log.

Its money is kept by the journal as the ledger keeps it; blocks come by chance and a few leave the chain, and
everybody is paid every third day. Nothing is in PostgreSQL, so that a year takes minutes.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import rfc8785

from payouts import journal
from payouts.block_state import State
from payouts.pplns import Window, split
from pool.log_files import write_files
from register.licence import Licence
from register.miner import Miner
from register.payout_address import PayoutAddress
from reporting.checkpoint import Checkpoint
from reporting.commitment import row_salt
from reporting.daily import build
from reporting.daily_facts import (
    BlockEvent,
    BlockFacts,
    DayFacts,
    Devices,
    Edition,
    HourFacts,
    HourOfMiner,
    MinerFacts,
    Paid,
    PoolFacts,
    Software,
)
from reporting.merkle import Tree, leaf_hash
from reporting.note import Bip340Signer, sign_note
from reporting.sale import Got, SaleFacts, sale_rows
from reporting.signing import SigningKey, encode, sign
from reporting.standing import Held, Version
from reporting.tiles import ENTRIES, WIDTH, tiles_of
from tests.register_world import bin_number
from tests.reporting.conftest import ADDRESS, DIGEST, FIRST, RULES, SECRET, distribution, register

MINERS = 84
UNITS = 988
"""Of each miner: 83,000 in all."""
HOUR = 3_600_000_000
SHARE = 2**42
A_DAY = 9
"""Blocks found, on average: six in a hundred of the network's."""


def held(id_: int) -> Held:
    """A miner of the year, with its licence and wallet."""
    licence = Licence(f"KZ-{id_}", id_, 1, FIRST, FIRST, dt.date(2028, 12, 31))
    wallet = PayoutAddress(id_, 1, "wallet", ADDRESS, 0)
    who = Miner(id_, f"miner{id_}", f"ТОО «Қазына {id_}»", bin_number(id_))
    return Held(who, wallet, [Version(licence)])


class Year:
    """The pool, day after day from the first of the year on."""

    def __init__(self, key: SigningKey, seed: int = 2026) -> None:
        self.key = key
        self.tree, self.entries = Tree(), list[bytes]()
        self.day = dt.date(2026, 1, 1)
        self._chance = random.Random(seed)
        self._balances: Counter[str] = Counter()
        self._open: list[BlockFacts] = []
        self._sequence, self._before = 0, None
        self._got: list[Got] = []
        self._batch, self._work_before = 1, 0

    def days(self, count: int) -> Iterator[tuple[dt.date, bytes]]:
        """Each day and its signed report, which is in the log when it is given."""
        for _ in range(count):
            yield self.day, self._report()
            self.day += dt.timedelta(days=1)

    def write_log(self, directory: Path) -> None:
        """The log as the pool publishes it, signed by the report key."""
        origin = "dmpool/940140000385/regtest"
        text = Checkpoint(origin, self.tree.size, self.tree.root()).text()
        tiles = list(tiles_of(self.tree.size))
        bundles = {
            one: self.entries[one.index * WIDTH : one.index * WIDTH + one.width]
            for one in tiles
            if one.level == ENTRIES
        }
        write_files(directory, self.tree, bundles, tiles, sign_note(text, [Bip340Signer(origin, self.key)]))

    def _report(self) -> bytes:
        start, end = RULES.day_bounds(self.day)
        opening = dict(self._balances)
        entries = [*self._mature(start), *self._find(start)]
        paid = self._pay(entries)
        blocks, self._open = self._told(start), [one for one in self._open if not _over(one)]
        self._sequence += 1
        report = build(
            DayFacts(
                day=self.day,
                generated_at_us=end + HOUR,
                software=Software("0.1.0", DIGEST),
                rules=RULES,
                pool=PoolFacts("Example DMP LLP", "940140000385", "regtest", ADDRESS, 150),
                edition=Edition(self._sequence, self._before),
                register=replace(register(self.day), addresses=[], events=[], units={}),
                miners=[self._miner(id_, start, end) for id_ in range(1, MINERS + 1)],
                blocks=blocks,
                paid=paid,
                apart=[],
                sale=self._sale(),
                seen=[],
                opening=opening,
                entries=entries,
                closing=dict(self._balances),
                hours=[self._hour(start + number * HOUR) for number in range(24)],
                hours_complete=True,
                salts={id_: row_salt(SECRET, self.day, id_) for id_ in range(1, MINERS + 1)},
            )
        )
        envelope = sign(report, [self.key])
        self._before = envelope["report_sha256"]
        self._log(envelope)
        return encode(envelope)

    def _log(self, envelope: dict[str, Any]) -> None:
        report = envelope["report"]
        told = {key: report[key] for key in ("version", "sequence", "replaces_sha256", "commitments")}
        leaf = {**told, "kind": "report", "day": report["report_date"], "sha256": envelope["report_sha256"]}
        others = ({"kind": "register", "day": report["report_date"]}, {"kind": "form", "period": "none"})
        for one in (leaf, *others):
            self.entries.append(rfc8785.dumps(one))
            self.tree.append(leaf_hash(self.entries[-1]))

    def _book(self, entry: journal.Entry) -> journal.Entry:
        for posting in entry.postings:
            self._balances[posting.account] += posting.amount
        return entry

    def _mature(self, start: int) -> list[journal.Entry]:
        """Yesterday's blocks are a hundred deep by now; one in thirty has left the chain."""
        entries = []
        for place, block in enumerate(self._open):
            state = State.ORPHANED if self._chance.random() < 1 / 30 else State.MATURE
            at_us = start + place + 1
            if state is State.MATURE:
                entry = journal.block_matured(block.hash, block.split, {})
            else:
                entry = journal.block_reversed(block.hash, block.split, State.CONFIRMED, {}, {})
            entries.append(self._book(entry))
            self._open[place] = replace(block, history=(*block.history, BlockEvent(state, at_us)))
        return entries

    def _find(self, start: int) -> list[journal.Entry]:
        entries = []
        for _ in range(self._chance.randint(A_DAY - 4, A_DAY + 4)):
            number = self._chance.getrandbits(200)
            reward = 312_500_000 + self._chance.randrange(9_000_000)
            work = {id_: SHARE * self._chance.randrange(900, 1100) for id_ in range(1, MINERS + 1)}
            at_us, total = start + HOUR + len(entries), sum(work.values())
            block = BlockFacts(
                height=900_000 + self._sequence * 20 + len(entries),
                hash=f"{number:064x}",
                previous_hash=f"{number + 1:064x}",
                coinbase_txid=f"{number + 2:064x}",
                finder_id=self._chance.randint(1, MINERS),
                finder_worker="rig1",
                reward_sat=reward,
                fees_sat=reward - 312_500_000,
                commission_bps=150,
                scheme="pplns",
                transaction_fees="shared",
                network_work=total,
                window_multiple=1,
                window_size=total,
                window=Window(5, 1, 9000, total, work),
                split=split(reward, 150, work),
                history=(BlockEvent(State.FOUND, at_us), BlockEvent(State.CONFIRMED, at_us + HOUR)),
            )
            entries.append(self._book(journal.block_confirmed(block.hash, block.split, {})))
            self._open.append(block)
        return entries

    def _told(self, start: int) -> list[BlockFacts]:
        """Blocks that took a step today."""
        return [one for one in self._open if one.history[-1].at_us >= start]

    def _pay(self, entries: list[journal.Entry]) -> list[Paid]:
        """Every third day each miner is paid what is payable."""
        self._got = [one for one in self._got if one.on >= self._quarter()]
        if self._sequence % 3:
            return []
        owed = {id_: -self._balances[journal.miner_payable(id_)] for id_ in range(1, MINERS + 1)}
        amounts = {id_: amount for id_, amount in owed.items() if amount > 0}
        if not amounts:
            return []
        number = self._sequence
        for entry in (
            journal.payout_reserved(number, amounts),
            journal.payout_confirmed(number, amounts, 1234),
        ):
            entries.append(self._book(entry))
        paid = []
        for vout, (id_, amount) in enumerate(amounts.items()):
            who = held(id_).miner
            row = distribution(1, amount, number, vout, self.day)._replace(
                miner_id=id_, account=who.name, name=who.title, bin=who.bin, licence_number=f"KZ-{id_}"
            )
            paid.append(Paid(row, number, self.day, self.day))
            self._got.append(Got(id_, self.day, amount, ""))
        return paid

    def _quarter(self) -> dt.date:
        return dt.date(self.day.year, (self.day.month - 1) // 3 * 3 + 1, 1)

    def _sale(self) -> list[dict[str, Any]]:
        facts = SaleFacts(self._quarter(), self.day, self._got, [], {}, {}, frozenset())
        return sale_rows(facts, RULES, self.day)

    def _miner(self, id_: int, start: int, end: int) -> MinerFacts:
        shares = 8000 * UNITS + id_
        devices = Devices(UNITS, UNITS - id_, 0, (f"dc-{id_}",))
        return MinerFacts(held(id_), shares, {"stale": id_}, shares * SHARE, start, end - 1, devices)

    def _hour(self, at_us: int) -> HourFacts:
        shares = 333 * UNITS
        miners = {
            id_: HourOfMiner(shares, str(shares * SHARE), f"{id_:064x}") for id_ in range(1, MINERS + 1)
        }
        hour = HourFacts(
            hour=f"{dt.datetime.fromtimestamp(at_us // 1_000_000, dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
            file_sha256=f"{at_us:064x}",
            manifest_sha256=f"{at_us + 1:064x}",
            first_batch=self._batch,
            last_batch=self._batch + 3599,
            work_before=str(self._work_before),
            shares=shares * MINERS,
            work=shares * MINERS * SHARE,
            miners=miners,
        )
        self._batch += 3600
        self._work_before += hour.work
        return hour


def _over(block: BlockFacts) -> bool:
    return block.history[-1].state in (State.MATURE, State.ORPHANED)
