"""84 miners of very different size, the shares they send, and a second book of what these come to.

The book is kept the obvious way, from docs/pplns.md and without the ledger's code: the slices in order, and
by day what was accepted and refused.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from pool.records import Found, Record, Reject, Share, Submitted
from tests.payouts.reference_pplns import Worked

MINERS: Final = 84
AWAY: Final = 0.03
"""Part of the runs in which a miner sends nothing."""
SIZES: Final = ((1, 2), (1, 1), (2, 1))
"""A share's work over what a run takes, as numerator and denominator; `_ODDS` make it 1 on average."""
_ODDS: Final = (4, 4, 2)


class Win(NamedTuple):
    """A block of the pool: who solved it (0: a share that cannot be credited), and what it brings."""

    miner_id: int
    height: int
    previous_hash: str
    network_target: bytes
    reward_sat: int
    fees_sat: int


def target_of(work: int) -> bytes:
    """A target whose share takes about `work` hashes."""
    return ((1 << 256) // work - 1).to_bytes(32, "big")


def work_of(target: bytes) -> int:
    """Rule 1 of docs/pplns.md."""
    return (1 << 256) // (int.from_bytes(target, "big") + 1)


class Fleet:
    """The miners and their book."""

    def __init__(self, seed: int, run_seconds: int, day_of: Callable[[int], dt.date]) -> None:
        self._chance = random.Random(seed)
        self._day_of = day_of
        self.rates = {
            miner_id: int(10**15 * self._chance.lognormvariate(0.0, 1.5)) for miner_id in range(1, MINERS + 1)
        }
        """Hashes a second."""
        self._targets = {
            miner_id: [target_of(rate * run_seconds * up // down) for up, down in SIZES]
            for miner_id, rate in self.rates.items()
        }
        self._headers = 0
        self.ledger: list[Worked] = []
        self.shares: Counter[tuple[dt.date, int]] = Counter()
        self.work: Counter[tuple[dt.date, int]] = Counter()
        self.rejects: Counter[tuple[dt.date, int, str]] = Counter()

    @property
    def rate(self) -> int:
        """Of all miners together, in hashes a second."""
        return sum(self.rates.values())

    def solver(self) -> int:
        """Who finds the pool's next block."""
        return self._chance.choices(list(self.rates), list(self.rates.values()))[0]

    def run(self, at_us: int, win: Win | None = None) -> tuple[list[Record], str | None, int]:
        """A run's records; with a win in the midst of it, the block's hash, and the slice it ends with."""
        here = [miner_id for miner_id in self.rates if self._chance.random() >= AWAY]
        self._chance.shuffle(here)
        records: list[Record] = []
        if self._chance.random() < 0.5:
            records.append(self._refused(at_us, here[0]))
        if win is None:
            self._work(records, at_us, here)
            return records, None, len(self.ledger)
        half = len(here) // 2
        block_hash = self._win(records, at_us, here[:half], win)
        last = len(self.ledger)
        self._work(records, at_us, here[half:])
        return records, block_hash, last

    def _work(self, records: list[Record], at_us: int, miners: list[int]) -> None:
        shares = [self._share(at_us, miner_id) for miner_id in miners]
        records.extend(shares)
        self.ledger.extend(Worked(one.miner_id, work_of(one.target)) for one in shares)

    def _win(self, records: list[Record], at_us: int, miners: list[int], win: Win) -> str:
        shares = [self._share(at_us, miner_id) for miner_id in miners]
        header = self._header()
        if win.miner_id:
            shares.append(self._share(at_us, win.miner_id, header))
        work: dict[int, int] = {}
        for one in shares:
            # The winner's slice, with all it did in this run, stands last.
            work[one.miner_id] = work.pop(one.miner_id, 0) + work_of(one.target)
        records.extend(shares)
        self.ledger.extend(Worked(miner_id, amount) for miner_id, amount in work.items())
        block_hash = hashlib.sha256(hashlib.sha256(header).digest()).digest()[::-1].hex()
        records.append(
            Found(
                at_us=at_us,
                miner_id=win.miner_id,
                worker=f"rig{win.miner_id}",
                height=win.height,
                block_hash=block_hash,
                previous_hash=win.previous_hash,
                network_target=win.network_target,
                reward_sat=win.reward_sat,
                fees_sat=win.fees_sat,
                coinbase_txid=hashlib.sha256(header).hexdigest(),
                credited=bool(win.miner_id),
            )
        )
        records.append(Submitted(at_us, block_hash, "fake"))
        return block_hash

    def _share(self, at_us: int, miner_id: int, header: bytes | None = None) -> Share:
        target = self._chance.choices(self._targets[miner_id], _ODDS)[0]
        day = self._day_of(at_us)
        self.shares[day, miner_id] += 1
        self.work[day, miner_id] += work_of(target)
        return Share(at_us, miner_id, f"rig{miner_id}", 1, target, header or self._header())

    def _refused(self, at_us: int, miner_id: int) -> Reject:
        reason = self._chance.choice(["stale", "duplicate"])
        self.rejects[self._day_of(at_us), miner_id, reason] += 1
        return Reject(at_us, miner_id, f"rig{miner_id}", reason)

    def _header(self) -> bytes:
        self._headers += 1
        return self._headers.to_bytes(80, "little")
