"""The world of the conformance suite: the real server on loopback, a gate, a recorder, time that is moved.

`build_server` is the one place that knows how a server is put together. Difficulties are those of the class
table, scaled down so far that a few hashes find a share, unless the world is `real`. The loop's time jumps
with the wall clock, so that ten minutes pass in a millisecond and no test sleeps.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from stratum.device_class import TABLE, DeviceClass, DeviceClasses
from stratum.difficulty import Difficulty
from stratum.extranonce import ExtranonceSource
from stratum.interfaces import Denied, Refused, Submitter, Worker
from stratum.job import CoinbaseTerms, Job, JobBook, Template
from stratum.limits import ServerLimits
from stratum.messages import Reason
from stratum.server import Server
from stratum.session import Session
from stratum.subscriptions import Subscriptions
from stratum.vardiff import DifficultyPolicy
from tests.conformance.firmware.wire import Firmware

MASK = 0x1FFFE000
NOW = 1_790_000_000.0
FIRST_HEIGHT = 800_000
EASY = -30
"""About one hash in four is a share of difficulty 2**-30."""
TEST_POLICY = DifficultyPolicy(start=EASY, minimum=EASY, maximum=-24, shares_per_minute=12)
REAL_POLICY = DifficultyPolicy(start=14, minimum=-13, maximum=40, shares_per_minute=12)
NO_BLOCK = 1 << 200
"""A network target that no hash of a test meets."""
EVERY_HASH_A_BLOCK = 2**256 - 1
TERMS = CoinbaseTerms(script=bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6"), tag=b"/dmpool/")
FOR_EVER = 2**62

Miner = TypeVar("Miner", bound=Firmware)


class TravellingLoop(asyncio.SelectorEventLoop):
    """A loop whose time can be moved forwards; what is due then happens at once."""

    def __init__(self) -> None:
        self.ahead = 0.0
        super().__init__()

    def time(self) -> float:
        return super().time() + self.ahead


@dataclass
class Gate:
    """Lets everybody in but those who are refused."""

    generation: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Account to reason."""
    notices: dict[str, str] = field(default_factory=dict)

    def admit(self, username: str, now_us: int) -> Worker | Denied:
        account, _, name = username.partition(".")
        if account in self.refused:
            return Denied(self.refused[account], known=True)
        return Worker(
            username,
            sum(account.encode()),
            name,
            0,
            FOR_EVER,
            account=account,
            generation=self.generation,
        )

    def look(self, username: str, now_us: int) -> Worker | Denied:
        return self.admit(username, now_us)

    def notices_for(self, username: str, now_us: int) -> list[str]:
        account = username.partition(".")[0]
        return [self.notices[account]] if account in self.notices else []

    def refuse(self, account: str, reason: str) -> None:
        """From now on."""
        self.refused[account] = reason
        self.generation += 1


@dataclass(frozen=True)
class Credit:
    """A share that was credited."""

    username: str
    job_id: str
    exponent: int


@dataclass
class Ledger:
    """Writes down what it is told. Answers wait for `sync` when `held`."""

    held: bool = False
    verdicts: list[str] = field(default_factory=list)
    """`solved`, `accepted` or `rejected`, in the order they came."""
    accepted_shares: list[Credit] = field(default_factory=list)
    refused_shares: list[Refused] = field(default_factory=list)
    blocks: list[bytes] = field(default_factory=list)
    waiting: list[tuple[Submitter, bytes]] = field(default_factory=list)

    def solved(
        self,
        session: Submitter,
        worker: Worker | None,
        job: Job,
        header: bytes,
        block_hash: bytes,
        extranonce1: bytes,
        extranonce2: bytes,
    ) -> None:
        self.verdicts.append("solved")
        self.blocks.append(job.block(header, extranonce1, extranonce2))

    def require_room(self) -> None:
        """There is always room."""

    def accepted(
        self,
        session: Submitter,
        worker: Worker,
        job: Job,
        share_difficulty: Difficulty,
        header: bytes,
        now_us: int,
        answer: bytes,
    ) -> None:
        self.verdicts.append("accepted")
        self.accepted_shares.append(Credit(worker.username, job.id, share_difficulty.exponent))
        self.queue(session, answer)

    def rejected(self, session: Submitter, refused: Refused) -> None:
        self.verdicts.append("rejected")
        self.refused_shares.append(refused)

    def queue(self, session: Submitter, answer: bytes) -> None:
        if self.held:
            self.waiting.append((session, answer))
        else:
            session.acknowledge(answer)

    def sync(self) -> None:
        """The disk has spoken."""
        self.held = False
        waiting, self.waiting = self.waiting, []
        for session, answer in waiting:
            session.acknowledge(answer)


