"""The parts of the door that need no database: limits, addresses, regulators, the section of the config."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from pool import door_limits
from pool.config import ConfigError, DoorSection, load
from pool.door_auth import address_behind, bearer
from pool.door_limits import Buckets
from pool.door_regulators import Authority, Book, Regulator, RegulatorError, Scope, new_token
from register.event import FIRST, Event, canonical

DAY_US = 86_400_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# Limits


@given(
    size=st.integers(1, 8),
    seconds=st.floats(1, 100),
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 40)), max_size=80),
)
def test_nobody_gets_more_than_granted_nor_waits_longer_than_told(
    size: int, seconds: float, steps: list[tuple[str, float]]
) -> None:
    """By a second count: within any time, the burst and what the time grants; and the wait told is enough."""
    clock = Clock()
    buckets = Buckets(size, seconds, clock)
    taken: dict[str, list[float]] = {"a": [], "b": []}
    for name, pause in steps:
        clock.now += pause
        wait = buckets.take(name)
        if wait:
            clock.now += wait
            assert buckets.take(name) == 0, "after the wait there is one"
        taken[name].append(clock.now)
    for times in taken.values():
        for start in range(len(times)):
            for end in range(start, len(times)):
                assert end - start + 1 <= size + (times[end] - times[start]) * size / seconds + 1e-6


def test_names_are_bounded_and_the_quietest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """I10."""
    monkeypatch.setattr(door_limits, "NAMES_KEPT", 3)
    buckets = Buckets(1, 60, Clock())
    for name in ("a", "b", "a", "c", "d"):
        buckets.take(name)
    assert len(buckets) == 3
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0


# Who asks, and from where


def request(peer: str | None, *forwarded: str, authorization: str = "") -> Request:
    headers = [(b"x-forwarded-for", one.encode()) for one in forwarded]
    headers += [(b"authorization", authorization.encode("latin-1"))] if authorization else []
    return Request({"type": "http", "headers": headers, "client": (peer, 1) if peer is not None else None})


PROXIES = DoorSection.model_validate({"proxies": ["10.0.0.0/8", "fd00::/8"]})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("10.1.1.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["198.51.100.1, 10.2.2.2"], "198.51.100.1"),
        ("10.1.1.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1, unknown"], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1, "], "10.1.1.1"),
        ("fe80::1%eth0", [], "fe80::1"),
        ("testclient", [], ""),
        (None, ["198.51.100.1"], ""),
    ],
)
def test_only_our_proxies_say_for_whom_they_ask(peer: str | None, forwarded: list[str], address: str) -> None:
    assert address_behind(request(peer, *forwarded), PROXIES) == address


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer   abc ", "abc"),
        ("Bearer", None),
        ("Basic abc", None),
        ("", None),
        ("Bearer " + "x" * 5000, "x" * 201),
    ],
)
def test_a_token_is_read_from_its_header(header: str, token: str | None) -> None:
    assert bearer(request("192.0.2.1", authorization=header)) == token


@given(
    networks=st.lists(st.ip_addresses().map(lambda one: str(ipaddress.ip_network(one))), max_size=3),
    address=st.ip_addresses().map(str) | st.sampled_from(["", "nonsense"]),
)
def test_a_regulator_comes_from_its_networks_alone(networks: list[str], address: str) -> None:
    made = Regulator("one", "One", Authority.OTHER, tuple(networks))
    made.check()
    assert made.reached_from(address) is (
        not networks or f"{address}/{128 if ':' in address else 32}" in networks
    )


# The book


def test_a_token_is_checked() -> None:
    made = new_token("secret", "one", [Scope.FORMS, Scope.FORMS, Scope.ARCHIVE], 0, DAY_US)
    assert (made.scopes, made.id) == (("archive", "forms"), made.token_sha256[:12])
    for scopes, ends in (([], DAY_US), ([Scope.FORMS], 0), ([Scope.FORMS], 733 * DAY_US)):
        with pytest.raises(RegulatorError):
            new_token("secret", "one", scopes, 0, ends)


def test_the_book_is_what_the_changes_say() -> None:
    one = Regulator("one", "One", Authority.OTHER)
    token = new_token("secret", "one", [Scope.FORMS], 0, DAY_US)

    def event(seq: int, kind: str, key: str, body: Any) -> Event:
        return Event(seq, seq, "a", "compliance", "r", kind, key, "done", canonical(body), FIRST, "")

    closed = Regulator("one", "One", Authority.OTHER, closed=True)
    book = Book([event(1, "regulator", "one", one), event(2, "token", token.id, token)])
    assert (book.token_of("secret"), book.token_of("another"), book.token_with("")) == (token, None, None)
    book.take(event(3, "access", "one", token))
    assert book.regulators == {"one": one}
    book.take(event(4, "regulator", "one", closed))
    assert book.regulator("one") == closed


# The configuration

POOL = """
[pool]
name = "Pool"
bin = "230440000105"
chain = "regtest"
address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
"""


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ('public_url = "http://pool.example.kz"', "door.public_url: 'http://pool.example.kz'"),
        ('public_url = "https://pool.example.kz/"', "door.public_url"),
        ('client_certificates = "ca.pem"', r"door.client_certificates: .* add a \[door.tls\] section"),
        ('proxies = ["nonsense"]', "door.proxies"),
        ("requests_per_minute = 0", "door.requests_per_minute: 0"),
        ("open = true", "door.open: no such key"),
    ],
)
def test_a_mistake_in_the_section_is_told(tmp_path: Path, section: str, said: str) -> None:
    file = tmp_path / "dmpool.toml"
    file.write_text(f'data_dir = "{tmp_path}"\n{POOL}\n[door]\n{section}\n')
    with pytest.raises(ConfigError, match=said):
        load(file)


def test_a_section_below_a_section_is_set_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "dmpool.toml"
    file.write_text(f'data_dir = "{tmp_path}"\n{POOL}\n[door.tls]\ncertificate = "a"\nkey = "b"\n')
    monkeypatch.setenv("DMPOOL_DOOR__TLS__LISTEN", "127.0.0.1:9443")
    tls = load(file).door.tls
    assert tls is not None
    assert (str(tls.listen), tls.key) == ("127.0.0.1:9443", Path("b"))
    monkeypatch.setenv("DMPOOL_DOOR__TSL__LISTEN", "127.0.0.1:9443")
    with pytest.raises(ConfigError, match="DMPOOL_DOOR__TSL__LISTEN: no such key"):
        load(file)


def test_the_door_is_shut_unless_it_is_opened_and_the_demo_opens_it(tmp_path: Path) -> None:
    file = tmp_path / "dmpool.toml"
    file.write_text(f'data_dir = "{tmp_path}"\n{POOL}')
    assert not load(file).door.open_reports
    assert load(None).door.open_reports
