"""The register in PostgreSQL: what is let in, what the snapshot says, and when its stamp changes."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.database import payout_address
from pool.register_store import (
    Snapshot,
    add_miner,
    list_miners,
    read_miners,
    show_miner,
    snapshot,
    stamp,
)
from register.address import InvalidAddress
from register.gate import Admission, Refusal
from register.licence import Licence, LicenceError
from register.miner import MinerError
from tests.integration.ledger_world import ADDRESS, BINS, NOON, RULES, enter_miner

LICENCE = Licence("KZ-7", 2, dt.date(2026, 1, 1), dt.date(2028, 12, 31))
OTHER_ADDRESS = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"


async def enter(engine: AsyncEngine, **changed: object) -> None:
    given: dict[str, object] = {
        "name": "alpha",
        "title": "Alpha LLP",
        "bin_number": BINS[0],
        "licence_held": LICENCE,
        "address": ADDRESS,
    }
    await add_miner(engine, RULES, "regtest", **(given | changed))  # type: ignore[arg-type]


async def test_miner_comes_back_as_entered(engine: AsyncEngine) -> None:
    await enter(engine)
    one = await show_miner(engine, "alpha")
    assert (one.title, one.bin, one.licence, one.payout_address) == ("Alpha LLP", BINS[0], LICENCE, ADDRESS)
    assert await list_miners(engine) == [one]


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"name": "a.b"}, MinerError, "no dot"),
        ({"bin_number": "040340000093"}, MinerError, "check digit"),
        ({"address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}, InvalidAddress, "regtest"),
        (
            {"licence_held": Licence("KZ-8", 1, dt.date(2026, 1, 1), dt.date(2029, 1, 2))},
            LicenceError,
            "3 years",
        ),
        ({"name": "taken"}, MinerError, "exists"),
    ],
)
async def test_what_cannot_be_is_refused_and_leaves_nothing(
    engine: AsyncEngine, changed: dict[str, object], error: type[Exception], words: str
) -> None:
    """O-02, O-04, I10."""
    await enter(engine, name="taken")
    before = await stamp(engine)
    with pytest.raises(error, match=words):
        await enter(engine, **changed)
    assert await stamp(engine) == before
    assert [one.name for one in await list_miners(engine)] == ["taken"]


async def test_unknown_account_is_told(engine: AsyncEngine) -> None:
    with pytest.raises(MinerError, match="no such account"):
        await show_miner(engine, "nobody")


async def test_snapshot_decides_like_the_register_after_a_restart(engine: AsyncEngine) -> None:
    """I6: a gateway that starts with PostgreSQL away works by what it knew."""
    for number, one in enumerate(BINS):
        await enter_miner(engine, f"m{number}", one)
    taken = await snapshot(engine)
    assert taken.stamp == await stamp(engine)
    kept = Snapshot.from_bytes(taken.to_bytes())
    assert kept == taken
    gate = kept.gate(RULES)
    assert isinstance(gate.admit("m1.rig", NOON), Admission)
    assert isinstance(gate.admit("m9", NOON), Refusal)


@pytest.mark.parametrize("data", [b"", b"\x00", b"rubbish", b"\x82\xa5stamp\xa11\xa6miners\x91\x01"])
def test_snapshot_of_something_else_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Snapshot.from_bytes(data)


async def test_stamp_changes_with_every_entry_and_the_newest_counts(engine: AsyncEngine) -> None:
    await enter(engine)
    stamps = [await stamp(engine)]
    async with engine.begin() as connection:
        await connection.execute(sa.insert(payout_address).values(miner_id=1, address=OTHER_ADDRESS))
    stamps.append(await stamp(engine))
    await enter(engine, name="beta", bin_number=BINS[1])
    stamps.append(await stamp(engine))
    assert len(set(stamps)) == 3
    assert (await show_miner(engine, "alpha")).payout_address == OTHER_ADDRESS


async def test_past_day_is_told_by_what_was_known_then(engine: AsyncEngine) -> None:
    """I8: an address entered later does not change what was."""
    await enter(engine)
    later = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    async with engine.begin() as connection:
        await connection.execute(
            sa.insert(payout_address).values(miner_id=1, address=OTHER_ADDRESS, entered_at=later)
        )
    async with engine.connect() as connection:
        for as_of, address in (
            (later, ADDRESS),
            (later + dt.timedelta(microseconds=1), OTHER_ADDRESS),
            (dt.datetime(2009, 1, 1, tzinfo=dt.UTC), ADDRESS),
        ):
            (one,) = await read_miners(connection, as_of=as_of)
            assert one.payout_address == address