def scaled(table: tuple[DeviceClass, ...]) -> tuple[DeviceClass, ...]:
    """The class table with every start and floor at EASY."""
    return tuple(replace(device, start=EASY, floor=EASY) for device in table)


def build_server(world: PoolWorld, real: bool, rental: Literal["refuse", "accept"]) -> Server:
    """The server as the gateway builds it, with room for one address that is everybody."""
    return Server(
        book=world.book,
        gate=world.gate,
        recorder=world.ledger,
        policy=REAL_POLICY if real else TEST_POLICY,
        subscriptions=Subscriptions(ExtranonceSource(7)),
        devices=DeviceClasses(table=TABLE if real else scaled(TABLE), rental=rental),
        limits=ServerLimits(),
        clock=lambda: world.now,
    )


class PoolWorld:
    """A pool to be mined at, and what it has written down."""

    def __init__(self, *, real: bool = False, rental: Literal["refuse", "accept"] = "refuse") -> None:
        self.now = NOW
        self.height = FIRST_HEIGHT
        self.gate = Gate()
        self.ledger = Ledger()
        self.book = JobBook(0x1000, MASK)
        self.server = build_server(self, real, rental)
        self.address = ("", 0)
        self._miners: list[Firmware] = []
        self._template = template(self.height)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen, with a first job; in the end everybody is sent away."""
        ((host, port),) = await self.server.listen("127.0.0.1", 0)
        self.address = (host, port)
        self.publish()
        try:
            yield
        finally:
            for miner in self._miners:
                miner.close()
            await self.server.close()
            await self.until(lambda: not self.server.connections)

    # Miners

    def miner(self, firmware: type[Miner], *args: Any, **kwargs: Any) -> Miner:
        """A machine that is switched off."""
        made = firmware(self.address, *args, **kwargs)
        self._miners.append(made)
        return made

    async def at_work(self, firmware: type[Miner], *args: Any, **kwargs: Any) -> Miner:
        """A machine that has said what it says at first, and has its first job."""
        made = await self.miner(firmware, *args, **kwargs).start()
        await made.job()
        return made

    def session_of(self, miner: Firmware) -> Session:
        """The server's side of a connection."""
        own = miner._writer.get_extra_info("sockname")[:2]
        (session,) = (one.session for one in self.server.connections if one.peer == f"{own[0]}:{own[1]}")
        return session

    # Jobs

    def publish(self, **changes: Any) -> Job:
        """Send the present template, changed as told, to everybody: not clean."""
        self._template = replace(self._template, **changes)
        job, clean = self.book.add(self._template, TERMS)
        self.server.broadcast(job, clean)
        return job

    def new_block(self, **changes: Any) -> Job:
        """Somebody has found a block: work on the next height, clean."""
        self.height += 1
        return self.publish(**previous(self.height), height=self.height, **changes)

    def sibling_block(self) -> Job:
        """Another block of the same height has won: a tip as high as the one before."""
        return self.publish(previous_block=hashlib.sha256(b"sibling %d" % self.height).digest())

    # Time

    async def time_passes(self, seconds: float) -> None:
        """Move every clock; the server does what is due."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TravellingLoop)
        loop.ahead += seconds
        self.now += seconds
        for _ in range(8):
            await asyncio.sleep(0)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that is about to happen."""
        async with asyncio.timeout(5):
            while not true():
                await asyncio.sleep(0.002)

    # What was written down

    @property
    def credited(self) -> list[Credit]:
        """Shares that were credited."""
        return self.ledger.accepted_shares

    @property
    def refusals(self) -> list[Reason]:
        """Why shares were refused."""
        return [refused.reason for refused in self.ledger.refused_shares]


def previous(height: int) -> dict[str, Any]:
    """The previous block of a template."""
    return {"previous_block": hashlib.sha256(b"previous %d" % height).digest()}


def template(height: int) -> Template:
    """A template without transactions, whose blocks no test finds."""
    return Template(
        height=height,
        version=0x20000000,
        previous_block=previous(height)["previous_block"],
        bits=0x207FFFFF,
        target=NO_BLOCK,
        coinbase_value=312_500_000,
        fees=0,
        current_time=int(NOW),
        min_time=int(NOW) - 3600,
        transactions=(),
        txids=b"",
        witness_commitment=bytes.fromhex("6a24aa21a9ed") + bytes(range(32)),
        long_poll_id=f"id {height}",
    )


def crowded(count: int) -> dict[str, Any]:
    """Changes for a template with that many transactions (their raw bytes are made up)."""
    raw = [b"transaction %d" % number for number in range(count)]
    txids = [hashlib.sha256(hashlib.sha256(one).digest()).digest() for one in raw]
    return {"transactions": tuple(raw), "txids": b"".join(txids)}
