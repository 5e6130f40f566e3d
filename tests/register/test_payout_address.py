"""Addresses that wait for their time (O-31): nobody who enters or withdraws them gets round it."""

import datetime as dt
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from register.address import InvalidAddress
from register.payout_address import PayoutAddress, PayoutAddressError, address_at
from register.register import Register
from tests.register_world import at, clerk_of, register_of

NOW = at(dt.date(2026, 6, 1), 12)
HOUR = 3_600_000_000
WAIT = 72 * HOUR
ADDRESSES = (
    "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x",
    "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
    "2N3oefVeg6stiTb5Kh3ozCSkaqmx91FDbsm",
)


def wallet(number: int = 0, **changes: Any) -> PayoutAddress:
    return msgspec.structs.replace(PayoutAddress(1, 0, "wallet", ADDRESSES[number], 0), **changes)


def deposit(number: int = 1) -> PayoutAddress:
    return PayoutAddress(1, 0, "exchange_deposit", ADDRESSES[number], 0, "Exchange", "AFSA", "AFSA-A-1")


def paid_to(register: Register, at_us: int) -> str | None:
    found = address_at(register.addresses_of(1), "wallet", at_us)
    return found.address if found else None


def test_the_first_address_of_a_purpose_holds_at_once_and_the_next_waits() -> None:
    register = register_of("altai")
    first = clerk_of(register, NOW).enter_address(wallet(0))
    other = clerk_of(register, NOW).enter_address(deposit(1))
    second = clerk_of(register, NOW + HOUR).enter_address(wallet(2))
    assert [first.number, other.number, second.number] == [1, 2, 3]
    assert (first.effective_us, other.effective_us, second.effective_us) == (NOW, NOW, NOW + HOUR + WAIT)
    assert paid_to(register, NOW - 1) is None
    assert paid_to(register, second.effective_us - 1) == first.address
    assert paid_to(register, second.effective_us) == second.address


def test_a_waiting_address_that_is_withdrawn_leaves_the_old_one() -> None:
    register = register_of("altai")
    clerk_of(register, NOW).enter_address(wallet(0))
    attack = clerk_of(register, NOW + HOUR).enter_address(wallet(2))
    clerk_of(register, attack.effective_us - 1).withdraw_address(attack.key)
    assert paid_to(register, attack.effective_us + 10**9) == ADDRESSES[0]
    again = clerk_of(register, attack.effective_us).enter_address(wallet(2))
    assert again.effective_us == attack.effective_us + WAIT


def test_who_withdraws_the_one_in_effect_stops_payments_and_gains_no_time() -> None:
    register = register_of("altai")
    clerk_of(register, NOW).enter_address(wallet(0))
    second = clerk_of(register, NOW).enter_address(wallet(1))
    later = second.effective_us + HOUR
    clerk_of(register, later).withdraw_address(second.key)
    assert paid_to(register, later - 1) == second.address
    assert paid_to(register, later) is None  # not the old one, whose key may be lost
    third = clerk_of(register, later).enter_address(wallet(2))
    assert third.effective_us == later + WAIT
    assert paid_to(register, later + WAIT) == third.address


def test_what_is_not_in_use_is_not_withdrawn() -> None:
    register = register_of("altai")
    first = clerk_of(register, NOW).enter_address(wallet(0))
    clerk_of(register, NOW + 1).withdraw_address(first.key)
    for key in (first.key, "1.9", "x"):
        with pytest.raises(PayoutAddressError, match="there is none in use"):
            clerk_of(register, NOW + 2).withdraw_address(key)


def test_o31_an_address_is_one_miners_and_of_the_chain() -> None:
    register = register_of("altai", "saryarqa")
    clerk_of(register, NOW).enter_address(wallet(0))
    for miner_id, whose in ((1, "it already has it"), (2, "another miner has it")):
        with pytest.raises(PayoutAddressError, match=whose):
            clerk_of(register, NOW).enter_address(wallet(0, miner_id=miner_id))
        with pytest.raises(PayoutAddressError, match=whose):  # bech32 means the same in capitals
            clerk_of(register, NOW).enter_address(wallet(0, miner_id=miner_id, address=ADDRESSES[0].upper()))
    with pytest.raises(InvalidAddress, match="regtest"):
        clerk_of(register, NOW).enter_address(wallet(address="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"))


MOVE = st.tuples(st.sampled_from(["attack", "own", "withdraw"]), st.integers(0, 60), st.integers(0, 9))


@given(st.lists(MOVE, max_size=12))
def test_no_order_of_entries_and_withdrawals_brings_an_address_in_sooner(
    moves: list[tuple[str, int, int]],
) -> None:
    """What is paid has stood in the register for the whole waiting period, but for the very first; and what
    was withdrawn is not paid."""
    register = register_of("altai")
    entered = {clerk_of(register, NOW).enter_address(wallet(0)).key: NOW - WAIT}
    gone: dict[str, int] = {}
    now_us = NOW
    for what, hours, pick in [*moves, ("own", 200, 0)]:
        for at_us in range(now_us, now_us + hours * HOUR, HOUR):
            found = address_at(register.addresses_of(1), "wallet", at_us)
            assert found is None or (entered[found.key] + WAIT <= at_us and found.key not in gone)
            assert found is not None or gone
        now_us += hours * HOUR
        with suppress(PayoutAddressError):
            if what == "withdraw":
                key = list(entered)[pick % len(entered)]
                clerk_of(register, now_us).withdraw_address(key)
                gone[key] = now_us
            else:
                address = wallet(2 if what == "attack" else 1 + 2 * (pick % 2))
                entered[clerk_of(register, now_us).enter_address(address).key] = now_us
