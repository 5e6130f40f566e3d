"""Whatever a stranger sends, a session raises nothing but Closed and writes nothing but JSON lines (I10)."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stratum.interfaces import Closed
from stratum.session import REFUSALS_LIMIT
from tests.campaign import extent
from tests.stratum.fakes import FakeGate, FakeRecorder, Wire, template

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(7200)]

METHODS = st.sampled_from(
    [
        *("mining.subscribe", "mining.authorize", "mining.configure", "mining.submit", "mining.ping", "pong"),
        *("mining.suggest_difficulty", "mining.extranonce.subscribe", "mining.multi_version", ""),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["1000", "1001", "00" * 8, "6ab13b80", "1fffe000", "alice.s17", "version-rolling"]),
    st.sampled_from(["minimum-difficulty", "version-rolling.mask", "minimum-difficulty.value"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.dictionaries(st.one_of(st.text(max_size=8), METHODS), inner, max_size=4),
    ),
    max_leaves=12,
)
REQUESTS = st.fixed_dictionaries(
    {}, optional={"id": VALUES, "method": st.one_of(METHODS, VALUES), "params": VALUES, "ttl": VALUES}
)


def feed(wire: Wire, line: bytes) -> list[dict[str, Any]] | None:
    """The messages that came back; None when the session was closed."""
    try:
        return wire.send(line)
    except Closed:
        wire.read()
        return None


@settings(max_examples=extent(300, 50_000))
@given(st.lists(REQUESTS, max_size=6), st.booleans())
def test_random_requests(requests: list[dict[str, Any]], started: bool) -> None:
    wire = Wire(gate=FakeGate(refused={"": "no name"}))
    wire.new_job()
    if started:
        wire.start()
    for request in requests:
        messages = feed(wire, json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        if messages is None:
            return
        answers = [message for message in messages if "method" not in message]
        assert len(answers) <= 1


@settings(max_examples=extent(300, 50_000))
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_random_bytes(lines: list[bytes]) -> None:
    wire = Wire()
    for line in lines:
        if feed(wire, line.replace(b"\n", b"")) is None:
            return


SEEDS = st.sampled_from(
    [
        b'{"id":1,"method":"mining.subscribe","params":["a/1","00100001"]}',
        b'{"id":"x","method":"mining.authorize","params":["alice.s17","x"]}',
        b'{"id":3,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"ffffffff"}]}',
        b'{"id":4,"method":"mining.submit","params":["alice.s17","1000","0000000000000000","6ab13b80","00000001"]}',
    ]
)


@settings(max_examples=extent(300, 50_000))
@given(
    SEEDS, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255), st.sampled_from("rdi")), max_size=4)
)
def test_mutated_requests(line: bytes, changes: list[tuple[int, int, str]]) -> None:
    mutated = bytearray(line)
    for place, byte, kind in changes:
        at = place % (len(mutated) + 1)
        if kind == "i":
            mutated.insert(at, byte)
        else:
            mutated[at : at + 1] = b"" if kind == "d" else bytes([byte])
    wire = Wire()
    wire.start()
    feed(wire, bytes(mutated).replace(b"\n", b" "))


class Conversation(RuleBasedStateMachine):
    """A miner, the pool's jobs, the disk and the register, in any order; the model counts what is owed."""

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire(recorder=FakeRecorder(at_once=False))
        self.next_id = 0
        self.owed: list[int] = []
        self.subscribed = self.authorised = False
        self.height = 800_000
        self.shares = 0
        self.refusals = 0
        """One more than the limit would end the conversation; that has a test of its own."""

    @initialize()
    def first_job(self) -> None:
        self.wire.new_job()

    def call(self, method: str, params: list[Any]) -> None:
        self.next_id += 1
        self.owed.append(self.next_id)
        self.take(self.wire.call(method, params, self.next_id))

    def take(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if "method" in message:
                assert self.subscribed, "nothing unsolicited before the subscribe answer"
            else:
                assert message["id"] == self.owed.pop(0), "answers keep the order of the requests"
                if message["result"] and isinstance(message["result"], list):
                    self.subscribed = True

    @rule()
    def subscribe(self) -> None:
        self.call("mining.subscribe", [])

    @precondition(lambda self: self.refusals < REFUSALS_LIMIT - 1)
    @rule()
    def authorize(self) -> None:
        self.refusals += bool(self.wire.gate.refused)
        self.call("mining.authorize", ["alice.s17"])
        self.authorised = True

    @rule(mask=st.sampled_from(["ffffffff", "00006000", "00000001"]))
    def configure(self, mask: str) -> None:
        self.call("mining.configure", [["version-rolling"], {"version-rolling.mask": mask}])

    @rule(exponent=st.integers(-31, -26))
    def suggest(self, exponent: int) -> None:
        self.call("mining.suggest_difficulty", [2.0**exponent])

    @rule(seconds=st.integers(0, 100), new_height=st.booleans())
    def job(self, seconds: int, new_height: bool) -> None:
        self.height += new_height
        self.wire.now += seconds
        self.wire.new_job(template(self.height))
        self.take(self.wire.read())

    @precondition(lambda self: self.wire.jobs)
    @rule(age=st.integers(0, 5), nonce=st.integers(0, 50))
    def share(self, age: int, nonce: int) -> None:
        job = self.wire.jobs[max(-len(self.wire.jobs), -1 - age)]
        fields, _ = self.wire.share(job=job, first=nonce << 16)
        self.call("mining.submit", ["alice.s17", *fields])

    @rule()
    def disk(self) -> None:
        self.wire.recorder.sync()
        self.take(self.wire.read())
        assert self.owed == [], "when the disk has spoken every request is answered"

    @rule(revoked=st.booleans())
    def register(self, revoked: bool) -> None:
        self.wire.gate.refused = {"alice.s17": "revoked"} if revoked else {}
        self.wire.gate.generation += 1

    @invariant()
    def credit_is_proven_and_counted_once(self) -> None:
        accepted = self.wire.recorder.told("accepted")
        by_id = {job.job_id: job.difficulty for job in self.wire.jobs}
        for _, job, exponent, _, _ in accepted[self.shares :]:
            assert by_id[job] == 2.0**exponent
        self.shares = len(accepted)
        headers = [header for *_, header, _ in accepted]
        assert len(set(headers)) == len(headers)


Conversation.TestCase.settings = settings(
    max_examples=extent(60, 5_000), stateful_step_count=25, deadline=None
)
TestConversation = Conversation.TestCase
