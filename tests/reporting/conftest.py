"""A pool's money over some days, made the way the ledger makes it: steps of blocks, each booked at once."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from payouts import journal
from payouts.block_state import State
from payouts.journal import EntryKind, Posting
from payouts.pplns import Window, nobodys, split
from register.licence import Licence
from register.miner import Miner
from register.payout_address import PayoutAddress
from register.rules import load_rules
from reporting.daily import BlockEvent, BlockFacts, DayFacts, Edition, MinerFacts, PoolFacts
from reporting.standing import Held, Version

RULES = load_rules(Path(__file__).parents[2] / "configs" / "rules.toml")
HOUR = 3_600_000_000
DAY = dt.date(2026, 11, 20)
ADDRESS = "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x"
NUMBERS = ("940140000385", "990140004654", "061211600012")


def miner(id_: int) -> Held:
    first = dt.date(2026, 1, 1)
    licence = Licence(f"KZ-{id_}", id_, 1, first, first, dt.date(2028, 12, 31))
    wallet = PayoutAddress(id_, 1, "wallet", ADDRESS, 0)
    who = Miner(id_, f"miner{id_}", f"ТОО «Қазына {id_}»", NUMBERS[id_ - 1])
    return Held(who, wallet, [Version(licence)])


class World:
    """Blocks and the journal; `step` moves a block and books it, `facts` is what a report is made of."""

    def __init__(self) -> None:
        self.blocks: list[BlockFacts] = []
        self.booked: list[tuple[int, journal.Entry]] = []

    def find(self, at_us: int, reward: int, work: dict[int, int], *, first: int = 5) -> int:
        """A block found; its place in `blocks`. No work: nobody had worked before."""
        number = len(self.blocks)
        total = sum(work.values())
        self.blocks.append(
            BlockFacts(
                height=800 + number,
                hash=f"{number + 0xAB00:064x}",
                coinbase_txid=f"{number + 0xCD00:064x}",
                finder_id=min(work, default=None),
                finder_worker="rack-1",
                reward_sat=reward,
                fees_sat=reward // 100,
                commission_bps=150,
                scheme="pplns",
                transaction_fees="shared",
                window_size=total if first > 1 else total + 9,
                window=Window(first, 1, first + 3, total, work) if work else None,
                split=split(reward, 150, work) if work else nobodys(reward),
                history=(BlockEvent(State.FOUND, at_us),),
            )
        )
        return number

    def step(self, number: int, state: State, at_us: int) -> None:
        block = self.blocks[number]
        before = block.history[-1].state
        lost, entry = self._lost(block.hash), None
        if state is State.CONFIRMED:
            entry = journal.block_confirmed(block.hash, block.split, lost)
        elif state is State.MATURE:
            entry = journal.block_matured(block.hash, block.split, lost)
        elif before is not State.FOUND:
            entry = journal.block_reversed(block.hash, block.split, before, self.payable(), lost)
            lost = journal.lost_of(entry)
        if entry is not None:
            self.booked.append((at_us, entry))
        event = BlockEvent(state, at_us, journal.NOTHING if entry is None else lost)
        self.blocks[number] = replace(block, history=(*block.history, event))

    def _lost(self, block_hash: str) -> dict[int, int]:
        of_block = [
            entry
            for _, entry in self.booked
            if entry.block_hash == block_hash and entry.kind is EntryKind.BLOCK_REVERSED
        ]
        return journal.lost_of(of_block[-1] if of_block else None)

    def payable(self) -> dict[int, int]:
        balances = journal.balances(entry for _, entry in self.booked)
        return {id_: -balances.get(journal.miner_payable(id_), 0) for id_ in (1, 2, 3)}

    def pay(self, payout_id: int, amounts: dict[int, int], at_us: int, confirmed_us: int) -> None:
        """A payout: money reserved, and out of the pool when it is confirmed, at a fee."""
        self.booked.append((at_us, journal.payout_reserved(payout_id, amounts)))
        self.booked.append((confirmed_us, journal.payout_confirmed(payout_id, amounts, 1234)))

    def facts(self, day: dt.date = DAY, **changes: Any) -> DayFacts:
        start, end = RULES.day_bounds(day)
        usual = DayFacts(
            day=day,
            generated_at_us=end + HOUR,
            software_version="0.1.0",
            rules=RULES,
            pool=PoolFacts("Example DMP LLP", "940140000385", "regtest", ADDRESS, 150),
            edition=Edition(sequence=1, previous_sha256=None),
            miners=[
                MinerFacts(miner(1), 40, {"stale": 2, "low-difficulty": 1}, 2**70 + 1),
                MinerFacts(miner(2), 7, {}, 12_345_678_901),
                MinerFacts(miner(3), 0, {}, 0),
            ],
            blocks=list(self.blocks),
            opening=journal.balances(entry for at_us, entry in self.booked if at_us < start),
            entries=[entry for at_us, entry in self.booked if start <= at_us < end],
            closing=journal.balances(entry for at_us, entry in self.booked if at_us < end),
        )
        return replace(usual, **changes)


def lived_in() -> World:
    """One block of each fate: matured, credited, orphaned from either state, returned, lost at once."""
    world = World()
    start, end = RULES.day_bounds(DAY)
    before = start - 20 * HOUR
    for reward in (5_000_000_001, 2_500_000_777, 312_500_003):
        world.step(world.find(before, reward, {1: 2**64, 2: 3**30}), State.CONFIRMED, before + 1)
    world.step(0, State.MATURE, start)  # the first instant of the day belongs to it
    world.step(1, State.MATURE, start - 1)
    world.pay(1, {1: world.payable()[1] - 5, 2: 7}, start + HOUR, start + HOUR + 1)
    world.pay(2, {2: 9}, start + HOUR + 2, end + 1)
    world.booked.append(
        (
            start + HOUR + 3,
            journal.correction(
                [Posting("miner:3:payable", -3), Posting("pool:correction", 3)], "promised on the phone"
            ),
        )
    )
    world.step(1, State.ORPHANED, start + 2 * HOUR)  # miner 1 has been paid of it: the pool bears that
    world.step(2, State.ORPHANED, start + 3 * HOUR)
    world.step(2, State.CONFIRMED, start + 4 * HOUR)
    credited = world.find(start + 5 * HOUR, 5_000_000_013, {1: 7, 2: 11, 3: 1}, first=1)
    world.step(credited, State.CONFIRMED, end - 1)
    world.step(world.find(start + 6 * HOUR, 1_000_000, {3: 1}), State.ORPHANED, start + 7 * HOUR)
    world.find(end - 2, 99_900_001, {2: 5})
    world.step(credited, State.MATURE, end)  # belongs to the next day
    return world


@pytest.fixture(scope="session")
def world() -> Callable[[], World]:
    """Makes an empty world."""
    return World


@pytest.fixture
def facts() -> DayFacts:
    """The facts of a day on which everything happened."""
    return lived_in().facts()
