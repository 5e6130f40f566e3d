"""The conversation of a session: every method, in any order, and what is told when. Shares: the next file."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum import workers
from stratum.interfaces import Closed
from stratum.session import REFUSALS_LIMIT
from stratum.vardiff import DifficultyPolicy
from tests.stratum.fakes import EASY, HARD, MASK, FakeGate, Wire, template


def kinds(messages: list[dict[str, Any]]) -> list[Any]:
    """A message by its method, an answer by its id."""
    return [message.get("method", message.get("id")) for message in messages]


CONFIGURE = ("mining.configure", [["version-rolling"], {"version-rolling.mask": "ffffffff"}])
SUBSCRIBE = ("mining.subscribe", ["firmware/1.0"])
AUTHORIZE = ("mining.authorize", ["alice.s17", "x"])
FIRST_WORK = ["mining.set_difficulty", "mining.notify"]


@pytest.mark.parametrize(
    "order",
    list(itertools.permutations([CONFIGURE, SUBSCRIBE, AUTHORIZE])),
    ids=lambda order: "-".join(method.removeprefix("mining.") for method, _ in order),
)
def test_q01_q50_q58_any_order_answers_in_order_and_nothing_before_the_subscribe_answer(order: Any) -> None:
    wire = Wire()
    wire.new_job()
    messages = []
    for number, (method, params) in enumerate(order):
        messages += wire.call(method, params, number)
    seen = kinds(messages)
    assert [kind for kind in seen if isinstance(kind, int)] == [0, 1, 2]
    subscribed = order.index(SUBSCRIBE)
    assert seen.index(subscribed) < min(seen.index(kind) for kind in FIRST_WORK)
    assert not any(isinstance(kind, str) for kind in seen[: seen.index(subscribed)])
    mask = ["mining.set_version_mask"] if order.index(CONFIGURE) < 2 else []
    assert [kind for kind in seen if isinstance(kind, str)] == [*mask, *FIRST_WORK]


def test_subscribe_answer() -> None:
    (answer,) = Wire().call("mining.subscribe", ["bmminer/2.0.0"])
    subscriptions, extranonce1, size = answer["result"]
    assert answer["error"] is None
    assert {name for name, _ in subscriptions} == {"mining.set_difficulty", "mining.notify"}
    assert (len(extranonce1), size) == (8, 8)
    assert int(extranonce1, 16) >> 20 == 1, "the gateway's number, never 0"
    assert {session_id for _, session_id in subscriptions} == {subscriptions[0][1]}
    assert subscriptions[0][1].startswith(extranonce1)
    assert len(subscriptions[0][1]) > len(extranonce1), "who holds the id, not who guesses it, may resume"


@pytest.mark.parametrize(
    "params",
    [
        [],
        ["agent"],
        ["agent", "00100001"],
        ["agent", None],
        ["a", "b", "host", 3333],
        [None],
        [["agent"]],
        [{}, 1, 2, 3, 4],
    ],
)
def test_q04_q05_q40_subscribe_takes_any_parameters(params: list[Any]) -> None:
    (answer,) = Wire().call("mining.subscribe", params)
    _, extranonce1, size = answer["result"]
    assert int(extranonce1, 16) >> 20 == 1
    assert size == 8


def test_subscribe_without_params_key() -> None:
    (answer,) = Wire().send('{"id":1,"method":"mining.subscribe"}')
    assert answer["result"][2] == 8


def test_a_second_subscribe_gets_the_same_answer_and_no_second_first_job() -> None:
    wire = Wire()
    wire.start()
    first = wire.call("mining.subscribe")
    assert kinds(first) == [7]
    assert first == wire.call("mining.subscribe", ["other", "id"])


def test_the_agent_is_kept_and_cut() -> None:
    wire = Wire()
    wire.call("mining.subscribe", ["A" * 5000])
    assert wire.session.agreed.agent == "A" * 128


def test_no_work_before_there_is_a_job_and_then_at_once() -> None:
    wire = Wire()
    wire.call("mining.subscribe")
    assert kinds(wire.call(*AUTHORIZE)) == [7]
    wire.new_job()
    assert kinds(wire.read()) == FIRST_WORK


@pytest.mark.parametrize(
    "params", [["alice.s17"], ["alice.s17", ""], ["alice.s17", "x", "more"], ["alice.s17", None]]
)
def test_authorize_takes_any_password_or_none(params: list[Any]) -> None:
    wire = Wire()
    (answer,) = wire.call("mining.authorize", params)
    assert (answer["result"], answer["error"]) == (True, None)
    assert wire.session.authorised


@pytest.mark.parametrize("params", [[], [5], [None], [["alice"]], ["a" * 129, "x"], [{}]])
def test_authorize_without_a_name_is_malformed(params: list[Any]) -> None:
    wire = Wire()
    (answer,) = wire.call("mining.authorize", params)
    assert answer["error"][0] == 20
    assert not wire.session.authorised


def test_q09_i6_no_licence_no_entry_and_the_reason_is_said() -> None:
    wire = Wire(gate=FakeGate(refused={"eve": "account 'eve' has no licence"}))
    wire.call("mining.subscribe")
    (answer,) = wire.call("mining.authorize", ["eve", "x"])
    assert (answer["result"], answer["error"]) == (None, [24, "account 'eve' has no licence", None])
    assert not wire.session.working
    wire.new_job()
    assert wire.read() == []


def test_a_refused_name_does_not_hinder_another() -> None:
    wire = Wire(gate=FakeGate(refused={"eve": "no"}))
    wire.new_job()
    wire.call("mining.subscribe")
    wire.call("mining.authorize", ["eve"])
    assert kinds(wire.call(*AUTHORIZE)) == [7, *FIRST_WORK]


def test_the_second_worker_gets_no_second_first_job() -> None:
    wire = Wire()
    wire.start()
    assert kinds(wire.call("mining.authorize", ["bob.1", "x"])) == [7]


def test_too_many_refusals_end_the_connection_after_the_last_answer() -> None:
    wire = Wire(gate=FakeGate(refused={"eve": "no"}))
    for _ in range(REFUSALS_LIMIT - 1):
        wire.call("mining.authorize", ["eve"])
    with pytest.raises(Closed):
        wire.call("mining.authorize", ["eve"])
    assert [message["error"][0] for message in wire.read()] == [24]


def test_workers_on_a_connection_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WORKERS_LIMIT", 2)
    wire = Wire()
    answers = [wire.call("mining.authorize", [name])[0] for name in ("a", "b", "c", "a")]
    assert [answer["error"] and answer["error"][0] for answer in answers] == [None, None, 24, None]


# Configure, by BIP310


def configured(wire: Wire, *params: Any) -> Any:
    (answer,) = wire.call("mining.configure", list(params))
    assert answer["error"] is None
    return answer["result"]


@pytest.mark.parametrize(
    ("mask", "granted"),
    [
        ("ffffffff", "1fffe000"),
        ("1fffe000", "1fffe000"),
        ("00c00000", "00c00000"),
        ("FFFFFFFF", "1fffe000"),
        ("6000", "00006000"),
        (None, "1fffe000"),
        ("no mask", "1fffe000"),
        (5, "1fffe000"),
        ("", "1fffe000"),
    ],
)
def test_q02_q51_version_rolling_is_granted_within_both_masks(mask: object, granted: str) -> None:
    options = {} if mask is None else {"version-rolling.mask": mask}
    answer = configured(Wire(), ["version-rolling"], options)
    assert answer == {"version-rolling": True, "version-rolling.mask": granted}


def test_without_a_common_bit_version_rolling_is_false() -> None:
    assert configured(Wire(), ["version-rolling"], {"version-rolling.mask": "00000001"}) == {
        "version-rolling": False
    }


@pytest.mark.parametrize("count", [16, "16", -1, None, [], "many"])
def test_q26_q30_bit_counts_and_unknown_extensions(count: object) -> None:
    answer = configured(
        Wire(),
        ["version-rolling", "sp-telemetry", 5, None],
        {
            "version-rolling.mask": "1fffe000",
            "version-rolling.bit-count": count,
            "version-rolling.min-bit-count": count,
        },
    )
    assert answer == {"version-rolling": True, "version-rolling.mask": "1fffe000", "sp-telemetry": False}


@pytest.mark.parametrize(
    "params", [[], [None], ["version-rolling"], [{}, []], [[], {}], [[["version-rolling"]]], [[], 5]]
)
def test_q03_configure_is_always_answered(params: list[Any]) -> None:
    assert configured(Wire(), *params) == {}


def test_subscribe_extranonce_is_true_in_configure_too() -> None:
    assert configured(Wire(), ["subscribe-extranonce"], {}) == {"subscribe-extranonce": True}


@pytest.mark.parametrize(
    ("value", "granted"), [(2**-20, True), ("0.5", True), (0, False), (-1, False), (None, False), ([], False)]
)
def test_minimum_difficulty(value: object, granted: bool) -> None:
    answer = configured(Wire(), ["minimum-difficulty"], {"minimum-difficulty.value": value})
    assert answer == {"minimum-difficulty": granted}


def test_minimum_difficulty_is_rounded_up_and_kept_when_the_machine_is_silent() -> None:
    wire = Wire(policy=DifficultyPolicy(EASY, EASY, 20, 12))
    configured(wire, ["minimum-difficulty"], {"minimum-difficulty.value": 0.7 * 2**-20})
    wire.start()
    for _ in range(20):
        wire.now += 60
        wire.new_job()
        wire.read()
        assert wire.difficulty == 2**-20


def test_the_mask_is_told_once_with_the_next_job_and_only_after_configure() -> None:
    wire = Wire()
    assert "mining.set_version_mask" not in kinds(wire.start())
    assert kinds(wire.call(*CONFIGURE)) == [7]
    wire.new_job()
    assert kinds(wire.read()) == ["mining.set_version_mask", "mining.notify"]
    wire.new_job()
    assert kinds(wire.read()) == ["mining.notify"]


def test_configure_may_be_repeated() -> None:
    wire = Wire()
    wire.start()
    for mask in ("00006000", "ffffffff"):
        configured(wire, ["version-rolling"], {"version-rolling.mask": mask})
        wire.new_job()
        (told, _notify) = wire.read()
        assert told["params"] == [f"{int(mask, 16) & MASK:08x}"]


# Difficulty


@pytest.mark.parametrize("value", [2**-20, 0.001, "0.001", 1, 512, 512.7, "1024", 10**30])
def test_suggest_difficulty_is_answered_and_comes_with_the_next_job_only(value: Any) -> None:
    wire = Wire(policy=DifficultyPolicy(EASY, EASY, 20, 12))
    wire.start()
    (answer,) = wire.call("mining.suggest_difficulty", [value])
    assert answer["result"] is True
    wire.new_job(template(target=1))
    messages = wire.read()
    assert kinds(messages) == FIRST_WORK
    assert wire.difficulty <= float(value)
    assert wire.difficulty * 2 > float(value) or wire.difficulty == 2**20


@pytest.mark.parametrize(
    "params", [[], [0], [-5], ["x"], [None], [True], [[1]], ["inf"], ["nan"], [{}], ["1e999"], ["-1"]]
)
def test_a_suggestion_that_is_none_is_refused(params: list[Any]) -> None:
    (answer,) = Wire().call("mining.suggest_difficulty", params)
    assert answer["error"][0] == 20


def test_q10_q62_a_suggestion_counts_before_everything_else_too() -> None:
    wire = Wire()
    (answer,) = wire.send('{"id":null,"method":"mining.suggest_difficulty","params":[0.0001]}')
    assert answer == {"id": None, "result": True, "error": None}
    wire.start()
    assert wire.difficulty == 2**-14


def test_q61_a_keep_alive_suggestion_is_clamped_to_the_floor() -> None:
    wire = Wire(policy=DifficultyPolicy(4, 3, 20, 12))
    wire.call("mining.suggest_difficulty", [0.00015])
    wire.new_job(template(target=1))
    wire.start()
    assert wire.difficulty == 8


def test_i9_never_harder_than_a_block() -> None:
    wire = Wire(policy=DifficultyPolicy(10, EASY, 20, 12))
    wire.new_job(template(target=(0xFFFF << 208) * 1000))
    wire.start()
    assert wire.difficulty == 2**-10


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 400), st.booleans()), max_size=12))
def test_q08_q23_difficulty_comes_directly_in_front_of_a_notify_and_only_when_it_changes(
    steps: list[tuple[int, int, bool]],
) -> None:
    wire = Wire()
    seen = kinds(wire.start())[2:]
    told = [wire.difficulty]
    for seconds, shares, new_height in steps:
        for _ in range(shares):
            wire.session._vardiff.count()
        wire.now += seconds
        wire.new_job(template(800_000 + len(told) if new_height else 800_000, target=HARD))
        seen += kinds(wire.read())
        told.append(wire.difficulty)
    for at, kind in enumerate(seen):
        if kind == "mining.set_difficulty":
            assert seen[at + 1] == "mining.notify"
    assert seen.count("mining.set_difficulty") == 1 + sum(
        one != other for one, other in itertools.pairwise(told)
    )
    assert seen.count("mining.notify") == 1 + len(steps)


# The small ones


def test_q12_ping() -> None:
    assert Wire().call("mining.ping") == [{"id": 7, "result": "pong", "error": None}]


@pytest.mark.parametrize(
    "line",
    [
        '{"id":5,"method":"pong","params":[]}',
        '{"id":5,"result":"pong","error":null}',
        '{"id":5,"result":true}',
        '{"id":5}',
        "{}",
        "   ",
        "\t\r",
    ],
)
def test_q12_q54_what_wants_no_answer_gets_none(line: str) -> None:
    assert Wire().send(line) == []


def test_q27_q57_q73_extranonce_subscribe_is_answered_at_once() -> None:
    wire = Wire()
    assert wire.call("mining.extranonce.subscribe", [], "xnsub") == [
        {"id": "xnsub", "result": True, "error": None}
    ]
    wire.start()
    assert kinds(wire.call("mining.extranonce.subscribe")) == [7]


@pytest.mark.parametrize(
    "method",
    [
        "",
        "mining.multi_version",
        "x" * 9000,
        "\u0000",
        "eth_submitLogin",
        "mining.\U0001f600",
    ],
)
def test_q20_an_unknown_method_is_told_so_and_stays_connected(method: str) -> None:
    wire = Wire()
    (answer,) = wire.call(method, [4], "abc")
    assert (answer["id"], answer["error"][0]) == ("abc", -3)
    assert len(answer["error"][1]) < 200
    assert wire.call("mining.ping")[0]["result"] == "pong"


@pytest.mark.parametrize(
    "params",
    [[], [5], ["text" * 1000], [[[]]], {"a": 1}, "x", 5, [1e300], [json.loads("[" * 900 + "]" * 900)]],
)
@pytest.mark.parametrize("method", ["mining.submit", "mining.ping"])
def test_odd_parameters_harm_nobody(method: str, params: Any) -> None:
    wire = Wire()
    (answer,) = wire.call(method, params)
    assert answer["id"] == 7
    assert answer["error"] is None or answer["error"][0] == 20
    assert len(json.dumps(answer)) < 400


def test_what_is_no_request_is_answered_once_and_ends_the_connection() -> None:
    wire = Wire()
    with pytest.raises(Closed) as closed:
        wire.send("GET / HTTP/1.1")
    (answer,) = wire.read()
    assert (answer["id"], answer["error"][0]) == (None, 20)
    assert "not JSON" in str(closed.value.__cause__)
