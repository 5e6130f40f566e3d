"""I6 inside a session: a name works exactly while it may, whatever becomes known meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum import workers as module
from stratum.interfaces import Denied, Unit, Worker
from stratum.limits import AccountLimits
from stratum.workers import NOTICES_LIMIT, Workers
from tests.stratum.fakes import FOR_EVER, NOW, FakeGate, Wire

NOW_US = int(NOW * 1e6)
LIMITS = AccountLimits(connections=1000, authorisations_per_second=1000.0, burst=10_000)


def at_work(gate: FakeGate, *names: str) -> Workers:
    workers = Workers(gate, LIMITS)
    for name in names:
        assert isinstance(workers.authorise(name, NOW, 0.0), Worker)
    return workers


# The span of a licence


@pytest.mark.parametrize(
    ("first", "end", "now_us", "may"),
    [
        (0, NOW_US + 10, NOW_US + 9, True),
        (0, NOW_US + 10, NOW_US + 10, False),
        (NOW_US - 5, FOR_EVER, NOW_US - 5, True),
        (NOW_US - 5, FOR_EVER, NOW_US - 6, False),
    ],
    ids=["last microsecond", "the end", "first microsecond", "a clock that went back"],
)
def test_i6_a_span_holds_to_the_microsecond(first: int, end: int, now_us: int, may: bool) -> None:
    gate = FakeGate(spans={"alice": (first, end)})
    workers = at_work(gate, "alice.s17")
    assert (workers.refusal(workers.by_name["alice.s17"], now_us) is None) is may


def test_i6_who_may_again_works_again_without_a_word() -> None:
    """A resumption, a licence that follows another, a suspension that lapses: by time alone."""
    gate = FakeGate(spans={"alice": (0, NOW_US + 10)})
    workers = at_work(gate, "alice.s17")
    worker = workers.by_name["alice.s17"]
    assert workers.refusal(worker, NOW_US + 10) == "licence of alice is not in force"
    gate.spans["alice"] = (NOW_US + 20, FOR_EVER)
    assert workers.refusal(worker, NOW_US + 19) is not None
    assert workers.refusal(worker, NOW_US + 20) is None
    assert gate.asked == ["alice.s17"], "asked to be let in once"


def test_in_the_usual_case_nobody_is_asked() -> None:
    gate = FakeGate()
    workers = at_work(gate, "alice.s17")
    for later in range(100):
        assert workers.refusal(workers.by_name["alice.s17"], NOW_US + later) is None
    assert gate.looked == []


def test_o07_what_is_credited_follows_the_register() -> None:
    gate = FakeGate()
    worker = (workers := at_work(gate, "alice.s17")).by_name["alice.s17"]
    assert worker.credited
    gate.uncredited.add("alice.s17")
    gate.generation += 1
    assert workers.refusal(worker, NOW_US) is None
    assert not worker.credited


def test_a_change_asks_only_for_the_worker_whose_share_it_is() -> None:
    """A proxy's four thousand names are not asked for all together."""
    gate = FakeGate()
    workers = at_work(gate, *(f"alice.{number}" for number in range(50)))
    gate.generation += 1
    workers.refusal(workers.by_name["alice.7"], NOW_US)
    assert gate.looked == ["alice.7"]


SPANS = st.lists(st.integers(0, 40), min_size=1, max_size=12, unique=True).map(sorted)


@given(SPANS, st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=40))
def test_i6_at_every_instant_the_verdict_is_the_registers(
    edges: list[int], shares: list[tuple[int, bool]]
) -> None:
    """Spans in which it may work lie between edges; now and then the register changes as well."""

    class Edges(FakeGate):
        shift = 0

        def may(self, now_us: int) -> bool:
            return sum(edge + self.shift <= now_us for edge in edges) % 2 == 1

        def _judge(self, username: str, now_us: int) -> Worker | Denied:
            if not self.may(now_us):
                return Denied("may not", known=True)
            bounds = [edge + self.shift for edge in edges] + [FOR_EVER]
            first = max(edge for edge in bounds if edge <= now_us)
            end = min(edge for edge in bounds if edge > now_us)
            return Worker(username, 1, "s17", first, end, "alice", generation=self.generation)

    gate = Edges()
    workers = at_work(gate, "alice.s17") if gate.may(NOW_US) else Workers(gate, LIMITS)
    workers.by_name.setdefault("alice.s17", Worker("alice.s17", 1, "s17", 0, 0, "alice"))
    for now_us, changes in shares:
        if changes:
            gate.shift += 1
            gate.generation += 1
        refusal = workers.refusal(workers.by_name["alice.s17"], now_us)
        assert (refusal is None) is gate.may(now_us)


# When a connection ends


def test_o09_a_connection_ends_a_while_after_nobody_may_work_and_is_told_once() -> None:
    gate = FakeGate()
    workers = at_work(gate, "alice.s17")
    assert workers.dismissal(NOW_US, 100.0) == (None, False)
    gate.refuse("alice.s17", "suspended")
    assert workers.dismissal(NOW_US, 101.0) == ("suspended", False)
    assert workers.ending
    shortest, longest = module.DISMISS_SECONDS
    assert workers.dismissal(NOW_US, 101.0 + shortest - 0.1) == (None, False)
    assert workers.dismissal(NOW_US, 101.0 + longest) == (None, True)


