"""Parts of the status page that need no server."""

import pytest

from pool.config import Listen
from pool.status import money
from pool.web import stratum_url


def test_a_journal_that_does_not_balance_is_called_that() -> None:
    """I3."""
    totals = money({"asset:coinbase:mature": 100, "miner:1:payable": -90, "pool:commission:earned": -9})
    assert (totals.balances, totals.difference_sat) == (False, 1)
    assert (totals.assets_sat, totals.owed_sat, totals.commission_sat) == (100, 90, 9)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("pool.example.kz:8080", "stratum+tcp://pool.example.kz:3333"),
        ("pool.example.kz", "stratum+tcp://pool.example.kz:3333"),
        ("[2001:db8::1]:8080", "stratum+tcp://[2001:db8::1]:3333"),
        ("[2001:db8", "stratum+tcp://HOST:3333"),
        ('"><script>', "stratum+tcp://HOST:3333"),
        ("a" * 300, "stratum+tcp://HOST:3333"),
        ("", "stratum+tcp://HOST:3333"),
        (None, "stratum+tcp://HOST:3333"),
    ],
)
def test_a_pool_that_listens_everywhere_is_called_as_the_browser_called_it(
    host: str | None, shown: str
) -> None:
    for everywhere in ("0.0.0.0", "::"):
        assert stratum_url(Listen(host=everywhere, port=3333), host) == shown


def test_a_pool_that_listens_at_one_address_is_called_by_it() -> None:
    assert stratum_url(Listen(host="::1", port=3333), "evil.example") == "stratum+tcp://[::1]:3333"
