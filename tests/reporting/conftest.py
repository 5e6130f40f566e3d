"""A pool's money over some days, made the way the ledger makes it: steps of blocks, each booked at once."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from payouts import journal
from payouts.block_state import State
from payouts.journal import EntryKind, Posting
from payouts.pplns import Window, nobodys, split
from register.event import Event, canonical, sealed
from register.licence import Act, Licence
from register.miner import Miner
from register.payout_address import PayoutAddress
from register.pool_data import Accreditation, Site, TestProtocol
from register.rules import load_rules
from register.sighting import Seen, Sighting, SightingKind
from reporting.commitment import row_salt
from reporting.daily_compliance import seen_rows
from reporting.daily_facts import (
    Apart,
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
    RegisterFacts,
    Software,
)
from reporting.distribution import Distribution
from reporting.sale import Got, SaleFacts, sale_rows
from reporting.sale_confirmation import Sale, Told
from reporting.standing import Held, Version

RULES = load_rules(Path(__file__).parents[2] / "configs" / "rules.toml")
HOUR = 3_600_000_000
DAY = dt.date(2026, 11, 20)
ADDRESS = "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x"
NUMBERS = ("940140000385", "990140004654", "061211600012")


FIRST = dt.date(2026, 1, 1)
"""Of licences and hardware."""
SECRET = bytes(range(32))
DIGEST = "5d" * 32


def miner(id_: int) -> Held:
    licence = Licence(f"KZ-{id_}", id_, 1, FIRST, FIRST, dt.date(2028, 12, 31))
    wallet = PayoutAddress(id_, 1, "wallet", ADDRESS, 0)
    who = Miner(id_, f"miner{id_}", f"ТОО «Қазына {id_}»", NUMBERS[id_ - 1])
    return Held(who, wallet, [Version(licence)])


class World:
    """Blocks and the journal; `step` moves a block and books it, `facts` is what a report is made of."""

    def __init__(self) -> None:
        self.blocks: list[BlockFacts] = []
        self.booked: list[tuple[int, journal.Entry]] = []
        self.payments: list[tuple[int, dict[int, int], int, int]] = []
        """Payout, satoshis by miner, when it was booked as paid, and the time of its block."""

    def find(self, at_us: int, reward: int, work: dict[int, int], *, first: int = 5) -> int:
        """A block found; its place in `blocks`. No work: nobody had worked before."""
        number = len(self.blocks)
        total = sum(work.values())
        self.blocks.append(
            BlockFacts(
                height=800 + number,
                hash=f"{number + 0xAB00:064x}",
                previous_hash=f"{number + 0xAA00:064x}",
                coinbase_txid=f"{number + 0xCD00:064x}",
                finder_id=min(work, default=None),
                finder_worker="rack-1",
                reward_sat=reward,
                fees_sat=reward // 100,
                commission_bps=150,
                scheme="pplns",
                transaction_fees="shared",
                network_work=total or 1 if first > 1 else total + 9,
                window_multiple=1,
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

    def pay(
        self,
        payout_id: int,
        amounts: dict[int, int],
        at_us: int,
        confirmed_us: int,
        block_us: int | None = None,
    ) -> None:
        """A payout: money reserved, and out of the pool when it is confirmed, at a fee."""
        self.booked.append((at_us, journal.payout_reserved(payout_id, amounts)))
        self.booked.append((confirmed_us, journal.payout_confirmed(payout_id, amounts, 1234)))
        self.payments.append((payout_id, amounts, confirmed_us, block_us or confirmed_us))

    def take_back(self, payout_id: int, at_us: int) -> None:
        """The chain leaves the block that paid."""
        (entry,) = (
            one for _, one in self.booked if one.payout_id == payout_id and one.kind.endswith("confirmed")
        )
        self.booked.append((at_us, journal.payout_reversed(payout_id, entry)))

    def paid(self, day: dt.date) -> tuple[list[Paid], list[Apart]]:
        """The payments that count for a day, and what was booked on it of others."""
        taken = {one.payout_id: at_us for at_us, one in self.booked if one.kind is EntryKind.PAYOUT_REVERSED}
        paid: list[Paid] = []
        apart: list[Apart] = []
        for payout_id, amounts, confirmed_us, block_us in self.payments:
            booked_on, counts_for = RULES.day_of(confirmed_us), RULES.day_of(block_us)
            stands = payout_id not in taken
            for vout, (id_, amount) in enumerate(sorted(amounts.items())):
                if stands and counts_for == day:
                    row = distribution(id_, amount, payout_id, vout, counts_for)
                    paid.append(Paid(row, payout_id, booked_on, counts_for - dt.timedelta(days=1)))
                elif booked_on == day:
                    apart.append(Apart("paid", payout_id, id_, amount, counts_for if stands else None))
                if not stands and RULES.day_of(taken[payout_id]) == day:
                    apart.append(Apart("taken_back", payout_id, id_, amount, counts_for))
        return paid, apart

    def facts(self, day: dt.date = DAY, **changes: Any) -> DayFacts:
        start, end = RULES.day_bounds(day)
        paid, apart = self.paid(day)
        usual = DayFacts(
            day=day,
            generated_at_us=end + HOUR,
            software=Software("0.1.0", DIGEST),
            rules=RULES,
            pool=PoolFacts("Example DMP LLP", "940140000385", "regtest", ADDRESS, 150),
            edition=Edition(sequence=1, previous_sha256=None),
            register=register(day),
            miners=[
                MinerFacts(
                    miner(1),
                    40,
                    {"stale": 2, "low-difficulty": 1},
                    2**70 + 1,
                    start,
                    end - 1,
                    Devices(9, 4, 1, ("b-hall", "a-hall")),
                ),
                MinerFacts(miner(2), 7, {}, 12_345_678_901, start + 5, start + 5, Devices(1, 1, 0, ("c",))),
                MinerFacts(miner(3), 0, {}, 0, None, None, Devices(2, 0, 0, ("c",))),
            ],
            blocks=list(self.blocks),
            paid=paid,
            apart=apart,
            sale=sale(day),
            seen=seen(day, start),
            opening=journal.balances(entry for at_us, entry in self.booked if at_us < start),
            entries=[entry for at_us, entry in self.booked if start <= at_us < end],
            closing=journal.balances(entry for at_us, entry in self.booked if at_us < end),
            hours=hours(start),
            hours_complete=True,
            salts={id_: row_salt(SECRET, day, id_) for id_ in (1, 2, 3)},
        )
        return replace(usual, **changes)


def distribution(id_: int, amount: int, payout_id: int, vout: int, day: dt.date) -> Distribution:
    """A payment to a miner of `World`."""
    who, wallet, _ = miner(id_)
    assert wallet is not None
    return Distribution(
        miner_id=id_,
        account=who.name,
        name=who.title,
        bin=who.bin,
        licence_number=f"KZ-{id_}",
        licence_issued_on=FIRST,
        licence_subtype=1,
        licence_status="in_force",
        wallet_address=wallet.address,
        purpose="wallet",
        exchange="",
        distributed_on=day,
        received_on=day,
        asset="Bitcoin",
        quantity_sat=amount,
        commission_sat=amount // 66,
        txid=f"{payout_id + 0xEF00:064x}",
        vout=vout,
        block_hash=f"{payout_id + 0xBB00:064x}",
        block_height=900 + payout_id,
    )


def register(day: dt.date) -> RegisterFacts:
    """What stood in the register, and what was entered on a day."""
    start, _ = RULES.day_bounds(day)
    late = PayoutAddress(2, 2, "wallet", ADDRESS, start + 72 * HOUR)
    today = PayoutAddress(3, 2, "exchange_deposit", ADDRESS, start + 2 * HOUR, "ATAIX", "AFSA", "L-1")
    act = Act("suspended", "D-7", day + dt.timedelta(days=9), 3, day + dt.timedelta(days=60), start + HOUR)
    licence = Licence("KZ-3", 3, 1, FIRST, FIRST, dt.date(2028, 12, 31), acts=(act,))
    events = [
        Event(
            8,
            start + HOUR,
            "aliya",
            "compliance",
            "decision seen",
            "licence",
            "KZ-3",
            "suspended",
            "",
            "",
            "",
        ),
        Event(9, start + HOUR + 1, "aliya", "compliance", "letter", "address", "2.2", "entered", "", "", ""),
    ]
    bodies = (canonical(licence), canonical(late))
    return RegisterFacts(
        accreditations=[
            Accreditation("A-1", FIRST, issuer="the ministry"),
            Accreditation("A-0", dt.date(2025, 1, 1), dt.date(2025, 12, 31)),
        ],
        sites=[
            Site("z", "Pavlodar, 1", "KZ", ("node", "database")),
            Site("b", "Aqtau, 2", "KZ", ("backup",)),
            Site("closed", "Oral, 3", "KZ", ("backup",), closed_on=FIRST),
        ],
        protocols=[
            TestProtocol("P-1", FIRST, "STS", "0.1.0", DIGEST),
            TestProtocol("P-9", dt.date(2099, 1, 1), "S", "9"),
        ],
        addresses=[late, today],
        events=[sealed(replace_body(event, body)) for event, body in zip(events, bodies, strict=True)],
        units={(1, "entered"): 40, (1, "excluded"): 1},
        count=43,
        seq=51,
        sha256="ab" * 32,
    )


def replace_body(event: Event, body: str) -> Event:
    """The same event of another record."""
    return msgspec.structs.replace(event, body=body)


def seen(day: dt.date, start: int) -> list[dict[str, Any]]:
    """What gateways saw on a day."""
    names = {1: "miner1", 2: "miner2", 3: "miner3"}
    found = [
        Seen(Sighting(SightingKind.REFUSED, day, 3, "rig1", start + 5, "no_licence"), start + 90, 4),
        Seen(Sighting(SightingKind.REFUSED, day, 3, "rig2", start + 3, "no_licence"), start + 9, 1),
        Seen(Sighting(SightingKind.OVERRATE, day, 1, "rig4", start, "140 % of 56 TH/s"), start + 7, 1),
    ]
    return seen_rows(found, names, RULES)


def sale(day: dt.date) -> list[dict[str, Any]]:
    """Two miners got something in the quarter; one sold a part of it."""
    first = dt.date(day.year, 3 * ((day.month - 1) // 3) + 1, 1)
    told = Sale(1, "miner", "ATAIX", "AFSA", "L-1", "T-1", first, 700, "KZT", "12.5")
    other = Sale(1, "miner", "a friend", "", "", "T-2", first, 50, "KZT", "1")
    facts = SaleFacts(
        since=first,
        day=day,
        got=[Got(1, first, 1001, ""), Got(2, first, 333, "ATAIX")],
        said=[
            Told(number, RULES.day_bounds(first)[0], "miner1", "miner", "sold", "entered", None, one)
            for number, one in enumerate((told, other), 1)
        ],
        got_before={},
        said_before={},
        moved=frozenset(),
    )
    return sale_rows(facts, RULES, day)


def utc(at_us: int) -> dt.datetime:
    """An instant in UTC."""
    return dt.datetime.fromtimestamp(at_us // 1_000_000, dt.UTC)


def hours(start: int) -> list[HourFacts]:
    """Two closed hours of the archive; the second one's manifest has no digests."""
    return [
        HourFacts(
            hour=f"{utc(start + place * HOUR):%Y-%m-%dT%H:%M:%SZ}",
            file_sha256=f"{place + 0xF0:064x}",
            manifest_sha256=f"{place + 0xA0:064x}",
            first_batch=first,
            last_batch=last,
            work_before=str(before),
            shares=sum(one.shares for one in miners.values()),
            work=sum(int(one.work) for one in miners.values()),
            miners=miners,
        )
        for place, first, last, before, miners in (
            (
                0,
                11,
                20,
                5,
                {1: HourOfMiner(30, str(2**70), "1d" * 32), 2: HourOfMiner(7, "12345", "2d" * 32)},
            ),
            (3, 21, 21, 5 + 2**70 + 12345, {1: HourOfMiner(10, "1", None)}),
        )
    ]


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
    world.pay(2, {2: 9}, start + HOUR + 2, end + 1, end - 1)  # its block was heard of after midnight
    world.pay(3, {2: 2, 3: 0 + 1}, start + HOUR + 2, start + HOUR + 4, start - 1)
    world.pay(4, {2: 4}, start + HOUR + 2, start + HOUR + 4)
    world.take_back(4, start + HOUR + 5)
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