def test_o09_connections_end_each_at_a_time_of_its_own() -> None:
    gate = FakeGate(spans={"alice": (0, NOW_US + 1)})
    farm = [at_work(gate, "alice.s17") for _ in range(200)]
    for workers in farm:
        workers.dismissal(NOW_US + 1, 0.0)
    ended = [sum(workers.dismissal(NOW_US + 1, ticks)[1] for workers in farm) for ticks in range(14, 36)]
    assert ended[0] == 0
    assert ended[-1] == len(farm)
    assert 60 < ended[11] < 140, "about half of them after twenty-five seconds"


def test_who_may_work_again_before_that_stays() -> None:
    gate = FakeGate()
    workers = at_work(gate, "alice.s17")
    gate.refuse("alice.s17", "suspended")
    workers.dismissal(NOW_US, 0.0)
    gate.refused.clear()
    gate.generation += 1
    assert workers.dismissal(NOW_US, 10.0) == (None, False)
    assert workers.dismissal(NOW_US, 1000.0) == (None, False)
    assert not workers.ending


def test_o09_with_several_accounts_the_connection_stays_while_one_may_work() -> None:
    gate = FakeGate()
    workers = at_work(gate, "alice.s17", "bob.s17")
    gate.refuse("alice.s17", "suspended")
    assert workers.dismissal(NOW_US, 0.0) == (None, False)
    gate.refuse("bob.s17", "revoked")
    assert workers.dismissal(NOW_US, 1.0) == ("revoked", False), "what ended it"
    assert workers.refused == ("bob", "revoked")


def test_a_look_at_a_proxy_asks_first_for_the_name_that_worked_last() -> None:
    """Thousands of its names may have been refused: the loop is not held for each look at them."""
    gate = FakeGate(spans={"alice": (0, NOW_US)})
    workers = at_work(gate, "bob.s17", *(f"carol.{number}" for number in range(100)), "dora.s17")
    for name in list(workers.by_name)[:-1]:
        gate.refuse(name, "excluded")
    assert workers.dismissal(NOW_US, 0.0) == (None, False)
    assert workers.looked == 102
    gate.generation += 1
    assert workers.dismissal(NOW_US, 1.0) == (None, False)
    assert workers.looked == 1
    gate.refuse("dora.s17", "excluded")
    assert workers.dismissal(NOW_US, 2.0) == ("excluded", False)
    assert workers.looked == 103, "what was asked for is told, whatever came of it"
    assert workers.dismissal(NOW_US, 3.0) == (None, False)
    assert workers.looked == 0, "nobody is asked for again before it is to end"


def test_who_was_never_let_in_is_not_dismissed() -> None:
    workers = Workers(FakeGate(), LIMITS)
    assert workers.dismissal(NOW_US, 0.0) == (None, False)
    assert workers.dismissal(NOW_US, 1000.0) == (None, False)


# A machine that leaves the register and may work on


def test_o07_a_machine_that_is_a_unit_no_longer_is_counted_once_and_then_once_a_day() -> None:
    day, units = 100, {"alice.s17": Unit("A-1")}

    class Units(FakeGate):
        def _judge(self, username: str, now_us: int) -> Worker | Denied:
            unit = units.get(username)
            until = FOR_EVER if unit is not None else (now_us // day + 1) * day
            return Worker(username, 1, "s17", 0, until, "alice", unit=unit, generation=self.generation)

    gate = Units()
    worker = (workers := at_work(gate, "alice.s17")).by_name["alice.s17"]
    assert workers.refusal(worker, 5) is None
    units.clear()
    gate.generation += 1
    asked = []
    for now_us in range(10, 310, 10):
        gate.generation += now_us % 30 == 0
        assert workers.refusal(worker, now_us) is None
        asked.append(len(gate.asked) - 1)
    assert asked == [1] * 9 + [2] * 10 + [3] * 10 + [4], "the first on the spot, then each midnight"
    assert worker.unit is None
    assert workers.lost_unit


# What follows from a refusal


@pytest.mark.parametrize(("known", "kind"), [(True, "licence"), (False, "refused")])
def test_ten_refusals_end_a_connection_and_only_a_strangers_are_an_offence(known: bool, kind: str) -> None:
    gate = FakeGate(refused={"alice.s17": "suspended"}, known={"alice.s17"} if known else set())
    wire = Wire(gate=gate)
    for _ in range(9):
        wire.call("mining.authorize", ["alice.s17"])
    with pytest.raises(Exception, match="10 refused authorisations") as closed:
        wire.call("mining.authorize", ["alice.s17"])
    assert getattr(closed.value, "kind", None) == kind


def test_what_was_refused_for_the_machines_name_is_counted_apart() -> None:
    gate = FakeGate(refused={"alice.x": "no unit"}, misnamed={"alice.x"})
    workers = Workers(gate, LIMITS)
    for _ in range(3):
        workers.authorise("alice.x", NOW, 0.0)
    assert (workers.excused, workers.misnamed) == (False, 3)


def test_notices_of_a_proxy_are_few() -> None:
    names = [f"a{number}" for number in range(50)]
    gate = FakeGate(notices={name: f"licence of {name} ends" for name in names})
    told = at_work(gate, *(f"{name}.s17" for name in names)).notices(NOW_US)
    assert len(told) == NOTICES_LIMIT
    assert len(set(told)) == NOTICES_LIMIT


def test_every_connection_has_a_number_of_its_own() -> None:
    gate = FakeGate()
    first, second = at_work(gate, "alice.s17", "alice.s18"), at_work(gate, "alice.s17")
    numbers = {worker.connection for worker in first.by_name.values()}
    assert len(numbers) == 1
    assert second.by_name["alice.s17"].connection not in numbers | {0}
