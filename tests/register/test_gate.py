"""I6: no licence, no work; and every refusal says why."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from register.gate import Admission, Gate, Refusal, RefusalKind
from register.licence import Licence
from register.miner import Miner
from register.rules import load_rules

RULES = load_rules(Path(__file__).parents[2] / "configs" / "rules.toml")
LICENCE = Licence("KZ-7", 2, dt.date(2025, 1, 1), dt.date(2025, 12, 31))
MINER = Miner(
    7, "alatau", "Alatau LLP", "940140000385", LICENCE, "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x"
)
GATE = Gate({"alatau": MINER}, RULES)
START = RULES.day_bounds(dt.date(2025, 1, 1))[0]
END = RULES.day_bounds(dt.date(2025, 12, 31))[1]


@pytest.mark.parametrize(
    ("username", "worker"),
    [
        ("alatau", ""),
        ("alatau.", ""),
        ("alatau.rack-1.unit_02", "rack-1.unit_02"),
        ("alatau." + "w" * 64, "w" * 64),
    ],
)
def test_i6_a_licensed_account_is_admitted_with_its_bounds(username: str, worker: str) -> None:
    assert GATE.admit(username, START) == Admission(7, "alatau", worker, START, END, MINER.licence)


@pytest.mark.parametrize(
    ("username", "at_us", "kind", "reason"),
    [
        ("alatau", START - 1, RefusalKind.NOT_YET, "licence KZ-7 of account alatau begins on 2025-01-01"),
        ("alatau.w", END, RefusalKind.ENDED, "licence KZ-7 of account alatau ended with 2025-12-31"),
        ("Alatau", START, RefusalKind.UNKNOWN_ACCOUNT, "account 'Alatau' is not in the register"),
        ("", START, RefusalKind.UNKNOWN_ACCOUNT, "account '' is not in the register"),
        ("alatau.a b", START, RefusalKind.MALFORMED, "worker name 'a b'"),
        ("alatau.w\n", START, RefusalKind.MALFORMED, "worker name"),
        ("alatau." + "w" * 65, START, RefusalKind.MALFORMED, "at most 64"),
    ],
)
def test_i6_everything_else_is_refused_in_words(
    username: str, at_us: int, kind: RefusalKind, reason: str
) -> None:
    answer = GATE.admit(username, at_us)
    assert isinstance(answer, Refusal)
    assert answer.kind is kind
    assert reason in answer.reason


def test_i6_the_licence_holds_to_its_last_microsecond() -> None:
    assert isinstance(GATE.admit("alatau", END - 1), Admission)


@given(st.text(max_size=300), st.integers(START, END - 1))
def test_strangers_are_refused_and_the_answer_stays_short(username: str, at_us: int) -> None:
    answer = GATE.admit(username, at_us)
    if username.partition(".")[0] == "alatau":
        return
    assert isinstance(answer, Refusal)
    assert len(answer.reason) < 600
    assert answer.reason.isprintable()


def test_a_snapshot_under_wrong_names_is_refused() -> None:
    with pytest.raises(ValueError, match="stands under the name 'other'"):
        Gate({"other": MINER}, RULES)
