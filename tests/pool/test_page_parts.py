"""Parts of the status page that need no server."""

import pytest

from pool.config import Listen
from pool.pages.status_page import stratum_url
from pool.status import money


def test_a_journal_that_does_not_balance_is_called_that() -> None:
    """I3."""
    totals = money({"asset:coinbase:mature": 100, "miner:1:payable": -90, "pool:commission:earned": -9})
    assert (totals.balances, totals.difference_sat) == (False, 1)
    assert (totals.assets_sat, totals.owed_sat, totals.commission_sat) == (100, 90, 9)


def test_i3_what_the_pool_spent_of_its_own_is_shown_apart() -> None:
    totals = money(
        {
            "asset:coinbase:mature": 85,
            "miner:1:payable": -50,
            "miner:1:paying": -40,
            "pool:commission:earned": -9,
            "pool:network_fees": 6,
            "pool:orphan_loss:1": 8,
        }
    )
    assert totals.balances
    assert (totals.owed_payable_sat, totals.commission_sat, totals.own_sat) == (90, 9, -14)


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
