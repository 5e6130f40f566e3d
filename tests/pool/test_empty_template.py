"""The subsidy-only template: exactly what consensus says of the next block, or none at all."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.empty_template import COINBASE_ONLY_COMMITMENT, HALVING_BLOCKS, empty_template, subsidy
from pool.node import TipHeader
from stratum.job import JobBook, Template
from tests.stratum.fakes import MASK, NOW, TERMS, sha256d, template

TIP_HASH = "00" * 8 + "ab" * 24


def mined(height: int = 800_000) -> Template:
    return template(
        height,
        transactions=(b"one", b"two"),
        txids=bytes(64),
        fees=1_000,
        coinbase_value=312_501_000,
    )


def tip_on(base: Template) -> TipHeader:
    """The header of the block that was mined by `base`'s rules."""
    return TipHeader(TIP_HASH, base.previous_block[::-1].hex(), base.height, base.bits, int(NOW) - 1800)


def test_what_it_says() -> None:
    base = mined()
    empty = empty_template("main", tip_on(base), base, int(NOW) + 9)
    assert empty == Template(
        height=800_001,
        version=base.version,
        previous_block=bytes.fromhex(TIP_HASH)[::-1],
        bits=base.bits,
        target=base.target,
        coinbase_value=625_000_000,
        fees=0,
        current_time=int(NOW) + 9,
        min_time=int(NOW) - 1799,
        transactions=(),
        txids=b"",
        witness_commitment=COINBASE_ONLY_COMMITMENT,
        long_poll_id="",
    )


def test_the_commitment_is_that_of_bip141() -> None:
    assert bytes.fromhex("6a24aa21a9ed") + sha256d(bytes(32) + bytes(32)) == COINBASE_ONLY_COMMITMENT


@pytest.mark.parametrize(
    "change",
    [
        {"height": 799_999},  # a rival of the block that was built on
        {"height": 800_001},  # a block was missed
        {"previous": "ab" * 32},  # another fork
        {"bits": 0x1D00FFFF},
    ],
)
def test_none_unless_the_tip_extends_exactly_what_was_mined(change: dict[str, int | str]) -> None:
    base = mined()
    tip = replace(tip_on(base), **change)  # type: ignore[arg-type]
    assert empty_template("main", tip, base, int(NOW)) is None


@pytest.mark.parametrize(
    ("chain", "tip_height", "made"),
    [
        ("main", 2014, True),
        ("main", 2015, False),  # the next block is the first with a new target
        ("main", 2016, True),
        ("signet", 4031, False),
        ("signet", 4030, True),
        ("regtest", 2015, True),
        ("regtest", 143, True),
        ("testnet4", 800_000, False),
        ("another", 800_000, False),
    ],
)
def test_none_where_the_next_target_is_open(chain: str, tip_height: int, made: bool) -> None:
    base = mined(tip_height)
    assert (empty_template(chain, tip_on(base), base, int(NOW)) is not None) is made


@pytest.mark.parametrize(
    ("chain", "height", "satoshis"),
    [
        ("main", 1, 5_000_000_000),
        ("main", 209_999, 5_000_000_000),
        ("main", 210_000, 2_500_000_000),
        ("main", 839_999, 625_000_000),
        ("main", 840_000, 312_500_000),
        ("main", 1_050_000, 156_250_000),
        ("main", 6_930_000 - 1, 1),
        ("main", 6_930_000, 0),
        ("main", 64 * 210_000, 0),
        ("signet", 210_000, 2_500_000_000),
        ("regtest", 149, 5_000_000_000),
        ("regtest", 150, 2_500_000_000),
        ("regtest", 300, 1_250_000_000),
    ],
)
def test_subsidy(chain: str, height: int, satoshis: int) -> None:
    assert subsidy(chain, height) == satoshis


def test_i2_all_subsidies_together_are_the_known_supply() -> None:
    """2,099,999,997,690,000 satoshis, as Bitcoin Core's own test has it."""
    blocks = HALVING_BLOCKS["main"]
    assert sum(subsidy("main", era * blocks) * blocks for era in range(64)) == 2_099_999_997_690_000


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_the_time_is_always_one_that_consensus_takes(median: int, now: int, before: int) -> None:
    base = replace(mined(), current_time=before)
    empty = empty_template("main", replace(tip_on(base), median_time=median), base, now)
    assert empty is not None
    assert empty.min_time == median + 1
    assert empty.current_time == max(now, median + 1, before)


def test_an_empty_job_and_a_full_one_look_alike_to_a_firmware() -> None:
    base = mined()
    empty = empty_template("main", tip_on(base), base, int(NOW))
    assert empty is not None
    book = JobBook(1, MASK)
    full_job, _ = book.add(base, TERMS)
    empty_job, clean = book.add(empty, TERMS)
    assert clean
    assert len(empty_job.coinbase2) == len(full_job.coinbase2)
    assert b",[]," in empty_job.notify, "no merkle branches"
