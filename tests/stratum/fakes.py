"""What the sessions' tests stand on: a template, a gate, a recorder, and a miner that knows only the wire.

The miner builds its headers with `hashlib` and `struct` from what the notify line says, as firmware does; it
shares no code with the pool, so that whatever both agree on was computed twice.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from stratum.device_class import DeviceClasses
from stratum.difficulty import Difficulty
from stratum.extranonce import ExtranonceSource
from stratum.interfaces import Denied, Refused, Submitter, Worker
from stratum.job import CoinbaseTerms, Job, JobBook, Template
from stratum.limits import AccountLimits
from stratum.session import Session
from stratum.session_context import Ramping, SessionContext
from stratum.subscriptions import Subscriptions
from stratum.vardiff import DifficultyPolicy

MASK = 0x1FFFE000
NOW = 1_790_000_000.0
EASY = -30
"""About one hash in four is a share of difficulty 2**-30."""
POLICY = DifficultyPolicy(start=EASY, minimum=EASY, maximum=20, shares_per_minute=12)
ANY_HASH = 2**256 - 1
HARD = 1 << 200
"""A network target that no hash of a test meets."""
TERMS = CoinbaseTerms(script=bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6"), tag=b"/dmpool/")
COMMITMENT = bytes.fromhex("6a24aa21a9ed") + bytes(range(32))
FOR_EVER = 2**62


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def template(height: int = 800_000, **changes: Any) -> Template:
    """A template without transactions, on a previous block of its own height."""
    base = Template(
        height=height,
        version=0x20000000,
        previous_block=hashlib.sha256(b"previous %d" % height).digest(),
        bits=0x207FFFFF,
        target=HARD,
        coinbase_value=312_500_000,
        fees=0,
        current_time=int(NOW),
        min_time=int(NOW) - 3600,
        transactions=(),
        txids=b"",
        witness_commitment=COMMITMENT,
        long_poll_id=f"id {height}",
    )
    return replace(base, **changes)


@dataclass
class FakeGate:
    """Lets everybody in but those in `refused`, each with the same span of time unless told otherwise.

    It knows those who have a span, or are in `known`; `uncredited` are in quarantine; of `misnamed` it knows
    only the account.
    """

    refused: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    misnamed: set[str] = field(default_factory=set)
    uncredited: set[str] = field(default_factory=set)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    notices: dict[str, str] = field(default_factory=dict)
    generation: int = 0
    asked: list[str] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)

    def admit(self, username: str, now_us: int) -> Worker | Denied:
        self.asked.append(username)
        return self._judge(username, now_us)

    def look(self, username: str, now_us: int) -> Worker | Denied:
        self.looked.append(username)
        return self._judge(username, now_us)

    def notices_for(self, username: str, now_us: int) -> list[str]:
        account = username.partition(".")[0]
        return [self.notices[account]] if account in self.notices else []

    def refuse(self, username: str, reason: str) -> None:
        """From now on a name that is known may not work."""
        self.refused[username] = reason
        self.known.add(username)
        self.generation += 1

    def _judge(self, username: str, now_us: int) -> Worker | Denied:
        account, _, worker = username.partition(".")
        if username in self.refused:
            reason = self.refused[username]
            return Denied(reason, username in self.known, username in self.misnamed, word=reason)
        first, end = self.spans.get(account, (0, FOR_EVER))
        if not first <= now_us < end:
            return Denied(f"licence of {account} is not in force", known=True)
        return Worker(
            username,
            sum(account.encode()),
            worker,
            first,
            end,
            account=account,
            credited=username not in self.uncredited,
            generation=self.generation,
        )


@dataclass
class FakeRecorder:
    """Writes down what it is told, and holds answers until `sync` unless `at_once`."""

    at_once: bool = True
    events: list[tuple[str, Any]] = field(default_factory=list)
    waiting: list[tuple[Submitter, bytes]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

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
        self.events.append(("solved", job.block(header, extranonce1, extranonce2)))

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
        self.events.append(("accepted", (worker.username, job.id, share_difficulty.exponent, header, now_us)))
        self.queue(session, answer)

    def rejected(self, session: Submitter, refused: Refused) -> None:
        self.refused.append(refused)
        self.events.append(
            ("rejected", (refused.worker.username if refused.worker else None, refused.reason))
        )

    def queue(self, session: Submitter, answer: bytes) -> None:
        if self.at_once:
            session.acknowledge(answer)
        else:
            self.waiting.append((session, answer))

    def sync(self) -> None:
        """The disk has spoken."""
        waiting, self.waiting = self.waiting, []
        for session, answer in waiting:
            session.acknowledge(answer)

    def told(self, kind: str) -> list[Any]:
        return [what for name, what in self.events if name == kind]


@dataclass(frozen=True)
class WireJob:
    """A notify line as firmware reads it, with the difficulty that was in force when it came."""

    job_id: str
    previous: bytes
    coinbase1: bytes
    coinbase2: bytes
    branches: list[bytes]
    version: int
    bits: int
    ntime: int
    clean: bool
    difficulty: float

    def coinbase(self, extranonce1: bytes, extranonce2: bytes) -> bytes:
        return self.coinbase1 + extranonce1 + extranonce2 + self.coinbase2

    def header(
        self, extranonce1: bytes, extranonce2: bytes, ntime: int, nonce: int, version_bits: int = 0
    ) -> bytes:
        root = sha256d(self.coinbase(extranonce1, extranonce2))
        for branch in self.branches:
            root = sha256d(root + branch)
        first = struct.pack("<L", self.version | version_bits) + self.previous + root
        return first + struct.pack("<LLL", ntime, self.bits, nonce)


def read_notify(params: list[Any], difficulty: float = 1.0) -> WireJob:
    job_id, previous, coinbase1, coinbase2, branches, version, bits, ntime, clean = params
    words = struct.unpack(">8L", bytes.fromhex(previous))
    return WireJob(
        job_id,
        struct.pack("<8L", *words),
        bytes.fromhex(coinbase1),
        bytes.fromhex(coinbase2),
        [bytes.fromhex(branch) for branch in branches],
        int(version, 16),
        int(bits, 16),
        int(ntime, 16),
        clean,
        difficulty,
    )


def context(
    book: JobBook | None = None,
    gate: FakeGate | None = None,
    recorder: FakeRecorder | None = None,
    policy: DifficultyPolicy = POLICY,
    hastened: list[Ramping] | None = None,
    **changes: Any,
) -> SessionContext:
    """What the sessions of a test share; those that want to ramp up are put into `hastened`."""
    parts: dict[str, Any] = {
        "book": book or JobBook(0x1000, MASK),
        "gate": gate or FakeGate(),
        "recorder": recorder or FakeRecorder(),
        "policy": policy,
        "subscriptions": Subscriptions(ExtranonceSource(1)),
        "devices": DeviceClasses(),
        "accounts": AccountLimits(connections=1000, authorisations_per_second=1000.0, burst=10_000),
        "hasten": ([] if hastened is None else hastened).append,
    }
    return SessionContext(**(parts | changes))


class Wire:
    """The miner's end of a session: sends lines, reads what comes back, keeps the newest job."""

    def __init__(
        self,
        book: JobBook | None = None,
        gate: FakeGate | None = None,
        recorder: FakeRecorder | None = None,
        policy: DifficultyPolicy = POLICY,
        shared: SessionContext | None = None,
    ) -> None:
        self.hastened: list[Ramping] = []
        self.book = book or JobBook(0x1000, MASK)
        self.gate = gate or FakeGate()
        self.recorder = recorder or FakeRecorder()
        self.context = shared or context(self.book, self.gate, self.recorder, policy, self.hastened)
        if shared is not None:
            self.book = shared.book
        self.extranonce1 = b""
        self.session_id = ""
        self.written: list[bytes] = []
        self.ended: list[str] = []
        self.now = NOW
        self.ticks = 1000.0
        self.difficulty = 0.0
        self.jobs: list[WireJob] = []
        self.session = Session(self.context, self.written.append, lambda: self.ended.append("superseded"))

    def pass_time(self, seconds: float) -> None:
        """Both clocks go on."""
        self.now += seconds
        self.ticks += seconds

    def send(self, line: str | bytes) -> list[dict[str, Any]]:
        """Send a line; the messages that came back meanwhile."""
        self.session.receive(line.encode() if isinstance(line, str) else line, self.now, self.ticks)
        return self.read()

    def call(self, method: str, params: Any = (), request_id: Any = 7) -> list[dict[str, Any]]:
        return self.send(json.dumps({"id": request_id, "method": method, "params": params}))

    def read(self) -> list[dict[str, Any]]:
        """What was written since the last look: whole lines, each a JSON object of the protocol."""
        data, self.written[:] = b"".join(self.written), []
        messages = list(messages_in(data))
        for message in messages:
            if message.get("method") == "mining.set_difficulty":
                (self.difficulty,) = message["params"]
            elif message.get("method") == "mining.notify":
                self.jobs.append(read_notify(message["params"], self.difficulty))
            elif message.get("method") == "mining.set_extranonce":
                self.extranonce1 = bytes.fromhex(message["params"][0])
            elif isinstance(result := message.get("result"), list) and len(result) == 3:
                self.session_id, self.extranonce1 = result[0][0][1], bytes.fromhex(result[1])
        return messages

    def new_job(self, changed: Template | None = None) -> Job:
        """A job made by the book, sent to this session when it works, as the server does."""
        job, _ = self.book.add(changed or template(), TERMS)
        if self.session.working:
            self.session.offer(job, self.ticks)
        return job

    def start(self, username: str = "alice.s17") -> list[dict[str, Any]]:
        """Subscribe, authorise, and a first job."""
        if self.book.current is None:
            self.new_job()
        messages = self.call("mining.subscribe", ["firmware/1.0"])
        return messages + self.call("mining.authorize", [username, "x"])

    def find(
        self,
        wanted: Callable[[int], bool],
        *,
        job: WireJob | None = None,
        extranonce2: bytes = bytes(8),
        ntime: int | None = None,
        version_bits: int = 0,
        first: int = 0x10000000,
    ) -> tuple[list[str], bytes]:
        """The five fields behind the worker's name whose hash is as wanted, and their header."""
        job = job or self.jobs[-1]
        at = job.ntime if ntime is None else ntime
        for nonce in range(first, first + 100_000):
            header = job.header(self.extranonce1, extranonce2, at, nonce, version_bits)
            if wanted(int.from_bytes(sha256d(header), "little")):
                fields = [job.job_id, extranonce2.hex(), f"{at:08x}", f"{nonce:08x}", f"{version_bits:08x}"]
                return fields, header
        raise AssertionError("no nonce gives such a hash")

    def share(self, **how: Any) -> tuple[list[str], bytes]:
        """A share that meets the difficulty told with its job."""
        job: WireJob = how.get("job") or self.jobs[-1]
        goal = target_of(job.difficulty)
        return self.find(lambda value: value <= goal, **how)

    def submit(self, fields: list[Any], username: str = "alice.s17") -> dict[str, Any]:
        """Submit and return the one answer."""
        answers = self.call("mining.submit", [username, *fields])
        assert len(answers) == 1, answers
        return answers[0]


def target_of(difficulty: float) -> int:
    """The target of a difficulty by its definition, in integers: a power of two has an exact ratio."""
    numerator, denominator = difficulty.as_integer_ratio()
    return min((0xFFFF << 208) * denominator // numerator, ANY_HASH)


def messages_in(data: bytes) -> Iterator[dict[str, Any]]:
    """The messages in a stream; fails on anything that is not whole lines of JSON objects in UTF-8."""
    assert not data or data.endswith(b"\n"), data[-80:]
    for line in data.split(b"\n")[:-1]:
        message = json.loads(line.decode("utf-8"), parse_constant=lambda name: name)
        assert isinstance(message, dict)
        if "method" in message:
            assert set(message) == {"id", "method", "params"}
            assert message["id"] is None
        else:
            assert set(message) == {"id", "result", "error"}
            if message["error"] is not None:
                code, text, rest = message["error"]
                assert isinstance(code, int)
                assert isinstance(text, str)
                assert rest is None
                assert message["result"] is None
        yield message
