"""A gateway of the year: the real gate, gatekeeper and sessions, and machines that send real shares.

What is not real is the wire (bytes are handed over), the disk (a share is durable at once) and the clock.
The gateway's register is its own: it takes the office's events when it is polled, as from PostgreSQL.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import native
from pool.gatekeeper import RegisterGatekeeper
from pool.register_follower import miner_of
from pool.sightings import Sightings
from register.event import Event
from register.gate import Admission, Gate
from register.records import GATE_KINDS, decode
from register.register import Register
from register.rules import Rules
from stratum.device_class import DeviceClasses
from stratum.difficulty import Difficulty, difficulty
from stratum.extranonce import ExtranonceSource
from stratum.interfaces import Refused, Submitter, Worker
from stratum.job import Job, JobBook
from stratum.limits import AccountLimits
from stratum.messages import Reason
from stratum.session import Session
from stratum.session_context import SessionContext
from stratum.subscriptions import Subscriptions
from stratum.vardiff import DifficultyPolicy
from tests.stratum.fakes import EASY, MASK, TERMS, messages_in, read_notify, template
from tests.year.oracle import REFUSED, Verdict

POLICY = DifficultyPolicy(start=EASY, minimum=EASY, maximum=EASY, shares_per_minute=12)
TARGET = difficulty(EASY).target_bytes
REFUSALS = {Reason.LICENCE.code, Reason.UNAUTHORISED.code}


class Recorder:
    """Counts what is credited by miner and month, and what is in quarantine."""

    def __init__(self, rules: Rules) -> None:
        self.credited: Counter[tuple[int, str]] = Counter()
        self.quarantined = 0
        self.last: Worker | None = None
        self._rules = rules

    def solved(self, *share: object) -> None:
        raise AssertionError("no share of the year solves a block")

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
        self.last = worker
        if worker.credited:
            self.credited[worker.miner_id, f"{self._rules.day_of(now_us):%Y-%m}"] += 1
        else:
            self.quarantined += 1
        session.acknowledge(answer)

    def rejected(self, session: Submitter, refused: Refused) -> None:
        """Told to the miner; here it is read from its answer."""

    def queue(self, session: Submitter, answer: bytes) -> None:
        session.acknowledge(answer)


class Gateway:
    """See the head of this file."""

    def __init__(self, rules: Rules, begins_us: int) -> None:
        self.register = Register()
        self.gate = Gate(self.register, rules)
        self.recorder = Recorder(rules)
        self.refusals: Counter[str] = Counter()
        self.gatekeeper = RegisterGatekeeper(self.gate, self.refusals, Sightings(self.register, rules), rules)
        self._polled = 0
        book = JobBook(0x1000, MASK)
        seconds = begins_us // 1_000_000
        book.add(template(current_time=seconds, min_time=seconds - 3600), TERMS)
        self.context = SessionContext(
            book=book,
            gate=self.gatekeeper,
            recorder=self.recorder,
            policy=POLICY,
            subscriptions=Subscriptions(ExtranonceSource(1)),
            devices=DeviceClasses(),
            accounts=AccountLimits(connections=10_000, authorisations_per_second=1000.0, burst=10_000),
            hasten=lambda session: None,
        )

    def poll(self, log: list[Event]) -> None:
        """Take the events that are new."""
        changes: set[tuple[str, int]] = set()
        for event in log[self._polled :]:
            if event.kind in GATE_KINDS:
                record = decode(event.kind, event.body)
                self.register.put(event.kind, event.key, record)
                changes.add((event.kind, miner_of(record)))
        self._polled = len(log)
        if changes:
            self.gatekeeper.changed(changes)

    def verdict(self, username: str, at_us: int) -> Verdict:
        """What the gate says of a name, in the oracle's words."""
        admission = self.gate.admit(username, at_us)
        if not isinstance(admission, Admission):
            return REFUSED
        fate = "credited" if admission.credited else "quarantined"
        return Verdict(fate, self.register.miners[admission.miner_id].name, admission.device or "")


class Machine:
    """A miner's machine: it connects when it has no connection, and sends the shares that it is asked for."""

    def __init__(self, gateway: Gateway, username: str) -> None:
        self.username = username
        self.session: Session | None = None
        self.told = ""
        """The reason of the last refusal."""
        self._gateway = gateway
        self._wire: list[bytes] = []
        self._nonce = 0

    def share(self, at_us: int) -> Verdict:
        """What becomes of one more share at an instant."""
        if self.session is None and not self._connect(at_us):
            return REFUSED
        header = self._prefix + self._nonce.to_bytes(4, "little")
        found = native.scan(header, self._nonce, 10_000, TARGET)
        assert found is not None
        self._nonce = found + 1
        fields = [self._job_id, "00" * 8, self._ntime, f"{found:08x}"]
        answer = self._call(at_us, "mining.submit", [self.username, *fields])[-1]
        if answer["error"] is not None:
            return self._refused(answer)
        worker = self._gateway.recorder.last
        assert worker is not None
        assert worker.username == self.username
        unit = worker.unit.number if worker.unit is not None else ""
        account = self._gateway.register.miners[worker.miner_id].name
        return Verdict("credited" if worker.credited else "quarantined", account, unit)

    def review(self, at_us: int) -> bool:
        """The server looks whether anybody on the connection may work; False when it has ended."""
        if self.session is not None and self.session.workers.dismissal(at_us, at_us / 1e6)[1]:
            self.session.lost(at_us / 1e6)
            self.session = None
        return self.session is not None

    def _connect(self, at_us: int) -> bool:
        self.session = Session(self._gateway.context, self._wire.append, lambda: None)
        subscribed = self._call(at_us, "mining.subscribe", ["firmware/1.0"])
        answers = self._call(at_us, "mining.authorize", [self.username, "x"])
        verdict = next(one for one in answers if "method" not in one)
        if verdict["error"] is not None:
            self._refused(verdict)
            self.session.lost(at_us / 1e6)
            self.session = None
            return False
        extranonce1 = bytes.fromhex(subscribed[0]["result"][1])
        job = read_notify(next(one["params"] for one in answers if one.get("method") == "mining.notify"))
        self._job_id, self._ntime, self._nonce = job.job_id, f"{job.ntime:08x}", 0
        self._prefix = job.header(extranonce1, bytes(8), job.ntime, 0)[:76]
        return True

    def _call(self, at_us: int, method: str, params: list[Any]) -> list[dict[str, Any]]:
        assert self.session is not None
        line = json.dumps({"id": 7, "method": method, "params": params}).encode()
        self.session.receive(line, _seconds(at_us), at_us / 1e6)
        data = b"".join(self._wire)
        self._wire.clear()
        return list(messages_in(data))

    def _refused(self, answer: dict[str, Any]) -> Verdict:
        code, self.told, _ = answer["error"]
        assert code in REFUSALS, f"{self.username}: {self.told}"
        return REFUSED


def _seconds(at_us: int) -> float:
    """A clock that shows this microsecond, and not the one before for want of digits."""
    seconds = (at_us + 0.5) / 1e6
    assert int(seconds * 1_000_000) == at_us
    return seconds
