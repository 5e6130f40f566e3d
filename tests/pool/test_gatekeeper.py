"""Names as firmwares send them, and what an account is told of its licence."""

import datetime as dt
from collections import Counter
from pathlib import Path

import pytest

from pool.gatekeeper import RegisterGatekeeper
from register.gate import Gate
from register.licence import Licence
from register.miner import Miner
from register.rules import load_rules
from stratum.interfaces import Worker

RULES = load_rules(Path(__file__).parents[2] / "configs" / "rules.toml")
LAST_DAY = dt.date(2027, 6, 30)
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


def keeper() -> tuple[RegisterGatekeeper, Counter[str]]:
    refusals: Counter[str] = Counter()
    licence = Licence("KZ-7", 2, dt.date(2025, 7, 1), LAST_DAY)
    miner = Miner(7, "altai", "Altai LLP", "940140000385", licence, ADDRESS)
    return RegisterGatekeeper(Gate({"altai": miner}, RULES), refusals), refusals


def at(day: dt.date) -> int:
    return RULES.day_bounds(day)[0]


@pytest.mark.parametrize("sent", ["altai.rack7-12", "altai%2Erack7-12", "altai.rack7%2d12"])
def test_q43_a_name_with_characters_as_hex_codes_is_the_name(sent: str) -> None:
    gate, refusals = keeper()
    verdict = gate.admit(sent, at(dt.date(2026, 1, 1)))
    assert isinstance(verdict, Worker)
    assert (verdict.username, verdict.miner_id, verdict.name) == (sent, 7, "rack7-12")
    assert not refusals


def test_a_percent_sign_that_codes_nothing_known_is_refused_once() -> None:
    gate, refusals = keeper()
    assert "not in the register" in str(gate.admit("alt%61j.x", at(dt.date(2026, 1, 1))))
    assert refusals.total() == 1


@pytest.mark.parametrize(("length", "cut"), [(63, True), (80, True), (127, True), (64, False), (30, False)])
def test_q43_a_name_that_the_firmware_may_have_cut_is_said_to_be_so(length: int, cut: bool) -> None:
    gate, _ = keeper()
    reason = gate.admit("a" * length, at(dt.date(2026, 1, 1)))
    assert isinstance(reason, str)
    assert (f"cut the name at {length} characters" in reason) is cut


@pytest.mark.parametrize(("days_left", "told"), [(15, False), (13, True), (0, True)])
def test_o04_an_account_is_told_of_the_end_of_its_licence_in_its_last_two_weeks(
    days_left: int, told: bool
) -> None:
    gate, _ = keeper()
    worker = gate.admit("altai.x", at(LAST_DAY - dt.timedelta(days=days_left)))
    assert isinstance(worker, Worker)
    assert bool(worker.notice) is told
    if told:
        assert "KZ-7" in worker.notice
        assert "2027-06-30" in worker.notice
