"""Whom to pay: all that is owed is either paid or held for a reason, and the exchange gets its share."""

import datetime as dt
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.output import dust_sat
from payouts.payout_plan import (
    SENTENCES,
    Due,
    HoldReason,
    Payee,
    Plan,
    PlanSettings,
    distribution_day,
    plan,
)
from register.licence import COVERING, Status
from register.payout_address import PayoutAddress
from register.rules import Rules
from tests.register_world import RULES, at, rules_with

NOON = at(dt.date(2026, 11, 24), 12)
REGTEST = PlanSettings("regtest")
WALLET = PayoutAddress(1, 1, "wallet", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", 0)
DEPOSIT = PayoutAddress(
    1, 2, "exchange_deposit", "2N3oefVeg6stiTb5Kh3ozCSkaqmx91FDbsm", 0, "Exchange", "AFSA", "AFSA-A-1"
)
SPLIT = ('mode = "monitor"\nsource = "an article', 'mode = "split_payout"\nsource = "an article')
SPLITTING = rules_with(SPLIT)


def held_by(rule: str) -> Rules:
    """The rules with `hold` for a rule that allows."""
    head = f'[[{rule}]]\neffective_from = 2023-02-06\nmode = "'
    return rules_with((f'{head}allow"', f'{head}hold"'))


SUSPENDED_HELD, ENDED_HELD = held_by("suspension_payout"), held_by("ended_payout")


def payee(**changes: Any) -> Payee:
    one = Payee(1, "altai", 1_000_000, 10_000, WALLET, DEPOSIT, "L-1", Status.IN_FORCE)
    return replace(one, **changes)


def made(*payees: Payee, rules: Rules = RULES, at_us: int = NOON) -> Plan:
    return plan(payees, REGTEST, at_us, rules)


def reason(rules: Rules = RULES, at_us: int = NOON, **changes: Any) -> HoldReason | None:
    """Why a payee is held; None when all that it is owed is paid."""
    result = made(payee(**changes), rules=rules, at_us=at_us)
    whole = payee(**changes).payable_sat
    if result.held:
        assert result.payments == []
        assert [one.amount_sat for one in result.held] == [whole]
        return result.held[0].reason
    assert result.payments_sat == whole
    return None


def test_a_payment_says_what_the_form_asks() -> None:
    (due,) = made(payee(commission_total_sat=20_000, commission_told_sat=7_000)).payments
    assert due == Due(
        miner_id=1,
        purpose="wallet",
        address=WALLET.address,
        script=bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6"),
        amount_sat=1_000_000,
        commission_sat=13_000,
        sale_share_bps=None,
        exchange="",
        licence="L-1",
        status="in_force",
    )


def test_a_split_payout_has_two_parts_that_share_the_commission() -> None:
    result = made(payee(payable_sat=1_000_001, commission_total_sat=10_001), rules=SPLITTING)
    told = [
        (due.purpose, due.amount_sat, due.commission_sat, due.sale_share_bps, due.exchange)
        for due in result.payments
    ]
    assert told == [
        ("exchange_deposit", 750_001, 7_500, 7500, "Exchange"),
        ("wallet", 250_000, 2_501, 7500, ""),
    ]


def test_the_share_is_that_of_the_day() -> None:
    """Invariant 8: 2024 has fifty per cent, 2025 seventy-five (O-50, O-51)."""
    for year, part in ((2024, 500_000), (2025, 750_000)):
        rules = rules_with(SPLIT)
        result = made(payee(), rules=rules, at_us=at(dt.date(year, 6, 1)))
        assert [due.amount_sat for due in result.payments] == [part, 1_000_000 - part]
    (due,) = made(payee(), rules=SPLITTING, at_us=at(dt.date(2023, 12, 31))).payments
    assert (due.purpose, due.sale_share_bps) == ("wallet", None)


def test_what_holds_a_payment() -> None:
    assert reason() is None
    assert reason(payable_sat=-1) == HoldReason.NEGATIVE
    assert reason(payable_sat=9_999) == HoldReason.BELOW_THRESHOLD
    assert reason(payable_sat=10_000) is None
    assert reason(wallet=None) == HoldReason.NO_WALLET
    assert reason(exchange=None) is None
    assert reason(payable_sat=293, threshold_sat=0) == HoldReason.DUST
    assert reason(payable_sat=294, threshold_sat=0) is None
    unlisted = rules_with(
        ('listed = ["Bitcoin"]\nsource = "the order of 25', 'listed = ["Dash"]\nsource = "the order of 25')
    )
    assert reason(rules=unlisted) == HoldReason.ASSET_NOT_LISTED
    assert reason(rules=unlisted, at_us=at(dt.date(2025, 12, 31))) is None
    elsewhere = PayoutAddress(1, 1, "wallet", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 0)
    assert reason(wallet=elsewhere) == HoldReason.NO_WALLET


def test_what_holds_a_split_payout() -> None:
    assert reason(SPLITTING) is None
    assert reason(SPLITTING, exchange=None) == HoldReason.NO_EXCHANGE_ADDRESS
    assert reason(SPLITTING, wallet=None) == HoldReason.NO_WALLET
    other = PayoutAddress(1, 2, "exchange_deposit", DEPOSIT.address, 0, "Exchange", "NBK", "N-1")
    assert reason(SPLITTING, exchange=other) == HoldReason.NO_EXCHANGE_ADDRESS
    both = rules_with(SPLIT, ('licensors = ["AFSA"]    #', 'licensors = ["AFSA", "NBK"]    #'))
    assert reason(both, exchange=other) is None
    assert reason(SPLITTING, payable_sat=293, threshold_sat=0) == HoldReason.DUST
    assert reason(SPLITTING, payable_sat=294, threshold_sat=0) is None


def test_a_share_of_nothing_or_of_all_needs_one_address() -> None:
    nothing = rules_with(SPLIT, ("min_share_bps = 7500", "min_share_bps = 0"))
    everything = rules_with(SPLIT, ("min_share_bps = 7500", "min_share_bps = 10000"))
    (due,) = made(payee(exchange=None), rules=nothing).payments
    assert (due.purpose, due.amount_sat, due.sale_share_bps) == ("wallet", 1_000_000, 0)
    (due,) = made(payee(wallet=None), rules=everything).payments
    assert (due.purpose, due.amount_sat, due.sale_share_bps) == ("exchange_deposit", 1_000_000, 10_000)
    assert reason(everything, exchange=None) == HoldReason.NO_EXCHANGE_ADDRESS
    assert reason(nothing, wallet=None) == HoldReason.NO_WALLET


@pytest.mark.parametrize("status", [*Status, None])
def test_suspended_and_ended_licences_by_their_rules(status: Status | None) -> None:
    """Invariants 6 and 8: what was earned lawfully is paid, or held when the dated rule says so (Q-15)."""
    suspended = status in (Status.SUSPENDED, Status.AWAITING_RESUMPTION)
    over = not suspended and status not in COVERING
    assert reason(status=status) is None
    assert reason(SUSPENDED_HELD, status=status) == (HoldReason.SUSPENDED if suspended else None)
    assert reason(ENDED_HELD, status=status) == (HoldReason.ENDED if over else None)


def test_who_is_owed_nothing_is_in_neither_list_and_nobody_is_owed_twice() -> None:
    assert made(payee(payable_sat=0)) == Plan([], [])
    with pytest.raises(ValueError, match="given twice"):
        made(payee(), payee())


def test_every_reason_has_its_sentence() -> None:
    assert set(SENTENCES) == set(HoldReason)
    assert made(payee(wallet=None)).held[0].sentence == SENTENCES[HoldReason.NO_WALLET]


def test_commission_that_was_told_too_much_is_not_taken_back() -> None:
    """A matured block was orphaned: its commission is no more, and was told."""
    assert made(payee(commission_total_sat=5, commission_told_sat=9)).payments[0].commission_sat == 0


def test_q07_the_date_of_distribution() -> None:
    credited = dt.date(2026, 11, 20)
    midnight = at(dt.date(2026, 11, 25))
    assert distribution_day(RULES, midnight - 1, credited) == dt.date(2026, 11, 24)
    assert distribution_day(RULES, midnight, credited) == dt.date(2026, 11, 25)
    by_credit = rules_with(('date = "transfer"', 'date = "credited"'))
    assert distribution_day(by_credit, midnight, credited) == credited


statuses = st.sampled_from([*Status, None])
anyone = st.builds(
    Payee,
    miner_id=st.integers(1, 8),
    name=st.just("m"),
    payable_sat=st.integers(-1000, 2000) | st.integers(0, 10**12),
    threshold_sat=st.sampled_from((0, 1000, 10_000, 10**9)),
    wallet=st.sampled_from((WALLET, None)),
    exchange=st.sampled_from((DEPOSIT, None)),
    licence=st.just("L"),
    status=statuses,
    sale_due=st.integers(0, 10**12),
    exchange_paid_sat=st.integers(0, 10**8),
    commission_total_sat=st.integers(0, 10**9),
    commission_told_sat=st.integers(0, 10**9),
)
any_rules = st.sampled_from((RULES, SPLITTING, SUSPENDED_HELD, ENDED_HELD))


@given(st.lists(anyone, unique_by=lambda one: one.miner_id), any_rules)
def test_all_that_is_owed_is_paid_or_held(payees: list[Payee], rules: Rules) -> None:
    """Invariants 2, 3 and 5: nothing is lost, nobody is paid twice, no output is dust, order is fixed."""
    result = made(*payees, rules=rules)
    assert result == made(*reversed(payees), rules=rules)
    paid: dict[int, int] = defaultdict(int)
    for due in result.payments:
        assert due.amount_sat >= dust_sat(due.script)
        paid[due.miner_id] += due.amount_sat
    held = {one.miner_id: one.amount_sat for one in result.held}
    assert not paid.keys() & held.keys()
    assert paid | held == {one.miner_id: one.payable_sat for one in payees if one.payable_sat}
    places = [(due.miner_id, due.purpose) for due in result.payments]
    assert places == sorted(set(places))
    assert result.payments_sat + result.held_sat == sum(one.payable_sat for one in payees)


steps = st.lists(
    st.tuples(
        st.integers(0, 5 * 10**6),  # earned
        st.integers(0, 10**5),  # the commission on it
        st.booleans(),  # whether the rule is to split
        st.booleans(),  # whether the payout is abandoned
    ),
    max_size=30,
)


@given(steps)
def test_a_life_of_payouts_agrees_with_fractions(life: list[tuple[int, int, bool, bool]]) -> None:
    """Invariant 3: sale share and commission are exact when all is paid, abandoned payouts or not."""
    one = payee(payable_sat=0)
    share, to_exchange, paid, earned = Fraction(0), 0, 0, 0
    for more, commission, split, abandoned in life:
        earned += more
        one = replace(
            one,
            payable_sat=one.payable_sat + more,
            commission_total_sat=one.commission_total_sat + commission,
        )
        dues = made(one, rules=SPLITTING if split else RULES).payments
        if abandoned or not dues:
            continue
        whole = sum(due.amount_sat for due in dues)
        told = sum(due.commission_sat for due in dues)
        exchanged = sum(due.amount_sat for due in dues if due.purpose == "exchange_deposit")
        share += Fraction(whole * (7500 if split else 0), 10_000)
        to_exchange += exchanged
        paid += whole
        one = replace(
            one,
            payable_sat=one.payable_sat - whole,
            sale_due=one.sale_due + sum(due.amount_sat * (due.sale_share_bps or 0) for due in dues),
            exchange_paid_sat=one.exchange_paid_sat + exchanged,
            commission_told_sat=one.commission_told_sat + told,
        )
        assert to_exchange == ceil(share)
        assert one.commission_told_sat == one.commission_total_sat
        assert one.sale_due == share * 10_000
    assert paid + one.payable_sat == earned
