"""Wrong tokens are counted by address, in bounded memory, and cost nobody else their access."""

from __future__ import annotations

from typing import Any, cast

import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from pool import register_auth
from pool.live_register import LiveRegister
from pool.register_auth import ATTEMPT_SECONDS, ATTEMPTS, Attempts, RegisterAuth, address_of
from register.register import Register


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def request_from(host: str | None) -> Request:
    return Request({"type": "http", "headers": [], "client": (host, 1) if host is not None else None})


def test_an_address_is_not_listened_to_after_so_many_wrong_tokens_and_again_later() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(ATTEMPTS):
        assert attempts.wait_seconds("a") == 0
        attempts.failed("a")
    assert attempts.wait_seconds("a") == int(ATTEMPT_SECONDS)
    assert attempts.wait_seconds("b") == 0
    clock.now += ATTEMPT_SECONDS - 0.5
    assert attempts.wait_seconds("a") == 1
    clock.now += 0.5
    assert attempts.wait_seconds("a") == 0


def test_more_wrong_tokens_do_not_shut_an_address_out_for_longer() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(10 * ATTEMPTS):
        attempts.failed("a")
    assert attempts.wait_seconds("a") == int(ATTEMPT_SECONDS)


def test_memory_is_bounded_and_the_quietest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """I10."""
    monkeypatch.setattr(register_auth, "ADDRESSES_KEPT", 3)
    attempts = Attempts(Clock())
    for address in ("a", "b", "a", "c", "d"):
        attempts.failed(address)
    assert len(attempts) == 3
    for _ in range(ATTEMPTS):
        attempts.failed("a")
    assert attempts.wait_seconds("a") > 0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30)), max_size=60))
def test_guesses_are_never_heard_more_often_than_granted(steps: list[tuple[bool, float]]) -> None:
    """By a second count: what is heard within any time is the burst and what the time grants."""
    clock = Clock()
    attempts = Attempts(clock)
    heard: list[float] = []
    for tries, pause in steps:
        clock.now += pause
        if tries and not attempts.wait_seconds("a"):
            attempts.failed("a")
            heard.append(clock.now)
    for start in range(len(heard)):
        for end in range(start, len(heard)):
            granted = ATTEMPTS + (heard[end] - heard[start]) / ATTEMPT_SECONDS
            assert end - start + 1 <= granted + 1e-6


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        (None, ""),
    ],
)
def test_one_subscriber_is_one_address(host: str | None, address: str) -> None:
    assert address_of(request_from(host)) == address


class Nobody:
    """A live register in which nobody is entered yet, as in the demo."""

    async def current(self) -> Register:
        return Register()


@pytest.mark.parametrize("credentials", [[], [(b"authorization", b"Basic eDp3cm9uZw==")]])
async def test_a_miners_browser_asks_for_the_token_also_before_anybody_may_use_the_register(
    credentials: list[Any],
) -> None:
    auth = RegisterAuth(cast("LiveRegister", Nobody()))
    request = Request({"type": "http", "headers": credentials, "client": ("192.0.2.1", 1)})
    with pytest.raises(HTTPException) as refused:
        await auth.statement_viewer(request, "altai")
    assert refused.value.status_code == 401
    assert (refused.value.headers or {})["WWW-Authenticate"].startswith("Basic")
    with pytest.raises(HTTPException) as refused:
        await auth.viewer(request)
    assert refused.value.status_code == 403
