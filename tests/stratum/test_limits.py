"""Token buckets, limits per account and per address, bans that end: pure bookkeeping, time as a number."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.limits import (
    BAN_SECONDS,
    BAN_SECONDS_MAX,
    EXPIRE_AT_ONCE,
    FORGIVE_SECONDS,
    MISNAMED_BURST,
    MISNAMED_PER_SECOND,
    AccountLimits,
    Doorkeeper,
    ServerLimits,
    TokenBucket,
    group,
)

FARM = "192.0.2.7"
OTHER = "198.51.100.9"
LIMITS = ServerLimits(offences_burst=3, offences_per_second=0.1)
RATES = st.floats(0, 1e6)
TICKS = st.floats(-1e9, 1e9)


# Token buckets


def test_a_bucket_gives_its_burst_at_once_and_its_rate_afterwards() -> None:
    bucket = TokenBucket(2.0, 3)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait(100.0) == pytest.approx(0.5)
    assert not bucket.take(100.25)
    assert bucket.take(100.5)
    assert bucket.wait(100.5, 3) == pytest.approx(1.5)
    assert not bucket.full(101.9)
    assert bucket.full(102.0)
    assert bucket.draw(102.0, 2) == 2
    assert bucket.draw(102.25, 9) == 1
    assert bucket.draw(102.25, 9) == 0


def test_more_than_the_burst_or_nothing_a_second_is_never_there() -> None:
    assert TokenBucket(5.0, 3).wait(0.0, 4) == math.inf
    empty = TokenBucket(0.0, 1)
    assert empty.take(0.0)
    assert empty.wait(1e9) == math.inf


@given(RATES, st.integers(0, 1000), st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50)), max_size=50))
def test_never_more_than_burst_and_rate_allow(
    rate: float, burst: int, calls: list[tuple[float, int]]
) -> None:
    bucket, ticks, taken, elapsed = TokenBucket(rate, burst), 50.0, 0, 0.0
    assert bucket.full(ticks)
    for pause, n in calls:
        ticks += pause
        elapsed += pause
        taken += n if bucket.take(ticks, n) else bucket.draw(ticks, n)
        assert taken <= burst + rate * elapsed * (1 + 1e-9) + 1e-6


@given(RATES, st.integers(0, 1000), st.lists(TICKS, max_size=30))
def test_a_clock_that_jumps_anywhere_gives_at_most_a_burst(
    rate: float, burst: int, jumps: list[float]
) -> None:
    bucket = TokenBucket(rate, burst)
    for ticks in jumps:
        assert bucket.wait(ticks) >= 0
        assert 0 <= bucket.draw(ticks, 10_000) <= burst
        assert not bucket.take(ticks, burst + 1)


def test_a_clock_that_goes_back_neither_adds_nor_stops_the_refill() -> None:
    bucket = TokenBucket(1.0, 2)
    assert bucket.draw(1000.0, 2) == 2
    assert not bucket.take(10.0)
    assert bucket.take(11.0)


# Accounts


def test_an_account_has_a_limit_of_connections_and_the_refusal_says_what_to_do() -> None:
    accounts = AccountLimits(connections=2, authorisations_per_second=100.0, burst=100)
    assert accounts.enter("alice", 0.0) is None
    assert accounts.enter("alice", 0.0) is None
    refusal = accounts.enter("alice", 0.0)
    assert refusal == (
        "account 'alice' has 2 connections, which is its limit; "
        "put machines behind a Stratum proxy, or ask the pool to raise the limit"
    )
    assert accounts.enter("bob", 0.0) is None, "others are not concerned"
    accounts.leave("alice")
    assert accounts.enter("alice", 0.0) is None


def test_an_account_has_a_rate_of_authorisations_that_reconnecting_does_not_renew() -> None:
    accounts = AccountLimits(connections=100, authorisations_per_second=0.5, burst=2)
    for _ in range(2):
        assert accounts.enter("alice", 5.0) is None
        accounts.leave("alice")
    assert accounts.enter("alice", 5.0) == (
        "account 'alice' authorises more than 0.5 connections a second; try again in 2 s"
    )
    assert accounts.enter("alice", 7.0) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_connections_of_accounts_are_counted_exactly(events: list[tuple[str, bool]]) -> None:
    accounts = AccountLimits(connections=3, authorisations_per_second=1e6, burst=1000)
    inside = {"a": 0, "b": 0, "c": 0}
    for account, enters in events:
        if enters:
            assert (accounts.enter(account, 0.0) is None) == (inside[account] < 3)
            inside[account] = min(inside[account] + 1, 3)
        elif inside[account]:
            accounts.leave(account)
            inside[account] -= 1


# Addresses


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("?", "?"),
    ],
)
def test_what_counts_as_one_address(host: str, address: str) -> None:
    assert group(host) == address


def test_a_farm_of_fifty_thousand_comes_in_through_one_address_by_default() -> None:
    door = Doorkeeper(ServerLimits())
    assert all(door.enter(FARM, 0.0) is None for _ in range(50_000))


def test_an_address_has_a_limit_of_connections_and_a_rate_of_new_ones() -> None:
    door = Doorkeeper(replace(LIMITS, connections_per_address=3, arrivals_burst=5, arrivals_per_second=1.0))
    assert [door.enter(FARM, 0.0) for _ in range(4)] == [None, None, None, "address-full"]
    assert door.enter(OTHER, 0.0) is None
    for _ in range(3):
        door.leave(FARM, False)
    assert [door.enter(FARM, 0.0) for _ in range(3)] == [None, None, "address-rate"]
    assert door.enter(FARM, 1.0) is None
    assert door.bans(1.0) == []


def offend(door: Doorkeeper, address: str, ticks: float) -> bool:
    """Offences until the address is banned, or more of them than any limit here."""
    return any(door.offence(address, "malformed", ticks) for _ in range(10))


def test_offences_end_in_a_ban_that_is_seen_and_ends_by_itself() -> None:
    door = Doorkeeper(LIMITS)
    assert door.enter(FARM, 0.0) is None
    assert [door.offence(FARM, "refused", 0.0) for _ in range(4)] == [False, False, False, True]
    assert not door.offence(FARM, "refused", 0.0), "banned once"
    door.leave(FARM, False)
    (ban,) = door.bans(1.0)
    assert (ban.address, ban.reason, ban.until) == (FARM, "refused", BAN_SECONDS)
    assert door.enter(FARM, BAN_SECONDS - 0.1) == "banned"
    assert door.enter(OTHER, 1.0) is None
    assert door.enter(FARM, BAN_SECONDS) is None
    assert door.bans(BAN_SECONDS) == []


def test_each_further_ban_is_twice_as_long_up_to_ten_minutes_and_time_forgives() -> None:
    door, ticks, spans = Doorkeeper(LIMITS), 0.0, []
    for _ in range(6):
        assert door.enter(FARM, ticks) is None
        assert offend(door, FARM, ticks)
        door.leave(FARM, False)
        (ban,) = door.bans(ticks)
        spans.append(ban.until - ticks)
        ticks = ban.until
    assert spans == [60, 120, 240, 480, 600, 600]
    ticks += 4 * FORGIVE_SECONDS
    assert door.enter(FARM, ticks) is None
    assert offend(door, FARM, ticks)
    (ban,) = door.bans(ticks)
    assert ban.until - ticks == BAN_SECONDS * 4, "two strikes of six are left"
    assert max(spans) == BAN_SECONDS_MAX


def test_an_address_with_an_authorised_connection_is_never_banned() -> None:
    """A farm behind NAT must not suffer for one broken machine."""
    door = Doorkeeper(LIMITS)
    assert door.enter(FARM, 0.0) is None
    assert door.enter(FARM, 0.0) is None
    door.authorised(FARM)
    assert not offend(door, FARM, 0.0)
    door.leave(FARM, True)
    assert offend(door, FARM, 0.0), "now only strangers are there"


def test_an_authorisation_ends_the_ban_of_its_address() -> None:
    door = Doorkeeper(LIMITS)
    assert door.enter(FARM, 0.0) is None
    assert offend(door, FARM, 0.0)
    door.authorised(FARM)
    assert door.enter(FARM, 1.0) is None
    assert door.bans(1.0) == []


def test_an_operator_lifts_a_ban_by_any_address_of_the_group() -> None:
    door = Doorkeeper(LIMITS)
    address = group("2001:db8::1")
    assert door.enter(address, 0.0) is None
    assert offend(door, address, 0.0)
    assert not door.unban("2001:db8:1::1")
    assert door.unban("2001:db8::ffff")
    assert door.enter(address, 0.0) is None
    assert [door.offence(address, "refused", 0.0) for _ in range(4)] == [False, False, False, True]
    (ban,) = door.bans(0.0)
    assert ban.until == BAN_SECONDS, "the slate is clean"
    assert not door.unban(OTHER)


def test_offences_that_come_slowly_are_forgiven() -> None:
    door = Doorkeeper(LIMITS)
    assert door.enter(FARM, 0.0) is None
    assert not any(door.offence(FARM, "not-authorised", ticks) for ticks in range(0, 1000, 15))


def test_a_farm_of_misnamed_machines_is_excused_for_a_minute_and_a_flood_is_not() -> None:
    door = Doorkeeper(LIMITS)
    for address in (FARM, OTHER):
        assert door.enter(address, 0.0) is None
    machines, every = 5000, 15
    assert all(
        door.excuse_misnamed(FARM, 1, float(ticks)) for ticks in range(0, 60, every) for _ in range(machines)
    )
    excused = sum(10 * door.excuse_misnamed(OTHER, 10, ticks / 500) for ticks in range(500 * 60))
    assert excused <= MISNAMED_BURST + 60 * MISNAMED_PER_SECOND, "of 300,000"


def test_who_had_misnamed_machines_is_remembered_until_its_bucket_is_full() -> None:
    door = Doorkeeper(LIMITS)
    assert door.enter(FARM, 0.0) is None
    assert door.excuse_misnamed(FARM, MISNAMED_BURST, 0.0)
    door.leave(FARM, False)
    full = MISNAMED_BURST / MISNAMED_PER_SECOND
    door.expire(full - 1)
    assert FARM in door._known
    door.expire(full)
    assert FARM not in door._known


def test_addresses_are_forgotten_when_nothing_is_left_to_remember() -> None:
    door = Doorkeeper(LIMITS)
    for number in range(EXPIRE_AT_ONCE + 500):
        assert door.enter(str(number), 0.0) is None
    assert door.enter(FARM, 0.0) is None
    assert offend(door, FARM, 0.0)
    for number in range(1, EXPIRE_AT_ONCE + 500):
        door.leave(str(number), False)
    door.leave(FARM, False)
    door.expire(40.0)
    assert len(door._known) == 501
    door.expire(40.0)
    assert set(door._known) == {"0", FARM}, "one is connected, one is banned"
    door.expire(BAN_SECONDS + FORGIVE_SECONDS - 1)
    assert FARM in door._known, "its next ban would be longer"
    door.expire(BAN_SECONDS + FORGIVE_SECONDS)
    assert set(door._known) == {"0"}


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "leave", "authorise", "offence", "unban", "expire"]), st.floats(0, 200)
    ),
    max_size=80,
)


@given(EVENTS)
def test_bans_are_bounded_and_connections_counted_whatever_happens(events: list[tuple[str, float]]) -> None:
    door, ticks = Doorkeeper(replace(LIMITS, connections_per_address=5)), 0.0
    inside: list[bool] = []
    for event, pause in events:
        ticks += pause
        if event == "enter" and door.enter(FARM, ticks) is None:
            inside.append(False)
        elif event == "leave" and inside:
            door.leave(FARM, inside.pop())
        elif event == "authorise" and False in inside:
            inside[inside.index(False)] = True
            door.authorised(FARM)
        elif event == "offence":
            assert not (door.offence(FARM, "malformed", ticks) and True in inside)
        elif event == "unban":
            door.unban(FARM)
        elif event == "expire":
            door.expire(ticks)
        assert len(inside) <= 5
        assert all(ban.until - ticks <= BAN_SECONDS_MAX for ban in door.bans(ticks))
        assert not (True in inside and door.bans(ticks))
        assert door._known.get(FARM) is None or door._known[FARM].connections == len(inside)
        assert FARM in door._known or not inside
